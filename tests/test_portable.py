"""Models for other runtimes say what the ensemble says, for every subset, of clips of any number and size."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from tiny_run import make_config, make_run, smooth_clips, write_noisy_records

from dmcl_tf import export as script
from dmcl_tf import formats, serving
from dmcl_tf.errors import InputError
from dmcl_tf.runs.checkpoints import restore_ensemble

NEEDED = {name: form.modules for name, form in formats.FORMATS.items() if form.modules}
INSTALLED = tuple(name for name, modules in NEEDED.items() if all(map(importlib.util.find_spec, modules)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    records = write_noisy_records(tmp_path_factory.mktemp("records"))
    config = make_config(modalities=("rgb", "depth"), select_by="sum")
    return make_run(tmp_path_factory.mktemp("trained"), records, config)


@pytest.mark.skipif(not INSTALLED, reason="none of the extras onnx, openvino, litert is installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the converters
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_format_gives_what_the_ensemble_gives(trained, tmp_path):
    settings = script.ExportSettings(trained.directory, tmp_path / "model", formats=INSTALLED)
    version = script.export(settings)
    exported = script.read_exported(version)
    assert exported.formats == ("savedmodel", *INSTALLED)
    assert exported.subsets == ("rgb", "depth", "rgb+depth")
    ensemble, _ = restore_ensemble(trained, "best")
    seen = []
    for clips in (smooth_clips(40, 40, clips=3), smooth_clips(60, 80), smooth_clips(30, 50)):
        logits = {m: serving.clip_logits(net, exported.config, clips[m]) for m, net in ensemble.networks.items()}
        for name in exported.subsets:
            subset = name.split("+")
            expected = np.mean([logits[modality] for modality in subset], axis=0)
            for kind in INSTALLED:
                for suffix in formats.FORMATS[kind].files:
                    path = version / f"{'_'.join(subset)}{suffix}"
                    got = formats.open_model(path)({modality: clips[modality] for modality in subset})
                    np.testing.assert_allclose(got, expected, atol=0.2 if "int8" in suffix else 1e-4)
                    seen.append(path.name)
    assert {f"{name}{suffix}" for name in seen for suffix in ("",)} <= {*script.portable_files(exported)}
    card = (version / "model_card.md").read_text(encoding="utf-8")
    assert all(name in card for name in set(seen))
    assert script.export(settings) == version  # which is kept


def test_the_card_says_what_the_model_is(trained, tmp_path):
    card = (script.export(script.ExportSettings(trained.directory, tmp_path)) / "model_card.md").read_text("utf-8")
    for text in ("own videos", "best checkpoint, epoch 6", "not been evaluated", "(N, 8, height, width, 3)", "class 5"):
        assert text in card
    ensemble, _ = restore_ensemble(trained, "best")
    assert f"| rgb | {ensemble.networks['rgb'].count_params():,} |" in card


def test_what_cannot_be_exported_is_refused_before_anything_is_written(trained, tmp_path, monkeypatch):
    def refuse(message, **settings):
        with pytest.raises(InputError, match=message):
            script.export(script.ExportSettings(trained.directory, tmp_path / "model", **settings))
        assert not (tmp_path / "model").exists()

    refuse("--formats=tensorrt: expected some of savedmodel, onnx, openvino, litert", formats=("tensorrt",))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refuse("--formats=onnx: tf2onnx is not installed; EXTRAS=onnx", formats=("savedmodel", "onnx"))
    monkeypatch.undo()
    monkeypatch.setattr(script, "check_installed", lambda names: None)
    refuse(r"--subsets=flow: expected some of rgb, depth, rgb\+depth", formats=("onnx",), subsets=("flow",))
