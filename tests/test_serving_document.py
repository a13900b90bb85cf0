"""The lines of docs/serving.md run as they stand, and every runtime says the same."""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from tiny_run import make_config, make_run, write_noisy_records

from dmcl_tf import export
from dmcl_tf.formats import FORMATS

TEXT = (Path(__file__).parents[1] / "docs" / "serving.md").read_text(encoding="utf-8")
FIRST, *OTHERS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
INSTALLED = [name for name, form in FORMATS.items() if all(map(importlib.util.find_spec, form.modules))]


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    records = write_noisy_records(tmp_path_factory.mktemp("records"), modalities=("rgb",))
    config = make_config(modalities=("rgb",), select_by="rgb")
    folder = make_run(tmp_path_factory.mktemp("run"), records, config)
    with warnings.catch_warnings():  # of the converters
        for kind in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        formats = tuple(name for name in INSTALLED if name != "weights")
        return export.export(export.ExportSettings(folder.directory, tmp_path_factory.mktemp("model"), formats=formats))


@pytest.fixture(scope="module")
def names(version):
    """What the first block leaves behind, of a model that exists."""
    path = "exported/nwucla/dmcl/authors-full-seed0/1"
    assert path in FIRST
    names: dict = {}
    exec(FIRST.replace(path, str(version)), names)
    return names


def test_the_saved_model(names):
    assert names["logits"].shape == (2, 6)
    assert np.ptp(names["logits"]) > 0


@pytest.mark.parametrize("block", OTHERS, ids=["onnx", "openvino", "litert"])
def test_other_runtimes(names, block, request):
    kind = request.node.callspec.id
    if kind not in INSTALLED:
        pytest.skip(f"the extra {kind} is not installed")
    own = {name: names[name] for name in ("version", "clips")}
    exec(block, own)
    np.testing.assert_allclose(own["logits"], names["logits"], atol=1e-4)
