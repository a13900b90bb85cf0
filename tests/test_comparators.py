"""The comparators from end to end: one command makes the runs that a method needs, and RGB+ is served."""

import dataclasses
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from tiny import write_records
from tiny_run import SETTINGS, TRAINING, make_config, noisy_frame, parse_flags

from dmcl_tf import flag_groups, train
from dmcl_tf.config import resolve
from dmcl_tf.errors import InputError
from dmcl_tf.evaluate import EvaluateSettings, evaluate
from dmcl_tf.export import ExportSettings, export, read_exported
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.methods import LEARNED
from dmcl_tf.networks.ensemble import ModalityEnsemble, make_ensemble, stack
from dmcl_tf.networks.parts import with_middle
from dmcl_tf.runs.checkpoints import Checkpoints, restore_ensemble
from dmcl_tf.runs.folder import Run, RunFolder
from server import models as server_models
from workflow import command_line, predict
from workflow import served as served_model

VIDEOS = {"train": 4, "validation": 1, "test": 3}
METHODS = ("modality_distillation", "admd")  # they share their first stage
NAME = "authors-full-seed0"


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    size = SETTINGS["frame_size"]
    return write_records(tmp_path_factory.mktemp("records"), VIDEOS, size=size, lengths=(8, 9), frame=noisy_frame)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


def settings_of(records, checkpoints, method, **changes):
    places = {"records": records.directory, "checkpoints": checkpoints, "method": method, "modalities": "rgb,depth"}
    return train.settings_from_flags(parse_flags(train, **{**TRAINING, "epochs": 1, **places, **changes}))


@pytest.fixture(scope="module")
def trained(records, checkpoints):
    """The folders of all methods, each from one command."""
    return {method: train.train(settings_of(records, checkpoints, method)) for method in METHODS}


def train_alone(records, checkpoints, method, **changes):
    """Trains a run whose earlier ones are there."""
    train.train(dataclasses.replace(settings_of(records, checkpoints, method, **changes), stages=()))


def networks_of(folder):
    return restore_ensemble(folder, "best").networks


def test_one_command_makes_the_stages_of_a_method(trained, checkpoints):
    runs = sorted(
        str(path.parent.relative_to(checkpoints / "custom")) for path in checkpoints.glob("*/*/*/config.json")
    )
    assert runs == [
        f"admd/{NAME}",
        f"independent/{NAME}-rgb+depth",
        f"modality_distillation/{NAME}",
        f"modality_distillation_student/{NAME}-rgb+hallucination-from-rgb+depth",
        f"modality_distillation_teacher/{NAME}-rgb+depth-from-rgb+depth",
    ]
    for folder in trained.values():
        run, history = folder.load(), folder.read_history()
        assert run.config.modalities == ("rgb", "hallucination")
        assert set(run.saw) == {"rgb", "depth"}
        assert np.isfinite(history[["loss", "rgb_cross_entropy", "hallucination_cross_entropy"]].to_numpy()).all()


def test_the_stages_of_hallucination(records, tmp_path):
    """RGB; depth, which starts from it; and all three, with depth frozen up to the middle layer."""
    last = settings_of(records, tmp_path, "hallucination", networks="rgb:testing/8,depth:testing/8", freeze="rgb:stem")
    rgb, depth = last.stages
    assert [run.config.modalities for run in (rgb, depth, last)] == [
        ("rgb",),
        ("depth",),
        ("rgb", "depth", "hallucination"),
    ]
    assert rgb.config.networks == ("rgb:testing/8",)
    assert depth.config.initial_weights == (f"depth={rgb.directory}:rgb",)
    assert (depth.directory.name, last.directory.name) == (f"{NAME}-depth-from-rgb", NAME)
    assert last.config.initial_weights == (
        f"rgb={rgb.directory}:rgb",
        f"depth={depth.directory}:depth",
        f"hallucination={depth.directory}:depth",
    )
    assert (rgb.config.freeze, last.config.freeze) == ((), ("depth:middle", "rgb:stem"))
    assert last.config.select_by == "rgb+hallucination"
    given = settings_of(records, tmp_path, "hallucination", select_by="rgb")
    assert (given.config.select_by, given.stages[0].config.select_by) == ("rgb", "oracle")


@pytest.mark.parametrize(("method", "teachers"), [("mars", ("flow",)), ("graph_distillation", ("depth", "flow"))])
def test_the_stages_of_a_student(records, tmp_path, method, teachers):
    last = settings_of(records, tmp_path, method, modalities="rgb")
    (first,) = last.stages
    assert first.config.modalities == last.config.teacher_modalities == teachers
    assert (last.config.modalities, last.config.teacher_run) == (("rgb",), str(first.directory))
    more = settings_of(records, tmp_path, method, modalities="depth,rgb,flow")
    assert (more.config.modalities, more.config.teacher_modalities) == (("depth",), ("rgb", "flow"))


def make_clips(*modalities):
    return {m: tf.random.stateless_uniform((4, 8, 16, 16, 3), (k, 5), -1.0, 1.0) for k, m in enumerate(modalities)}


def weights_of(network):
    return {layer.name: layer.get_weights() for layer in network.layers if layer.weights}


@pytest.mark.parametrize("method", ["mars", "hallucination", "graph_distillation"])
def test_one_step_moves_what_the_method_trains(method):
    """Eagerly: networks move but for what is frozen, weights of the method move, and MARS' loss is that by hand."""
    networks = ("rgb", "depth", "hallucination") if method == "hallucination" else ("rgb",)
    wired = {"freeze": ("depth:middle",)} if method == "hallucination" else {"teacher_run": "somewhere"}
    settings = {"select_by": "rgb", "warmup_epochs": 0, "learning_rate": 0.1, **wired}
    config = make_config(method=method, modalities=networks, **settings)
    teaching = make_ensemble(make_config(modalities=("depth", "flow")), 3).networks
    ensemble = make_ensemble(config, 3, lambda clips: stack([net(clips[name]) for name, net in teaching.items()]))
    ensemble.prepare = lambda batch: batch["clips"]
    ensemble.compile(optimizer=make_optimizer(config, 1, ensemble.trainable_variables), run_eagerly=True)
    batch = {"clips": make_clips("rgb", "depth", "flow"), "label": tf.constant([0, 1, 2, 0], tf.int64)}
    before = {name: weights_of(network) for name, network in ensemble.networks.items()}
    learned = {name: value.numpy() for name, value in ensemble.learned.tensors().items()} if ensemble.learned else {}
    figures = ensemble.train_step(batch)
    for name, network in ensemble.networks.items():
        after = weights_of(network)
        moved = {layer for layer in after if not all(map(np.array_equal, after[layer], before[name][layer]))}
        assert moved == ({"logits"} if name == "depth" else {"convolution_0", "stem", "convolution_1", "logits"})
    assert not [name for name in learned if np.array_equal(learned[name], ensemble.learned.tensors()[name])]
    if method == "mars":
        student = ensemble.networks["rgb"]
        for layer, values in before["rgb"].items():
            student.get_layer(layer).set_weights(values)
        outputs = student(batch["clips"]["rgb"], training=True)
        features = [net(batch["clips"][name])["features"] for name, net in teaching.items()]
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(batch["label"], outputs["logits"])
        distance = np.mean([np.mean((outputs["features"] - theirs) ** 2) for theirs in features])
        assert float(figures["rgb_loss"]) == pytest.approx(np.mean(entropy) + 50.0 * distance, rel=1e-4)


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
    assert "rgb+depth:depth, epoch 1" in trained["admd"].load().sources["hallucination"]


def test_rgb_plus_is_evaluated_and_served_from_rgb_alone(trained, checkpoints, tmp_path):
    folder = trained["admd"]
    results = evaluate(EvaluateSettings(folder.directory))
    assert set(results.accuracy) == {"rgb", "hallucination", "rgb+hallucination", "sum", "sum_probabilities", "oracle"}
    version = export(ExportSettings(folder.directory, tmp_path / "model", formats=("savedmodel", "weights")))
    card = (version / "model_card.md").read_text(encoding="utf-8")
    assert re.search(
        r"\| taught by \| depth of .*-rgb\+depth \|\n\| rgb starts from \| .*:rgb, epoch 1, checksum ", card
    )
    assert "The network `hallucination` sees rgb, and has no input of its own." in card
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
    exported = predict.find_model(tmp_path / "model")[1]
    of_weights = dataclasses.replace(exported, formats=("weights",))
    given = {"rgb": clips.numpy()}
    for subset in (("hallucination",), ("rgb", "hallucination")):
        small = served_model.load(version, of_weights, subset)(given)  # half precision
        np.testing.assert_allclose(small, logits["_".join(subset)], rtol=0.02, atol=0.02)
    said = server_models.load(1, version, read_exported(version)).logits(given, ("hallucination",))
    np.testing.assert_allclose(said["hallucination"], logits["hallucination"], rtol=1e-5, atol=1e-6)
    built = server_models._build(version, of_weights)["rgb_hallucination"](rgb=clips)["logits"]
    np.testing.assert_allclose(built, mean, rtol=0.02, atol=0.02)
    for networks, subset in (((), ("rgb", "hallucination")), (("rgb",), ("rgb",))):
        asked = predict.PredictSettings(version, exported, {"rgb": Path("clip")}, chosen=networks)
        assert asked.modalities == subset
    arguments = [f"--model={tmp_path / 'model'}", "--rgb=clip.avi", "--with=rgb+depth"]
    defined = flag_groups.define(predict.flag_groups(arguments), flags.FlagValues())
    values = command_line.parse(defined, arguments)
    with pytest.raises(InputError, match="--with: the model has no depth, only rgb, hallucination"):
        assert predict.settings_from_flags(values).modalities
    source = checkpoints / "custom" / "independent" / f"{NAME}-rgb+depth"
    with pytest.raises(InputError, match="--default_modalities: the run has no hallucination, only rgb, depth"):
        export(ExportSettings(source, default_modalities=("rgb", "hallucination")))


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
        (
            "modality_distillation_student",
            {"middle_layer": "stage3"},
            "--middle_layer=stage3: the network of .* only stem, stage1",
        ),
        (
            "admd",
            {"networks": "hallucination:authors/2"},
            r"compares features: hallucination is authors/2, but depth of .*depth is testing/64; choose the same",
        ),
        (
            "admd",
            {"modalities": "rgb,hallucination"},
            "--method=admd makes a hallucination network where it needs one; name the modality that learns and then",
        ),
        (
            "mars",
            {"networks": "rbg:testing/8"},
            "--networks=rbg:testing/8: it concerns none of the runs, whose networks are",
        ),
        ("mars", {"connection": "true"}, "--connection=True: it concerns none of the runs"),
        ("mars", {"initial_weights": "{}:rgb"}, "give its folder as --teacher_run, .* or leave out --initial_weights"),
        ("independent", {"modalities": "hallucination,rgb"}, "hallucination sees the first, which must be real"),
        (
            "independent",
            {"select_by": "rgb+hallucination"},
            r"--select_by=rgb\+hallucination: expected one of rgb, depth",
        ),
        ("mars", {"teacher_run": "nowhere", "modalities": "rgb"}, r"nowhere/config\.json: No such file"),
        (
            "graph_distillation",
            {"teacher_run": "{}", "modalities": "rgb,depth"},
            r"--modalities=rgb,depth: --method=graph_distillation has 1 network \(network 1\); leave out --teacher_run",
        ),
        (
            "admd",
            {"teacher_run": "{}", "modalities": "rgb,depth"},
            r"--modalities=rgb,depth: --method=admd has 2 networks \(network 1, hallucination\)",
        ),
        (
            "admd",
            {"teacher_run": "{}", "modalities": "rgb,hallucination"},
            "--teacher_modalities=: --method=admd is taught by one network of rgb, depth: name it",
        ),
        (
            "admd",
            {"teacher_run": "{}", "teacher_modalities": "depth", "modalities": "rgb,hallucination"},
            "--initial_weights: the hallucination network of --method=admd keeps the classifier that it starts with",
        ),
        (
            "hallucination",
            {"initial_weights": "{}", "modalities": "rgb,depth"},
            r"--method=hallucination has 3 networks \(network 1, network 2, hallucination\)",
        ),
    ],
)
def test_settings_that_do_not_fit(records, checkpoints, trained, method, changes, message):
    source = checkpoints / "custom" / "independent" / f"{NAME}-rgb+depth"
    changes = {name: value.format(source) for name, value in changes.items()}
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


def linear(factor):
    """A network whose logits are a weight, 0 at first, times a factor."""
    clips = keras.Input((1,))
    logits = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(keras.layers.Rescaling(factor)(clips))
    return keras.Model(clips, {"logits": logits, "features": logits})


@pytest.mark.parametrize(("largest", "cut"), [(0.0, 1.0), (2.5, 0.5)])
def test_gradients_are_cut_to_a_norm_over_all_variables(largest, cut):
    networks = {"rgb": linear(3.0), "depth": linear(4.0)}  # the factors are their gradients
    ensemble = ModalityEnsemble(networks, lambda outputs, labels, step: outputs.logits[..., 0], clip_norm=largest)
    ensemble.compile(optimizer=keras.optimizers.SGD(1.0))
    ensemble.learn({"clips": {name: tf.ones((2, 1)) for name in networks}, "label": tf.zeros(2, tf.int64)})
    moved = [float(network.trainable_variables[0].numpy()[0, 0]) for network in networks.values()]
    assert moved == pytest.approx([-3.0 * cut, -4.0 * cut])
    assert resolve("authors", "full", {"method": "hallucination"}).clip_norm == 10.0


def test_what_had_a_part_in_weights():
    """Independent networks learn apart; others see through each other."""

    def run(method, modalities, learned_from=(), **changes):
        config = make_config(method=method, modalities=modalities, select_by="sum", **changes)
        return Run("custom", "", "", (), {}, {}, "", config, learned_from=learned_from)

    several = run("independent", ("rgb", "depth", "flow"))
    assert (several.saw_by(["depth"]), several.saw) == (("depth",), ("rgb", "depth", "flow"))
    assert run("dmcl", ("rgb", "depth")).saw_by(["rgb"]) == ("rgb", "depth")
    assert run("independent", ("depth",), ("rgb",)).saw_by(["depth"]) == ("depth", "rgb")


def test_a_student_of_all_networks_of_a_run_has_seen_what_they_saw(records, checkpoints, trained, tmp_path):
    source = checkpoints / "custom" / "independent" / f"{NAME}-rgb+depth"
    taught = settings_of(records, tmp_path, "generalized_distillation", teacher_run=source, modalities="rgb")
    assert train.train(taught).load().saw == ("rgb", "depth")


def test_the_middle_layer_is_the_part_that_is_named():
    network = make_ensemble(make_config(modalities=("rgb",), select_by="rgb"), 3).networks["rgb"]
    clips = tf.random.stateless_uniform((1, 8, 32, 32, 3), (1, 2))
    last, stem = (with_middle(network, part)(clips)["middle"] for part in ("", "stem"))
    np.testing.assert_array_equal(last, with_middle(network, "stage1")(clips)["middle"])
    assert np.abs(last - stem).max() > 0
    np.testing.assert_allclose(tf.reduce_mean(last, axis=(1, 2, 3)), network(clips)["features"], rtol=1e-5)
    assert resolve("authors", "full", {"method": "hallucination"}).middle_weight == 10.0
