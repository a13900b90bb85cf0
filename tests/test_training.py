"""Real runs: their files, how they continue, what stops them."""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny import split, write_records
from tiny_run import assert_equal, variables_of

from dmcl_tf.config import Config, reported_accuracies, resolve
from dmcl_tf.data import pipeline
from dmcl_tf.data import records as format_
from dmcl_tf.datasets import DATASETS
from dmcl_tf.errors import InputError
from dmcl_tf.learning import checks, loop
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.runs.checkpoints import Checkpoints
from dmcl_tf.runs.folder import Run, RunFolder
from dmcl_tf.runs.progress import best_score, done_epochs, find_checkpoint, identify_checkpoint
from dmcl_tf.scoring.logits import Evaluator
from dmcl_tf.train import TrainSettings, train

ROOT = Path(__file__).parents[1]
MODALITIES = ("rgb", "depth")
EPOCHS = 8
PROTOCOL = DATASETS["custom"].protocol()


def colored_frame(modality, k, index):
    """Classes differ in their grey level, which is easily learnt."""
    noise = np.random.RandomState(1000 * k + index).randint(0, 30, (48, 48, 3))
    return (60 * (k % 3) + (20 if modality == "depth" else 40) + noise).astype(np.uint8)


def write_colored(directory, **videos):
    return write_records(directory, videos, modalities=MODALITIES, frame=colored_frame)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_colored(tmp_path_factory.mktemp("records"), train=5, validation=3, test=1)


def make_config(**changes):
    settings = {"modalities": MODALITIES, "frame_size": 48, "crop_size": 32, "batch_size": 2, "value_range": "-1..1"}
    settings |= {"epochs": 5, "warmup_epochs": 1, "validate_every": 2, "learning_rate": 0.05, "variant": "testing"}
    return resolve("authors", "full", {**settings, "color_probability": 0.0, **changes})


def run(records, directory, save_every_steps=0, **changes):
    settings = {"directory": directory, "save_every_steps": save_every_steps}
    return train(TrainSettings(make_config(**changes), "custom", records.directory, PROTOCOL, **settings))


@pytest.fixture(scope="module")
def whole(records, tmp_path_factory):
    """A run to its end."""
    return run(records, tmp_path_factory.mktemp("whole") / "run")


def test_history_of_a_run(whole):
    history = pd.read_csv(whole.history_path)
    assert history["epoch"].tolist() == list(range(5))
    validation = [f"validation_{name}" for name in reported_accuracies(MODALITIES)]
    kinds = ("loss", "cross_entropy", "accuracy", "wins")
    assert set(history) == {"epoch", "learning_rate", "loss", *validation} | {
        f"{modality}_{kind}" for kind in kinds for modality in MODALITIES
    }
    np.testing.assert_allclose(history["rgb_wins"] + history["depth_wins"], 1.0, rtol=1e-6)
    np.testing.assert_allclose(history["loss"], history["rgb_loss"] + history["depth_loss"], rtol=1e-5)
    # two steps per epoch; the first epoch warms up
    np.testing.assert_allclose(history["learning_rate"], [0.025, *[0.05] * 4], rtol=1e-5)
    validated = history[validation].notna().all(axis=1)
    assert history.loc[validated, "epoch"].tolist() == [0, 2, 4]  # every second, and the last
    assert history.loc[~validated, validation].isna().all(axis=None)
    assert history["rgb_cross_entropy"].iloc[-1] < history["rgb_cross_entropy"].iloc[0]
    # the best checkpoint: the later of equal ones
    best = history["validation_oracle"].max()
    assert best_score(history, make_config()) == best
    expected = history.loc[history["validation_oracle"] == best, "epoch"].iloc[-1]
    assert identify_checkpoint(whole, "best").epoch == expected
    assert identify_checkpoint(whole, "last").epoch == 4
    assert list((whole.directory / "tensorboard").iterdir())


def test_the_run_is_written_down(whole, records):
    written = whole.load()
    splits = split(records)
    assert written.config == make_config()
    assert (written.dataset, written.origin, written.protocol) == ("custom", "drawn", PROTOCOL)
    assert (written.class_names, written.videos) == (splits.class_names, {"train": 5, "validation": 3, "test": 1})
    assert (written.splits, written.teacher) == (splits.checksum(), None)
    assert Path(written.records).resolve() == records.directory.resolve()


def test_a_complete_run_is_left_alone(whole, records, capsys):
    def files():
        paths = [path for path in whole.directory.rglob("*") if path.is_file() and path.name != ".lock"]
        return {path: path.stat().st_mtime_ns for path in paths}

    before = files()
    run(records, whole.directory)
    assert files() == before
    printed = capsys.readouterr().out
    assert "complete: 5 epochs" in printed
    assert "videos: 5 train, 3 validation, 1 test" in printed
    assert "warning: the test split (no protocol) has no video of class 'class 1'" in printed


def test_a_run_that_lost_files_is_refused(whole, records, tmp_path):
    """It would be trained again and overwritten."""
    for lost in ("history.csv", "last", "last/checkpoint"):
        directory = tmp_path / lost.replace("/", " ")
        shutil.copytree(whole.directory, directory)
        path = directory / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        with pytest.raises(InputError, match=re.escape(str(directory))):
            run(records, directory)


def test_a_run_without_validation_videos(tmp_path):
    records = write_colored(tmp_path / "records", train=3)
    folder = run(records, tmp_path / "run", epochs=2, method="independent")
    history = pd.read_csv(folder.history_path)
    assert len(history) == 2
    assert history[[column for column in history if column.startswith("validation_")]].isna().all(axis=None)
    assert identify_checkpoint(folder, "best").epoch == 1  # the last one


DRAWING = {"method": "random_teacher", "deterministic": True, "epochs": 4}


@pytest.fixture(scope="module")
def drawn(records, tmp_path_factory):
    """A run whose method draws, to its end."""
    return run(records, tmp_path_factory.mktemp("drawn") / "run", **DRAWING)


@pytest.mark.parametrize("save_every", [1, 3])
@pytest.mark.parametrize("fails", ["in the middle of an epoch", "before the checkpoint inside it is removed"])
def test_a_run_continues_inside_an_epoch(records, drawn, tmp_path, monkeypatch, fails, save_every):
    """Two steps an epoch: the sixth is the last of the third epoch, after which both save."""
    settings = {**DRAWING, "save_every": save_every}
    real, taken = loop._Step.__call__, []

    def step(*arguments):
        taken.append(arguments)
        if len(taken) == 6:
            raise Killed
        return real(*arguments)

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        inside = fails == "in the middle of an epoch"
        patch.setattr(*((loop._Step, "__call__", step) if inside else (Checkpoints, "remove_step", killed)))
        with pytest.raises(Killed):
            run(records, tmp_path / "run", save_every_steps=1, **settings)
    assert find_checkpoint(tmp_path / "run/step").name == ("ckpt-5" if taken else f"ckpt-{2 * save_every - 1}")
    left = tmp_path / "run/best/ckpt-9_temp"
    left.mkdir()
    folder = run(records, tmp_path / "run", **settings)
    assert folder.history_path.read_bytes() == drawn.history_path.read_bytes()
    assert not (folder.directory / "step").exists()
    assert not left.exists()
    assert_equal(variables_of(folder.directory / "last"), variables_of(drawn.directory / "last"))


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


MOMENTS = {
    "before the best checkpoint": (Checkpoints, "save_best", False),
    "after the best checkpoint": (Checkpoints, "save_best", True),
    "before the history": (RunFolder, "write_history", False),
    "after the history": (RunFolder, "write_history", True),
    "before the last checkpoint": (Checkpoints, "save_last", False),
    "after the last checkpoint": (Checkpoints, "save_last", True),
}


@pytest.fixture(scope="module")
def recorded(records):
    """`recorded(directory, save_every, killed_at)` runs the recorder, without training, from where the folder stands.

    The networks' only change is that their weights become the number of the epoch; `killed_at` names a moment.
    """
    settings = {"epochs": 3, "validate_every": 1, "modalities": ("rgb",), "select_by": "rgb"}
    config, splits = make_config(**settings), split(records)
    keras.utils.set_random_seed(0)
    ensemble = make_ensemble(config, 3)
    ensemble.compile(optimizer=make_optimizer(config, 2, ensemble.trainable_variables), jit_compile=False)
    evaluate = Evaluator(ensemble, records, splits, config)

    def record(directory, save_every, killed_at=None):
        config = make_config(save_every=save_every, **settings)
        folder, checkpoints = RunFolder(directory), Checkpoints(directory, ensemble)
        first_epoch = done_epochs(folder, config)
        checkpoints.restore("last")
        recorder = loop.EpochRecorder(config, folder, checkpoints, evaluate, splits)
        with pytest.MonkeyPatch.context() as patch:
            if killed_at:
                owner, name, after = MOMENTS[killed_at]
                original, calls = getattr(owner, name), []

                def interrupted(*arguments):
                    calls.append(arguments)
                    second = len(calls) == 2
                    if second and not after:
                        raise Killed
                    original(*arguments)
                    if second:
                        raise Killed

                patch.setattr(owner, name, interrupted)
            try:
                for epoch in range(first_epoch, config.epochs):
                    for variable in ensemble.trainable_variables:
                        variable.assign(tf.fill(variable.shape, float(epoch)))
                    recorder.record(epoch, {"loss": 1 / (3 + epoch), "rgb_accuracy": 1 / 3})
            finally:
                recorder.close()
        return folder.history_path.read_bytes(), variables_of(directory / "last"), variables_of(directory / "best")

    return record


@pytest.fixture(scope="module")
def uninterrupted(recorded, tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("uninterrupted"), save_every=1)


@pytest.mark.parametrize("save_every", [1, 2])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_and_continued_equals_uninterrupted(recorded, uninterrupted, tmp_path, moment, save_every):
    with pytest.raises(Killed):
        recorded(tmp_path, save_every, killed_at=moment)
    history, last, best = recorded(tmp_path, save_every)
    assert history == uninterrupted[0]
    assert_equal(last, uninterrupted[1])
    assert_equal(best, uninterrupted[2])


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_videos(records, tmp_path):
    with pytest.raises(InputError) as caught:
        run(records, tmp_path / "run", learning_rate=1e38, warmup_epochs=0, value_range="0..255")
    message = str(caught.value)
    assert re.match(r"the loss is not finite for the batch (train-\d) (?!\1)train-\d: look at these videos", message)
    assert "--learning_rate=1e+38" in message


def test_the_batch_that_is_not_finite_is_named_in_any_step(records, tmp_path, monkeypatch):
    """The videos are those that the step was given, also in a run that continues."""
    shown, original = [], pipeline.training_dataset

    def spoiled(records, splits, config, first_epoch=0, first_batch=0, **place):
        def spoil(step, batch):
            wrong = tf.equal(step + first_epoch * 2, 5)
            clips = {m: tf.where(wrong, np.nan, tf.cast(c, tf.float32)) for m, c in batch["clips"].items()}
            return {**batch, "clips": clips}

        dataset = original(records, splits, config, first_epoch, first_batch, **place)
        shown[:] = [batch["label"].tolist() for batch in dataset.take(8).as_numpy_iterator()]
        return dataset.enumerate().map(spoil)

    monkeypatch.setattr(pipeline, "training_dataset", spoiled)
    with pytest.raises(InputError) as caught:
        run(records, tmp_path / "run", shuffle_buffer=3)
    names = re.findall(r"train-(\d)", str(caught.value))
    assert [int(name) % 3 for name in names] == shown[5]
    assert len(RunFolder(tmp_path / "run").read_history()) == 2
    with pytest.raises(InputError) as again:
        run(records, tmp_path / "run", shuffle_buffer=3)
    assert str(again.value) == str(caught.value)


def test_a_damaged_record_is_named(tmp_path):
    records = write_colored(tmp_path / "records", train=4, validation=2)
    path = format_.record_path(records.directory, "train-1")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3] + bytes(len(content) - len(content) // 3))
    with pytest.raises(InputError, match=rf"{path} is damaged: delete it and run data_prep/make_tfrecords\.py"):
        run(records, tmp_path / "run")


@pytest.mark.parametrize("name", ["train", "validation"])
def test_a_half_written_or_missing_record_is_named_before_training(tmp_path, name):
    records = write_colored(tmp_path / "records", train=4, validation=2)
    path = format_.record_path(records.directory, f"{name}-1")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match=rf"{path} has \d+ bytes instead of \d+: delete it"):
        run(records, tmp_path / "run")
    path.unlink()
    with pytest.raises(InputError, match=rf"{path}: No such file"):
        run(records, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("replicas", "precision", "message"),
    [
        (3, "float32", "--batch_size=2 does not divide among 3 devices"),
        (2, "float16", "--precision=float16 works on one device, not on 2"),
    ],
)
def test_what_several_devices_cannot_do_is_refused(records, replicas, precision, message):
    splits, config = split(records), make_config(precision=precision)
    planned = Run("custom", "", "", splits.class_names, PROTOCOL, splits.counts(), "", config)
    with pytest.raises(InputError, match=message):
        checks.check(planned, records, splits, replicas)


def command(records, checkpoints):
    config, usual = make_config(epochs=EPOCHS, method="random_teacher"), resolve("authors", "full", {})
    names = [field.name for field in dataclasses.fields(Config)]
    settings = {name: getattr(config, name) for name in names if getattr(config, name) != getattr(usual, name)}
    flags = [f"--{name}={','.join(v) if isinstance(v, tuple) else v}" for name, v in settings.items()]
    places = [f"--records={records.directory}", f"--checkpoints={checkpoints}"]
    return [sys.executable, "-m", "dmcl_tf.train", *places, *flags, "--deterministic"]


def start(arguments):
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "2"}  # more get in each other's way
    environment = {**os.environ, **threads, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def wait_for_rows(process, history, rows):
    while process.poll() is None and not (history.exists() and len(history.read_text().splitlines()) > rows):
        time.sleep(0.005)


@pytest.fixture(scope="module")
def runs(records, tmp_path_factory):
    """The folders of an uninterrupted run and of one that was killed after two epochs, terminated, and continued.

    Their method draws, which must go on with what it would have drawn.
    """
    folders = [tmp_path_factory.mktemp(name) for name in ("uninterrupted", "killed")]
    whole, killed = (start(command(records, folder)) for folder in folders)
    directories = [folder / "custom" / "random_teacher" / "authors-full-seed0" for folder in folders]
    history = directories[1] / "history.csv"
    wait_for_rows(killed, history, 2)
    killed.send_signal(signal.SIGKILL)
    assert finish(killed)[0] == -signal.SIGKILL
    interrupted = history.read_text()
    assert 2 < len(interrupted.splitlines()) <= EPOCHS
    code, out, err = finish(whole)
    assert code == 0, err[-2000:]
    assert f"run: {directories[0]}" in out
    terminated = start(command(records, folders[1]))
    wait_for_rows(terminated, history, len(interrupted.splitlines()))
    terminated.send_signal(signal.SIGTERM)
    code, _, err = finish(terminated)
    assert code == 0, err[-2000:]
    assert re.search(r"\nstopped after step \d+ of \d+, which is saved; the same command continues$", err), err[-500:]
    code, _, err = finish(start(command(records, folders[1])))
    assert code == 0, err[-2000:]
    return directories[0], directories[1], interrupted


def test_stopped_and_continued_has_the_history_of_the_uninterrupted(runs):
    whole, continued, interrupted = runs
    history = (whole / "history.csv").read_bytes()
    assert len(history.splitlines()) == EPOCHS + 1
    assert (continued / "history.csv").read_bytes() == history
    assert history.decode().startswith(interrupted.rsplit("\n", 2)[0])


@pytest.mark.parametrize("name", ["last", "best"])
def test_stopped_and_continued_has_the_weights_of_the_uninterrupted(runs, name):
    expected, actual = (variables_of(directory / name) for directory in runs[:2])
    assert_equal(actual, expected)
