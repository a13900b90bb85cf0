"""The comparators from end to end: one command makes the runs that a method needs, and RGB+ is served."""

import dataclasses
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from tiny import split, write_records
from tiny_run import SETTINGS, TRAINING, make_config, noisy_frame, parse_flags

from dmcl_tf import flag_groups, train
from dmcl_tf.config import resolve
from dmcl_tf.data import pipeline
from dmcl_tf.errors import InputError
from dmcl_tf.evaluate import EvaluateSettings, evaluate
from dmcl_tf.export import ExportSettings, export
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.methods import LEARNED, Outputs
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.networks.parts import with_middle
from dmcl_tf.runs.checkpoints import Checkpoints, restore_ensemble
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.runs.teacher import Teacher
from workflow import command_line, predict

VIDEOS = {"train": 4, "validation": 1, "test": 3}
MODALITIES = {"mars": "rgb,depth,flow", "graph_distillation": "rgb,depth,flow"}  # others: rgb,depth
METHODS = ("hallucination", "modality_distillation", "admd", "mars", "graph_distillation")
NAME = "authors-full-seed0"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    size = SETTINGS["frame_size"]
    return write_records(tmp_path_factory.mktemp("records"), VIDEOS, size=size, lengths=(8, 9), frame=noisy_frame)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


def settings_of(records, checkpoints, method, **changes):
    modalities = MODALITIES.get(method, "rgb,depth")
    places = {"records": records.directory, "checkpoints": checkpoints, "method": method, "modalities": modalities}
    return train.settings_from_flags(parse_flags(train, **{**TRAINING, "epochs": 1, **places, **changes}))


@pytest.fixture(scope="module")
def trained(records, checkpoints):
    """The folders of all methods, each from one command."""
    return {method: train.train(settings_of(records, checkpoints, method)) for method in METHODS}


def train_alone(records, checkpoints, method, **changes):
    """Trains a run whose earlier ones are there."""
    train.train(dataclasses.replace(settings_of(records, checkpoints, method, **changes), stages=()))


def networks_of(folder):
    return restore_ensemble(folder, "best")[0].networks


def test_one_command_makes_the_stages_of_every_method(trained, checkpoints):
    runs = sorted(
        str(path.parent.relative_to(checkpoints / "custom")) for path in checkpoints.glob("*/*/*/config.json")
    )
    earlier = ["rgb", "depth-from-rgb", "rgb+depth", "depth+flow"]
    assert runs == sorted(
        [
            *(f"independent/{NAME}-{stage}" for stage in earlier),
            f"modality_distillation_teacher/{NAME}-rgb+depth-from-rgb+depth",
            f"modality_distillation_student/{NAME}-rgb+hallucination-from-rgb+depth",
            *(f"{method}/{NAME}" for method in METHODS),
        ]
    )
    names = {method: folder.load().config.modalities for method, folder in trained.items()}
    assert names["hallucination"] == ("rgb", "depth", "hallucination")
    assert names["modality_distillation"] == names["admd"] == ("rgb", "hallucination")
    assert names["mars"] == names["graph_distillation"] == ("rgb",)
    for folder in trained.values():
        history = folder.read_history()
        assert np.isfinite(history[["loss", "rgb_cross_entropy"]].to_numpy()).all()


def test_what_is_there_is_not_made_again(trained, records, checkpoints, capsys):
    before = {path: path.read_bytes() for path in checkpoints.rglob("*.csv")}
    shutil.rmtree(trained["modality_distillation"].directory)
    again = train.train(settings_of(records, checkpoints, "modality_distillation"))
    assert capsys.readouterr().out.count("complete: 1 epochs") == 3
    after = {path: path.read_bytes() for path in checkpoints.rglob("*.csv")}
    assert after.keys() == before.keys()
    changed = [path for path in before if before[path] != after[path]]
    assert all(path.is_relative_to(again.directory) for path in changed)


def layer(network, name):
    return network.get_layer(name).get_weights()


def test_networks_start_where_the_method_says_and_frozen_ones_stay(trained, checkpoints):
    alone = networks_of(RunFolder(checkpoints / "custom" / "independent" / f"{NAME}-rgb+depth"))
    admd = networks_of(trained["admd"])
    for name in ("convolution_0", "stem", "convolution_1", "logits"):
        for theirs, ours in zip(layer(alone["rgb"], name), layer(admd["rgb"], name)):
            np.testing.assert_array_equal(theirs, ours)  # moving statistics, too
    np.testing.assert_array_equal(layer(alone["depth"], "logits")[0], layer(admd["hallucination"], "logits")[0])
    moved = layer(admd["hallucination"], "convolution_1")[0] - layer(alone["depth"], "convolution_1")[0]
    assert 0 < np.abs(moved).max() < 0.02  # Adam's steps of 1e-3 from depth's weights
    started = networks_of(RunFolder(checkpoints / "custom" / "independent" / f"{NAME}-depth-from-rgb"))
    together = networks_of(trained["hallucination"])
    for theirs, ours in zip(started["depth"].layers, together["depth"].layers):
        for before, after in zip(theirs.get_weights(), ours.get_weights()):
            assert np.array_equal(before, after) == (theirs.name != "logits")
    assert "depth-from-rgb:depth, epoch 1" in trained["hallucination"].load().sources["hallucination"]


def test_the_first_loss_of_mars_is_cross_entropy_and_50_times_the_distance(trained, records):
    """By hand, from the weights that the run began with and the clips of its one batch."""
    config = trained["mars"].load().config
    assert (config.feature_weight, config.teacher_modalities) == (50.0, ("depth", "flow"))
    dataset = pipeline.training_dataset(records, split(records), config, 0, ("rgb", "depth", "flow"))
    batch = next(iter(dataset))
    clips = pipeline.training_input(batch, config)
    keras.utils.set_random_seed(config.seed + 1)
    student = make_ensemble(config, 3).networks["rgb"](clips["rgb"], training=True)
    teachers = networks_of(RunFolder(Path(config.teacher_run)))
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["label"], student["logits"])
    distances = [np.mean((student["features"] - teachers[m](clips[m])["features"]) ** 2) for m in ("depth", "flow")]
    expected = float(tf.reduce_mean(entropy)) + 50.0 * np.mean(distances)
    assert trained["mars"].read_history()["rgb_loss"][0] == pytest.approx(expected, rel=1e-4)
    assert isinstance(Teacher.of(config).load(config)(clips), Outputs)


def test_rgb_plus_is_evaluated_and_served_from_rgb_alone(trained, records, tmp_path):
    folder = trained["admd"]
    results = evaluate(EvaluateSettings(folder.directory))
    assert set(results.accuracy) == {"rgb", "hallucination", "rgb+hallucination", "sum", "sum_probabilities", "oracle"}
    version = export(ExportSettings(folder.directory, tmp_path / "model"))
    served = tf.saved_model.load(str(version)).signatures
    assert {name: set(f.structured_input_signature[1]) for name, f in served.items()} == {
        "rgb": {"rgb"},
        "hallucination": {"rgb"},
        "rgb_hallucination": {"rgb"},
        "serving_default": {"rgb"},
    }
    clips = tf.constant(np.random.RandomState(0).randint(256, size=(2, 8, 40, 40, 3)), tf.uint8)
    logits = {name: function(rgb=clips)["logits"] for name, function in served.items()}
    mean = (logits["rgb"] + logits["hallucination"]) / 2.0
    np.testing.assert_allclose(logits["rgb_hallucination"], mean, rtol=1e-5, atol=1e-6)
    assert np.abs(logits["rgb"] - logits["hallucination"]).max() > 1e-3
    for networks, subset in (((), ("rgb", "hallucination")), (("rgb",), ("rgb",))):
        exported = predict.find_model(tmp_path / "model")[1]
        asked = predict.PredictSettings(version, exported, {"rgb": Path("clip")}, networks=networks)
        assert asked.subset == subset
    arguments = [f"--model={tmp_path / 'model'}", "--rgb=clip.avi", "--networks=rgb,depth"]
    defined = flag_groups.define(predict.flag_groups(arguments), flags.FlagValues())
    values = command_line.parse(defined, arguments)
    with pytest.raises(InputError, match=r"--networks=rgb,depth: the model has no network depth, only rgb, hallucina"):
        predict.settings_from_flags(values)
    with pytest.raises(InputError, match=r"--default_modalities: the run has no hallucination, only rgb"):
        export(ExportSettings(trained["mars"].directory, default_modalities=("rgb", "hallucination")))


@pytest.mark.parametrize("name", LEARNED)
def test_weights_of_a_method_are_kept_to_continue_from(name, tmp_path):
    def ensemble():
        modalities = ("rgb", "hallucination") if name == "admd" else ("rgb",)
        config = make_config(method=name, teacher_run="somewhere", modalities=modalities, select_by="rgb")
        made = make_ensemble(config, 3)
        made.compile(optimizer=make_optimizer(config, 1, made.trainable_variables))
        return made

    first, second = ensemble(), ensemble()
    Checkpoints(tmp_path, first).save_last(0)
    Checkpoints(tmp_path, second).restore("last")
    for key, value in first.learned.tensors().items():
        np.testing.assert_array_equal(value, second.learned.tensors()[key])
    assert set(first.learned.tensors()) == set(LEARNED[name](3, 8))
    own = {id(variable) for variable in first.trainable_variables}
    assert {id(variable) for variable in first.learned.trainable_variables} <= own


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        (
            "hallucination",
            {"modalities": "rgb,depth,flow"},
            "needs the modality that learns and then one that it learns",
        ),
        ("mars", {"modalities": "rgb,rgb"}, "needs the modality that learns and then those that it learns from"),
        ("hallucination", {"middle_layer": "stage3"}, "--middle_layer=stage3: the network of .* only stem, stage1"),
        (
            "hallucination",
            {"networks": "depth:authors/2"},
            r"compares middle: hallucination is testing/64, but depth of",
        ),
        ("independent", {"modalities": "hallucination,rgb"}, "hallucination sees the first, which must be real"),
        (
            "independent",
            {"select_by": "rgb+hallucination"},
            r"--select_by=rgb\+hallucination: expected one of rgb, depth",
        ),
        ("mars", {"teacher_run": "nowhere", "modalities": "rgb"}, r"nowhere/config\.json: No such file"),
    ],
)
def test_settings_that_do_not_fit(records, checkpoints, trained, method, changes, message):
    with pytest.raises(InputError, match=message):
        train_alone(records, checkpoints, method, **changes)


def test_sources_of_another_split_or_unfinished_are_named(records, checkpoints, trained, tmp_path):
    source = checkpoints / "custom" / "independent" / f"{NAME}-rgb+depth"
    unfinished = RunFolder(shutil.copytree(source, tmp_path / "run"))
    text = unfinished.config_path.read_text()
    unfinished.config_path.write_text(text.replace('"epochs": 1', '"epochs": 2'))
    changes = {"teacher_run": unfinished.directory, "teacher_modalities": "depth", "modalities": "rgb"}
    with pytest.raises(InputError, match=r"--teacher_run=.*run has trained 1 of 2 epochs: let it finish first"):
        train.train(settings_of(records, checkpoints, "mars", run_name="other", **changes))
    splits = unfinished.load().splits
    unfinished.config_path.write_text(text.replace(f'"{splits}"', '"01234567"'))
    with pytest.raises(InputError, match=r"--teacher_run=.*run was trained on another split"):
        train.train(settings_of(records, checkpoints, "mars", run_name="other", **changes))


def test_the_middle_layer_is_the_part_that_is_named():
    network = make_ensemble(make_config(modalities=("rgb",), select_by="rgb"), 3).networks["rgb"]
    clips = tf.random.stateless_uniform((1, 8, 32, 32, 3), (1, 2))
    last, stem = (with_middle(network, part)(clips)["middle"] for part in ("", "stem"))
    np.testing.assert_array_equal(last, with_middle(network, "stage1")(clips)["middle"])
    assert np.abs(last - stem).max() > 0
    np.testing.assert_allclose(tf.reduce_mean(last, axis=(1, 2, 3)), network(clips)["features"], rtol=1e-5)
    assert resolve("authors", "full", {"method": "hallucination"}).middle_weight == 10.0
