"""Networks that start from weights, frozen parts, and networks of different kinds in one run."""

import dataclasses
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import split, write_records
from tiny_run import (
    SETTINGS,
    describe_run,
    make_config,
    make_run,
    noisy_frame,
    run_training,
    write_noisy_records,
)

from dmcl_tf.config import Config, parse_start
from dmcl_tf.datasets import DATASETS
from dmcl_tf.errors import InputError
from dmcl_tf.learning import checks
from dmcl_tf.networks import NETWORKS, parts, r2plus1d
from dmcl_tf.networks.ensemble import make_ensemble, make_networks
from dmcl_tf.networks.tf1 import read_tf1_checkpoint
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.runs.sources import find_sources, load_sources

GOLDEN = np.load(Path(__file__).parent / "golden" / "network_width8.npz")
FEW = {"train": 4, "validation": 1, "test": 2}


def write_few(directory, classes):
    return write_records(directory, FEW, size=SETTINGS["frame_size"], lengths=(8,), frame=noisy_frame, classes=classes)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_few(tmp_path_factory.mktemp("records"), 3)


@pytest.fixture(scope="module")
def source(records, tmp_path_factory):
    """A finished run of two epochs."""
    return run_training(
        records, tmp_path_factory.mktemp("source"), method="independent", modalities="rgb,depth", epochs=2
    )


def weights_of(network):
    return {layer.name: layer.get_weights() for layer in network.layers if layer.weights}


def equal(first, second, names=None):
    names = list(first) if names is None else names
    return {name: all(map(np.array_equal, first[name], second[name])) for name in names}


def started(records, source, *entries, **settings):
    """Networks that start as the entries say, and the sentences about them."""
    entries = tuple(entry.replace("RUN", str(source.directory)) for entry in entries) if source else entries
    config = make_config(initial_weights=entries, **settings)
    run = describe_run(records, config)
    keras.utils.set_random_seed(3)
    networks = make_networks(config, len(run.class_names))
    return networks, load_sources(networks, run)


def test_a_run_starts_from_another_with_a_part_frozen_and_says_so(records, source, tmp_path, capsys):
    settings = {"method": "independent", "modalities": "depth", "epochs": 1, "freeze": "stem", "learning_rate": 0.1}
    folder = run_training(records, tmp_path, initial_weights=f"{source.directory}:rgb", **settings)
    theirs = weights_of(restore_ensemble(source, "best").networks["rgb"])
    ours = weights_of(restore_ensemble(folder, "last").networks["depth"])
    same = equal(theirs, ours)
    assert {name: same[name] for name in ("convolution_0", "stem", "convolution_1", "logits")} == {
        "convolution_0": True,
        "stem": True,  # moving statistics as well
        "convolution_1": False,
        "logits": False,
    }
    recorded = folder.load().sources["depth"]
    assert f"{source.directory.name}:rgb, epoch 2, checksum" in recorded
    assert f"depth starts from {recorded}\n" in capsys.readouterr().out
    assert folder.load().config.freeze == ("stem",)
    run_training(records, tmp_path, initial_weights=f"{source.directory}:rgb", **settings)  # complete: nothing to do
    assert "complete: 1 epochs" in capsys.readouterr().out


def test_entries_name_networks_and_targets(records, source):
    theirs = {m: weights_of(n) for m, n in restore_ensemble(source, "best").networks.items()}
    for entries, expected in (
        (("RUN",), {"rgb": "rgb", "depth": "depth"}),
        (("RUN:depth",), {"depth": "depth"}),
        (("rgb=RUN:depth", "flow=RUN:rgb"), {"rgb": "depth", "flow": "rgb"}),
    ):
        networks, sentences = started(records, source, *entries)
        assert [sentence.split()[0] for sentence in sentences] == list(expected)
        for modality in ("rgb", "depth", "flow"):
            ours = weights_of(networks[modality])
            alike = [name for name in ("rgb", "depth") if all(equal(theirs[name], ours).values())]
            assert alike == ([expected[modality]] if modality in expected else [])


def test_the_head_is_new_where_the_classes_are_others(source, tmp_path):
    networks, (sentence,) = started(write_few(tmp_path, 2), source, "RUN:rgb", modalities=("rgb",), select_by="rgb")
    theirs = weights_of(restore_ensemble(source, "best").networks["rgb"])
    ours = weights_of(networks["rgb"])
    assert equal(theirs, ours, ["convolution_0", "stem", "convolution_1"]) == dict.fromkeys(
        ["convolution_0", "stem", "convolution_1"], True
    )
    assert ours["logits"][0].shape == (8, 2)
    assert sentence.endswith("; its head is new, for 2 classes")


def test_a_checkpoint_of_the_authors_code(records, tmp_path):
    settings = {"variant": "authors", "width": 8}
    variables = {name.partition("/")[2]: GOLDEN[name] for name in GOLDEN.files if name.startswith("variable/")}
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session() as session:
        for name, array in variables.items():
            for scope, factor in (("rgb", 1.0), ("depth", 2.0), ("oflow", 3.0)):
                path = f"resnet_{scope}/{name.partition('/')[2]}"
                tf.compat.v1.get_variable(path, initializer=tf.constant(factor * array))
                tf.compat.v1.get_variable(f"{path}/Momentum", initializer=tf.constant(0.0))
        tf.compat.v1.get_variable("global_step", initializer=tf.constant(7))
        session.run(tf.compat.v1.global_variables_initializer())
        prefix = tf.compat.v1.train.Saver().save(session, str(tmp_path / "model.ckpt"), 7)
    kernel = next(array for name, array in variables.items() if name.endswith("/conv3d/kernel"))
    for modality, factor in (("depth", 2.0), ("flow", 3.0)):
        of_one = {"modalities": (modality,), "select_by": modality}
        networks, (sentence,) = started(records, None, prefix, **settings, **of_one)
        np.testing.assert_array_equal(networks[modality].get_layer("convolution_0").get_weights()[0], factor * kernel)
        assert sentence.endswith("; its head is new, for 3 classes")
    ten = r2plus1d.authors(10, width=8, name="rgb")
    config = make_config(**settings, modalities=("rgb",), select_by="rgb", initial_weights=(prefix,))
    assert find_sources(config)["rgb"].load(ten, describe_run(records, config))
    np.testing.assert_allclose(ten(GOLDEN["input"])["logits"], GOLDEN["inference/logits"], rtol=1e-3, atol=1e-3)
    source = find_sources(make_config(**settings, initial_weights=(f"rgb={prefix}:sound",)))["rgb"]
    with pytest.raises(
        InputError, match=r"model\.ckpt-7:sound: rgb: no network of sound, only resnet_depth, resnet_of"
    ):
        source.load(ten, None)
    source = find_sources(config)["rgb"]
    for name, damage in (("data-00000-of-00001", b""), ("index", b"none")):  # a disk that was full
        (tmp_path / f"model.ckpt-7.{name}").write_bytes(damage)
        with pytest.raises(InputError, match=r"--initial_weights=.*model\.ckpt-7: rgb: "):
            source.load(ten, describe_run(records, config))


@pytest.mark.parametrize(("scope", "fits"), [("resnet", True), ("resnet_oflow", False)])
def test_a_checkpoint_of_a_single_network(tmp_path, scope, fits):
    """It serves every modality unless its scope names one."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable(f"{scope}/dense/kernel", initializer=tf.zeros((2, 3)))
        session.run(tf.compat.v1.global_variables_initializer())
        prefix = tf.compat.v1.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    if fits:
        assert list(read_tf1_checkpoint(prefix, "rgb")) == ["resnet/dense/kernel"]
    else:
        with pytest.raises(ValueError, match="no network of rgb, only resnet_oflow"):
            read_tf1_checkpoint(prefix, "rgb")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("nowhere:rgb", r"--initial_weights=nowhere:rgb: nowhere is not there; expected the folder of a finished run"),
        ("RUN:flow", r"the run has no network flow, only rgb, depth"),
        ("RUN,RUN:rgb", r"rgb has a source already"),
    ],
)
def test_sources_that_are_not_there(records, source, tmp_path, entry, message):
    entry = entry.replace("RUN", str(source.directory))
    with pytest.raises(InputError, match=message):
        run_training(records, tmp_path, initial_weights=entry)
    assert not list(tmp_path.iterdir())


def test_sources_that_are_unfinished_of_another_split_or_of_other_shapes(records, source, tmp_path):
    entry = f"{source.directory}:rgb"
    run = describe_run(records, make_config(modalities=("rgb",), select_by="rgb", initial_weights=(entry,)))
    (found,) = find_sources(run.config).values()
    found.check(run)
    with pytest.raises(InputError, match=r"--initial_weights=.*:rgb: .* was trained on another split"):
        found.check(dataclasses.replace(run, splits="01234567"))
    for elsewhere in ({"dataset": "nwucla"}, {"records": "other/records"}):  # other videos altogether
        found.check(dataclasses.replace(run, splits="01234567", **elsewhere))
    wide = make_networks(make_config(modalities=("rgb",), select_by="rgb", networks=("rgb:authors/4",)), 3)
    with pytest.raises(
        InputError, match=r"full-seed0: rgb: shape 1×5×5×3×8 in convolution_0, where rgb has shape 1×7×7×3×4: choose"
    ):
        load_sources(wide, run)
    unfinished = RunFolder(shutil.copytree(source.directory, tmp_path / "run"))
    shutil.rmtree(unfinished.directory / "last")
    history = unfinished.history_path.read_text().splitlines(keepends=True)
    unfinished.history_path.write_text("".join(history[:1]))
    shutil.rmtree(unfinished.directory / "best")
    with pytest.raises(InputError, match="run: no best checkpoint; train the run first"):
        run_training(records, tmp_path / "new", initial_weights=unfinished.directory)


def test_data_sets_of_one_family_share_videos(records, source, tmp_path):
    """Networks of cameras 2 and 3 of NTU RGB+D have seen people whom its protocol by subjects tests."""
    folder = RunFolder(shutil.copytree(source.directory, tmp_path / "run"))
    record = json.loads(folder.config_path.read_text())
    record["run"] |= {"dataset": "ntu60", "protocol": DATASETS["ntu60"].protocol({"protocol": "cross_view"})}
    folder.config_path.write_text(json.dumps(record))
    run = describe_run(records, make_config(initial_weights=(f"{folder.directory}:rgb",)))
    (found,) = set(find_sources(run.config).values())
    run = dataclasses.replace(run, dataset="ntu120", protocol=DATASETS["ntu120"].protocol())
    with pytest.raises(InputError, match="trained on ntu60 by cross_view, it may have seen test videos of ntu120 by"):
        found.check(run)
    found.check(dataclasses.replace(run, protocol={"protocol": "cross_view"}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"networks": ("rgb:authors/8", "rgb:authors/16")}, r"--networks=rgb:authors/16: rgb has a network already"),
        ({"crop_size": 24, "networks": ("depth:mobilenet_v2/8",)}, r"--crop_size=24: mobilenet_v2 needs at least 32"),
        ({"networks": ("rgb:resnet/8",)}, r"--networks=rgb:resnet/8: there is no network 'resnet', only authors, r2pl"),
        ({"networks": ("rgb:authors/0",)}, r"--networks=rgb:authors/0: a width of 0 is none"),
        ({"networks": ("sound:authors/8",)}, r"--networks=sound:authors/8: the run has no sound, only rgb, depth"),
        ({"networks": ("authors/8",)}, r"--networks=authors/8: expected modality:network/width, such as rgb:"),
        ({"freeze": ("tail",)}, r"--freeze=tail: expected stem, stage1, …, middle, head or all"),
        ({"freeze": ("sound:stem",)}, r"--freeze=sound:stem: the run has no sound"),
        ({"initial_weights": ("sound=RUN",)}, r"--initial_weights=sound=RUN: the run has no sound"),
    ],
)
def test_settings_that_name_what_is_not_there(settings, message):
    with pytest.raises(InputError, match=message):
        Config(**settings)


def test_a_part_that_the_network_does_not_have():
    with pytest.raises(
        InputError, match="--freeze=stage3: the network of rgb has no such part, only stem, stage1, middle"
    ):
        make_networks(make_config(freeze=("rgb:stage3",)), 3)
    with pytest.raises(InputError, match="--freeze=middle,head: no weights are left to learn"):
        make_ensemble(make_config(freeze=("middle", "head")), 3)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("a/b", ("", "a/b", "")),
        ("a/b:rgb", ("", "a/b", "rgb")),
        ("depth=../a=b/c:rgb", ("depth", "../a=b/c", "rgb")),
        ("x/T=5:rgb", ("", "x/T=5", "rgb")),
    ],
)
def test_entries_of_initial_weights(entry, expected):
    assert parse_start(entry) == expected
    assert str(parse_start(entry)) == entry


@pytest.mark.parametrize("variant", ["authors", "r2plus1d_18"])
def test_the_parts_of_a_network_hold_all_but_its_head(variant):
    network = NETWORKS[variant](3, 4)
    found = parts.parts(network)
    assert list(found) == ["stem", "stage1", "stage2", "stage3", "stage4"]
    weights = {name: sum(layer.count_params() for layer in layers) for name, layers in found.items()}
    assert sum(weights.values()) == network.count_params() - network.get_layer("logits").count_params()
    parts.freeze(network, ["stem", "stage2"])
    frozen = sum(int(np.prod(w.shape)) for layer in found["stage1"] for w in layer.non_trainable_weights)
    assert frozen == sum(  # but for moving statistics
        2 * layer.gamma.shape[0] for layer in found["stage1"] if hasattr(layer, "gamma")
    )
    assert not [w for part in ("stem", "stage2") for layer in found[part] for w in layer.trainable_weights]


def test_networks_of_different_kinds_and_widths_train_together(records, tmp_path):
    """The widths are those asked for, and evaluation restores them."""
    folder = run_training(records, tmp_path, networks="rgb:testing/128", modalities="rgb,depth", epochs=1)
    ensemble = restore_ensemble(folder, "best")
    sizes = {m: network.get_layer("logits").kernel.shape[0] for m, network in ensemble.networks.items()}
    assert sizes == {"rgb": 16, "depth": 8}
    history = folder.read_history()
    assert np.isfinite(history[["rgb_loss", "depth_loss"]].to_numpy()).all()


def test_check_finds_what_does_not_fit_before_there_is_a_folder(tmp_path):
    there = write_noisy_records(tmp_path / "records")
    folder = make_run(tmp_path / "run", there, make_config(epochs=8))
    config = make_config(initial_weights=(str(folder.directory),), batch_size=4)
    run, splits = describe_run(there, config), split(there)
    with pytest.raises(InputError, match=r"do not belong together|has trained"):
        checks.check(run, there, splits, replicas=1)
