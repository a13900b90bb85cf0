"""Models for other runtimes say what the ensemble says, for every subset, of clips of any number and size."""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest
from tiny_run import make_config, make_run, smooth_clips, write_noisy_records

from dmcl_tf import export as script
from dmcl_tf import formats, model_card, serving
from dmcl_tf.config import resolve
from dmcl_tf.errors import InputError
from dmcl_tf.networks import folding, layers, r2plus1d, testing
from dmcl_tf.runs.checkpoints import restore_ensemble

NEEDED = {name: form.modules for name, form in formats.FORMATS.items() if form.modules}
INSTALLED = tuple(name for name, modules in NEEDED.items() if all(map(importlib.util.find_spec, modules)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    records = write_noisy_records(tmp_path_factory.mktemp("records"))
    config = make_config(modalities=("rgb", "depth"), select_by="sum")
    return make_run(tmp_path_factory.mktemp("trained"), records, config)


@pytest.fixture(scope="module")
def version(trained, tmp_path_factory):
    """Its export in all formats whose packages are installed."""
    with warnings.catch_warnings():  # of the converters
        for kind in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        subsets = ("rgb", "rgb+depth") if INSTALLED else ()
        formats_ = ("savedmodel", *INSTALLED)
        return script.export(
            script.ExportSettings(
                trained.directory, tmp_path_factory.mktemp("model"), formats=formats_, subsets=subsets
            )
        )


@pytest.mark.skipif(not INSTALLED, reason="none of the extras onnx, openvino, litert is installed")
def test_every_format_gives_what_the_ensemble_gives(trained, version):
    exported = script.read_exported(version)
    assert exported.formats == ("savedmodel", *INSTALLED)
    assert exported.subsets == ("rgb", "rgb+depth")
    card = (version / "model_card.md").read_text(encoding="utf-8")
    ensemble = restore_ensemble(trained, "best")
    runtimes = {
        version / f"{name.replace('+', '_')}{suffix}": name.split("+")
        for name in exported.subsets
        for kind in INSTALLED
        for suffix in formats.FORMATS[kind].files
    }
    opened = {path: formats.open_model(path) for path in runtimes}
    for clips in (smooth_clips(40, 40, clips=3), smooth_clips(60, 80), smooth_clips(30, 50)):
        logits = {m: serving.clip_logits(net, exported.config, clips[m]) for m, net in ensemble.networks.items()}
        for path, subset in runtimes.items():
            expected = np.mean([logits[modality] for modality in subset], axis=0)
            got = opened[path]({modality: clips[modality] for modality in subset})
            np.testing.assert_allclose(got, expected, atol=0.2 if ".int8" in path.name else 1e-4)
            assert path.name in card
            assert path.name in exported.files


def test_the_card_says_what_the_model_is(trained, version):
    card = (version / "model_card.md").read_text("utf-8")
    for text in ("own videos", "best checkpoint, epoch 6", "not been evaluated", "(N, 8, height, width, 3)", "class 5"):
        assert text in card
    config = resolve("authors", "full", {"networks": ("depth:movinet_a0/32",), "select_by": "rgb"})
    assert model_card._networks(config) == "rgb: authors, 64; depth: movinet_a0, 32; flow: authors, 64"
    assert model_card._networks(resolve("authors", "compact", {})) == "authors, 16"
    ensemble = restore_ensemble(trained, "best")
    assert f"| rgb | {ensemble.networks['rgb'].count_params():,} |" in card


def test_models_of_single_subsets():
    assert script.choose_subsets((), ("rgb", "depth", "flow")) == ("rgb", "depth", "flow", "rgb+depth+flow")
    assert script.choose_subsets(("rgb+flow", "flow"), ("rgb", "depth", "flow")) == ("flow", "rgb+flow")
    assert script.choose_subsets((), ("rgb",)) == ("rgb",)


@pytest.mark.parametrize("make", [r2plus1d.authors, r2plus1d.r2plus1d_18, testing.small_block])
def test_a_folded_network_says_the_same(make):
    network, random = make(6, 2), np.random.RandomState(0)
    for layer in network.layers:  # statistics as after training, not those of a new network
        layer.set_weights([random.uniform(0.5, 1.5, w.shape) * (1 if w.ndim == 1 else w) for w in layer.get_weights()])
    clips = random.uniform(0, 255, (2, 8, 32, 32, 3)).astype(np.float32)
    folded = folding.fold(network, (8, 32, 32))
    expected = network(clips)["logits"].numpy()
    np.testing.assert_allclose(folded(clips)["logits"], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    folds = sum(isinstance(layer, layers.BatchNormalization) for layer in network.layers)
    assert sum(isinstance(layer, folding.BiasedConvolution) for layer in folded.layers) == folds


def test_what_cannot_be_exported_is_refused_before_anything_is_written(trained, tmp_path, monkeypatch):
    def refuse(message, **settings):
        with pytest.raises(InputError, match=message):
            script.export(script.ExportSettings(trained.directory, tmp_path / "model", **settings))
        assert not (tmp_path / "model").exists()

    refuse("--formats=tensorrt: expected some of savedmodel, weights, onnx, openvino, litert", formats=("tensorrt",))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    refuse("--formats=onnx: tf2onnx is not installed; EXTRAS=onnx", formats=("savedmodel", "onnx"))
    monkeypatch.undo()
    monkeypatch.setattr(script, "check_installed", lambda names: None)
    refuse("--subsets=rgb: a SavedModel has all of them", subsets=("rgb",))
    refuse(r"--subsets=flow: expected some of rgb, depth, rgb\+depth", formats=("onnx",), subsets=("flow",))
