"""Generalized distillation from end to end: a run, the run that it teaches, and teachers that do not fit."""

import dataclasses
import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import special
from tiny import split, write_records
from tiny_run import SETTINGS, noisy_frame, run_training, save_checkpoint

from dmcl_tf.config import reported_accuracies, resolve
from dmcl_tf.data import pipeline
from dmcl_tf.errors import InputError
from dmcl_tf.evaluate import EvaluateSettings, evaluate
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import RunFolder, Weights
from dmcl_tf.runs.teacher import Teacher

VIDEOS = {"train": 4, "validation": 2, "test": 3}
MODALITIES = ("rgb", "depth", "flow")


def student(records, checkpoints, teacher, **settings):
    settings = {"method": "generalized_distillation", "modalities": "rgb", "run_name": "student", **settings}
    return run_training(records, checkpoints, teacher_run=teacher.directory, **settings)


def write_tiny(directory, modalities=MODALITIES):
    size = SETTINGS["frame_size"]
    return write_records(directory, VIDEOS, modalities=modalities, size=size, lengths=(8, 9), frame=noisy_frame)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def teacher(records, checkpoints):
    """A run of three modalities."""
    return run_training(records, checkpoints, method="independent", modalities="rgb,depth,flow", run_name="teacher")


@pytest.fixture(scope="module")
def taught(records, checkpoints, teacher):
    """A student of RGB, and the files of its teacher before and after."""
    before = {path: path.read_bytes() for path in teacher.directory.rglob("*") if path.is_file()}
    folder = student(records, checkpoints, teacher, teacher_modalities="depth,flow")
    after = {path: path.read_bytes() for path in teacher.directory.rglob("*") if path.is_file()}
    return folder, before, after


def test_history_is_that_of_the_student_alone(taught, teacher):
    history, theirs = pd.read_csv(taught[0].history_path), pd.read_csv(teacher.history_path)
    kinds = ("loss", "cross_entropy", "accuracy", "wins")
    validation = {f"validation_{name}" for name in reported_accuracies(("rgb",))}
    assert set(history) == {"epoch", "learning_rate", "loss", *(f"rgb_{kind}" for kind in kinds)} | validation
    assert (history["rgb_wins"] == 1.0).all()
    # one step per epoch: the first cross-entropy is that of the same initial weights and clips as without a teacher
    assert history["rgb_cross_entropy"][0] == pytest.approx(theirs["rgb_cross_entropy"][0], rel=1e-5)
    assert history["rgb_cross_entropy"][1] != pytest.approx(theirs["rgb_cross_entropy"][1], rel=1e-5)


def test_loss_of_the_first_step(taught, teacher, records):
    """By hand, from the clips, the student's initial weights and the best weights of the teacher."""
    config = taught[0].load().config
    inputs = dataclasses.replace(config, modalities=MODALITIES)
    batch = next(iter(pipeline.training_dataset(records, split(records), inputs)))
    clips = pipeline.training_input(batch, inputs)
    ensemble = restore_ensemble(teacher, "best")
    logits = {m: ensemble.networks[m](clips[m], training=False)["logits"].numpy() for m in ("depth", "flow")}
    soft = special.softmax((logits["depth"] + logits["flow"]) / 2 / 2.0, axis=1)
    keras.utils.set_random_seed(config.seed + 1)
    network = make_ensemble(config, 3).networks["rgb"]
    predicted = special.log_softmax(network(clips["rgb"], training=True)["logits"].numpy(), axis=1)
    label = -predicted[np.arange(4), batch["label"].numpy()]
    expected = np.mean(0.5 * label + 0.5 * 4.0 * -np.sum(soft * predicted, axis=1))
    assert pd.read_csv(taught[0].history_path)["rgb_loss"][0] == pytest.approx(expected, rel=1e-4)


def test_the_teacher_is_left_alone(taught):
    _, before, after = taught
    assert before == after


@pytest.mark.parametrize("name", ["last", "best"])
def test_checkpoints_hold_the_student_alone(taught, teacher, name):
    student, three = (
        [variable for variable, _ in tf.train.list_variables(str(folder.directory / name))]
        for folder in (taught[0], teacher)
    )
    assert any("network_rgb" in variable for variable in student)
    assert not [variable for variable in student if "network_depth" in variable or "network_flow" in variable]
    assert 2 * len(student) < len(three)  # one network instead of three


def test_settings_and_the_teachers_weights_are_written_down(taught, teacher):
    run = taught[0].load()
    assert run.config.teacher_modalities == ("depth", "flow")
    assert Path(run.config.teacher_run).resolve() == teacher.directory.resolve()
    assert run.teacher == Teacher.of(run.config).identity()
    assert isinstance(run.teacher, Weights)


def test_evaluation_needs_no_teacher(taught, tmp_path):
    folder = RunFolder(shutil.copytree(taught[0].directory, tmp_path / "student"))
    written = folder.config_path.read_text()
    folder.config_path.write_text(written.replace("/teacher", "/nowhere"))
    results = evaluate(EvaluateSettings(folder.directory))
    assert results.evaluated.config.method == "generalized_distillation"
    assert set(results.accuracy) == {"rgb", "sum", "sum_probabilities", "oracle"}


def test_teaching_networks_give_their_logits_in_inference_mode(teacher):
    clips = {m: tf.random.stateless_uniform((2, 8, 32, 32, 3), (k, 1), -1.0, 1.0) for k, m in enumerate(MODALITIES)}
    ensemble = restore_ensemble(teacher, "best")
    logits = {m: ensemble.networks[m](clips[m], training=False)["logits"] for m in MODALITIES}
    for modalities in (("depth",), ("depth", "flow"), ()):
        config = resolve(
            "authors",
            "full",
            {
                "method": "generalized_distillation",
                "teacher_run": str(teacher.directory),
                "teacher_modalities": modalities,
            },
        )
        found = Teacher.of(config)
        assert found.modalities == (modalities or MODALITIES)
        expected = np.stack([logits[m] for m in found.modalities])
        np.testing.assert_allclose(found.load(config)(clips).logits, expected, rtol=1e-5, atol=1e-6)


def test_a_run_without_teacher_run_has_no_teacher():
    assert Teacher.of(resolve("authors", "full", {})) is None


def test_several_students_of_all_the_teachers_modalities(records, tmp_path, teacher):
    folder = student(records, tmp_path, teacher, modalities="flow,rgb", epochs=1)
    history = pd.read_csv(folder.history_path)
    assert history["loss"][0] == pytest.approx(history["rgb_loss"][0] + history["flow_loss"][0], rel=1e-5)
    assert not [name for name in history if "depth" in name]


def test_a_teacher_that_was_trained_again_is_another(records, tmp_path, teacher):
    shutil.copytree(teacher.directory, tmp_path / "teacher")
    again = RunFolder(tmp_path / "teacher")
    student(records, tmp_path, again, epochs=1)
    save_checkpoint(again, records, "best", epoch=2, seed=9)
    with pytest.raises(
        InputError, match=r"student holds a run of another .*teacher: .* there, .* now\); choose another"
    ):
        student(records, tmp_path, again, epochs=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_modalities": "sound"}, r"--teacher_modalities=sound: .*teacher has no sound, only rgb, depth, flow"),
        ({"crop_size": 24}, r"--teacher_run=.*teacher was trained with --crop_size=32, but 24 is asked for"),
        ({"value_range": "0..255"}, r"was trained with --value_range=-1\.\.1, but 0\.\.255 is asked for"),
    ],
)
def test_settings_that_do_not_fit_the_teacher(records, tmp_path, teacher, settings, message):
    with pytest.raises(InputError, match=message):
        student(records, tmp_path, teacher, **settings)
    assert not (tmp_path / "custom").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "others"}, r"teacher was trained on custom, not on others: choose a run of the latter"),
        ({"class_names": ("a", "b", "c")}, r"teacher knows other classes than the records in .*: choose another run"),
        (
            {"protocol": {"test_view": 2}},
            r"trained on another split \(.*\) than that of .* \(test_view 2, .*\): choose",
        ),
        ({"splits": "01234567"}, r"trained on another split \(.*\) than that of .* \(checksum 01234567\): choose"),
    ],
)
def test_runs_that_do_not_fit_the_teacher(taught, changes, message):
    run = taught[0].load()
    Teacher.of(run.config).check(run)
    with pytest.raises(InputError, match=message):
        Teacher.of(run.config).check(dataclasses.replace(run, **changes))


def test_records_of_other_videos(tmp_path, teacher):
    more = write_records(
        tmp_path / "records", {**VIDEOS, "test": 4}, size=SETTINGS["frame_size"], lengths=(9,), frame=noisy_frame
    )
    with pytest.raises(InputError, match="teacher was trained on another split"):
        student(more, tmp_path / "checkpoints", teacher)
    assert not (tmp_path / "checkpoints").exists()


def test_records_without_the_teachers_modality(tmp_path, teacher):
    records = write_tiny(tmp_path / "records", modalities=("rgb",))
    with pytest.raises(InputError, match=r"records of rgb at 40 pixels, but rgb,depth at 40 pixels are asked for"):
        student(records, tmp_path, teacher, teacher_modalities="depth")


def test_a_teacher_that_is_not_there_or_not_trained(records, tmp_path, teacher):
    with pytest.raises(InputError, match=r"nowhere/config\.json: No such file .*expected a run"):
        student(records, tmp_path, RunFolder(tmp_path / "nowhere"))
    unfinished = RunFolder(shutil.copytree(teacher.directory, tmp_path / "teacher"))
    for path in list((unfinished.directory / "last").iterdir()):
        path.rename(path.with_name(path.name.replace("ckpt-2", "ckpt-1")))
    state = unfinished.directory / "last" / "checkpoint"
    state.write_text(state.read_text().replace("ckpt-2", "ckpt-1"))
    with pytest.raises(InputError, match=r"teacher has trained 2 of 3 epochs: let it finish first"):
        student(records, tmp_path, unfinished)
    shutil.rmtree(tmp_path / "teacher" / "best")
    with pytest.raises(InputError, match=r"teacher: no best checkpoint; train the run first"):
        student(records, tmp_path, unfinished)
    assert not (tmp_path / "custom").exists()
