"""Real runs: their files, how they continue, what stops them."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny import linear_networks, write_records

from dmcl_tf.config import Config, reported_accuracies, resolve
from dmcl_tf.errors import InputError
from dmcl_tf.learning import loop as training
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.networks.ensemble import ModalityEnsemble, make_objective
from dmcl_tf.runs.checkpoints import Checkpoints, identify_checkpoint
from dmcl_tf.runs.folder import Run, RunFolder

ROOT = Path(__file__).parents[1]
MODALITIES = ("rgb", "depth")
EPOCHS = 6


def colored_frame(modality, k, index):
    """Classes differ in their grey level, which a linear network can learn."""
    noise = np.random.RandomState(1000 * k + index).randint(0, 30, (48, 48, 3))
    return (60 * (k % 3) + (20 if modality == "depth" else 40) + noise).astype(np.uint8)


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    videos = {"train": 5, "validation": 3, "test": 1}
    return write_records(tmp_path_factory.mktemp("records"), videos, modalities=MODALITIES, frame=colored_frame)


def make_config(**changes):
    settings = {"modalities": MODALITIES, "frame_size": 48, "crop_size": 32, "batch_size": 2, "value_range": "-1..1"}
    settings.update({"epochs": 5, "warmup_epochs": 1, "validate_every": 2, "learning_rate": 0.05})
    return resolve("authors", "full", {**settings, **changes})


def linear_ensemble(config, classes):
    networks = linear_networks(config.modalities, classes)
    return ModalityEnsemble(networks, make_objective(config), weight_decay=config.weight_decay)


@pytest.fixture
def linear(monkeypatch):
    """Lets runs train linear networks, which are traced in no time."""
    monkeypatch.setattr(training, "make_ensemble", linear_ensemble)


def train(config, info, directory):
    folder = RunFolder(directory)
    folder.create_or_match(Run(info.dataset, str(info.directory), info.class_names, config))
    training.train(config, info, folder, tf.distribute.MirroredStrategy(["CPU:0"]))
    return folder


def variables_of(checkpoint_folder):
    """Every array of the newest checkpoint by its name."""
    reader = tf.train.load_checkpoint(str(checkpoint_folder))
    names = [name for name in reader.get_variable_to_shape_map() if name != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    return {name: reader.get_tensor(name) for name in names if "save_counter" not in name}


@pytest.mark.usefixtures("linear")
def test_history_of_a_run(info, tmp_path):
    config = make_config()
    folder = train(config, info, tmp_path / "run")
    history = pd.read_csv(folder.history_path)
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
    checkpoints = Checkpoints(folder.directory, linear_ensemble(config, 3))
    assert checkpoints.best_accuracy() == best
    assert checkpoints.restore("best") == history.loc[history["validation_oracle"] == best, "epoch"].iloc[-1]
    assert checkpoints.restore("last") == 4
    assert list((folder.directory / "tensorboard").iterdir())


@pytest.mark.usefixtures("linear")
def test_a_complete_run_is_left_alone(info, tmp_path, capsys):
    config = make_config(epochs=2)
    folder = train(config, info, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in folder.directory.rglob("*") if path.is_file()}
    train(config, info, tmp_path / "run")
    assert {path: path.stat().st_mtime_ns for path in folder.directory.rglob("*") if path.is_file()} == before
    assert "complete: 2 epochs" in capsys.readouterr().out


@pytest.mark.usefixtures("linear")
def test_a_run_without_validation_videos(tmp_path):
    info = write_records(tmp_path / "records", {"train": 4}, modalities=MODALITIES, frame=colored_frame)
    folder = train(make_config(epochs=2, method="independent"), info, tmp_path / "run")
    history = pd.read_csv(folder.history_path)
    assert len(history) == 2
    assert history[[column for column in history if column.startswith("validation_")]].isna().all(axis=None)
    assert identify_checkpoint(folder, "best")["epoch"] == 1  # the last one


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


def record_epochs(info, directory, killed_at=None):
    """Runs the recorder, without training between, from where the folder stands; `killed_at` names a moment.

    The networks' only change is that their weights become the number of the epoch.
    """
    config = make_config(epochs=3, validate_every=1, modalities=("rgb",), select_by="rgb")
    folder = RunFolder(directory)
    tf.keras.utils.set_random_seed(0)
    ensemble = linear_ensemble(config, 3)
    ensemble.compile(optimizer=make_optimizer(config, 2, ensemble.trainable_variables), jit_compile=False)
    checkpoints = Checkpoints(directory, ensemble)
    done = checkpoints.restore("last")
    recorder = training.EpochRecorder(config, info, folder, checkpoints, ensemble, 0 if done is None else done + 1, 2)
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
            for epoch in range(0 if done is None else done + 1, config.epochs):
                for variable in ensemble.trainable_variables:
                    variable.assign(tf.fill(variable.shape, float(epoch)))
                recorder.on_epoch_end(epoch, {"loss": 1 / (3 + epoch), "rgb_accuracy": 1 / 3})
        finally:
            recorder.close()
    return folder.history_path.read_bytes(), variables_of(directory / "last"), variables_of(directory / "best")


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment_and_continued_equals_uninterrupted(info, tmp_path, moment):
    expected = record_epochs(info, tmp_path / "uninterrupted")
    with pytest.raises(Killed):
        record_epochs(info, tmp_path / "killed", killed_at=moment)
    history, last, best = record_epochs(info, tmp_path / "killed")
    assert history == expected[0]
    for actual, wanted in ((last, expected[1]), (best, expected[2])):
        assert set(actual) == set(wanted)
        for name, value in wanted.items():
            np.testing.assert_array_equal(actual[name], value, err_msg=name)


@pytest.mark.usefixtures("linear")
def test_a_method_that_draws_continues_with_what_it_would_have_drawn(info, tmp_path, monkeypatch):
    config, save_last = make_config(method="random_teacher", epochs=2), Checkpoints.save_last
    whole = train(config, info, tmp_path / "whole")

    def killed(checkpoints, epoch):
        save_last(checkpoints, epoch)
        raise Killed

    monkeypatch.setattr(Checkpoints, "save_last", killed)
    with pytest.raises(Killed):
        train(config, info, tmp_path / "killed")
    monkeypatch.setattr(Checkpoints, "save_last", save_last)
    continued = train(config, info, tmp_path / "killed")
    pd.testing.assert_frame_equal(continued.read_history(), whole.read_history(), rtol=1e-6)
    assert len(whole.read_history()) == 2


@pytest.mark.usefixtures("linear")
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_videos(info, tmp_path):
    with pytest.raises(InputError) as caught:
        train(make_config(learning_rate=1e38, warmup_epochs=0, value_range="0..255"), info, tmp_path / "run")
    message = str(caught.value)
    assert "\n" not in message
    assert "the loss is not finite for the batch train-" in message
    assert message.count("train-") == 2
    assert "--learning_rate=1e+38" in message


@pytest.mark.usefixtures("linear")
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_corrupt_shard_is_named(tmp_path, split):
    videos = {"train": 4, "validation": 2}
    info = write_records(tmp_path / "records", videos, modalities=MODALITIES, frame=colored_frame)
    shard = info.shard_paths(split)[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=rf"{shard.name} is corrupt: delete it and run data_prep/make_tfrecords\.py"):
        train(make_config(), info, tmp_path / "run")


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_half_written_or_missing_shard_is_named_before_training(tmp_path, split):
    videos = {"train": 4, "validation": 2}
    info = write_records(tmp_path / "records", videos, modalities=MODALITIES, frame=colored_frame)
    shard = info.shard_paths(split)[0]
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(InputError, match=rf"{shard.name} has \d+ bytes instead of \d+: delete it"):
        train(make_config(), info, tmp_path / "run")
    shard.unlink()
    with pytest.raises(InputError, match=rf"{shard.name} is missing: delete it"):
        train(make_config(), info, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 6}, "5 training videos are fewer than --batch_size=6"),
        ({"modalities": ("rgb", "flow")}, "records of rgb,depth at 48 pixels, but rgb,flow at 48 pixels are asked for"),
        ({"frame_size": 80}, "but rgb,depth at 80 pixels are asked for"),
        ({"clip_frames": 4}, "clips have 8 frames, but --clip_frames=4 is asked for"),
    ],
)
def test_records_that_do_not_fit_are_refused(info, tmp_path, changes, message):
    with pytest.raises(InputError) as caught:
        train(make_config(**changes), info, tmp_path / "run")
    assert message in str(caught.value)
    assert str(info.directory) in str(caught.value)


def test_a_batch_that_does_not_divide_among_the_devices_is_refused(info, tmp_path):
    devices = types.SimpleNamespace(num_replicas_in_sync=3)
    with pytest.raises(InputError, match="--batch_size=2 does not divide among 3 devices"):
        training.train(make_config(), info, RunFolder(tmp_path), devices)


def command(info, checkpoints, *more):
    settings = {
        field.name: getattr(make_config(), field.name)
        for field in dataclasses.fields(Config)
        if getattr(make_config(), field.name) != getattr(resolve("authors", "full", {}), field.name)
    }
    settings.update(epochs=EPOCHS, width=4, modalities="rgb")
    flags = [f"--{name}={value}" for name, value in settings.items()]
    places = [f"--records={info.directory}", f"--checkpoints={checkpoints}"]
    return [sys.executable, "-m", "dmcl_tf.train", *places, *flags, "--deterministic", *more]


def start(arguments):
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "2"}  # more get in each other's way
    environment = {**os.environ, **threads, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def runs(info, tmp_path_factory):
    """The folders of an uninterrupted run and of one killed after its second epoch and continued."""
    folders = [tmp_path_factory.mktemp(name) for name in ("uninterrupted", "killed")]
    whole, killed = (start(command(info, folder)) for folder in folders)
    directories = [folder / "tiny" / "dmcl" / "authors-paper-seed0" for folder in folders]
    history = directories[1] / "history.csv"
    while killed.poll() is None and not (history.exists() and len(history.read_text().splitlines()) > 2):
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    assert finish(killed)[0] == -signal.SIGKILL
    interrupted = history.read_text()
    assert 2 < len(interrupted.splitlines()) <= EPOCHS
    code, out, err = finish(start(command(info, folders[1])))
    assert code == 0, err[-2000:]
    assert f"run: {directories[1]}" in out
    code, out, err = finish(whole)
    assert code == 0, err[-2000:]
    return directories[0], directories[1], interrupted


def test_killed_and_continued_has_the_history_of_the_uninterrupted(runs):
    whole, continued, interrupted = runs
    history = (whole / "history.csv").read_bytes()
    assert len(history.splitlines()) == EPOCHS + 1
    assert (continued / "history.csv").read_bytes() == history
    assert history.decode().startswith(interrupted.rsplit("\n", 2)[0])


@pytest.mark.parametrize("name", ["last", "best"])
def test_killed_and_continued_has_the_weights_of_the_uninterrupted(runs, name):
    expected, actual = (variables_of(directory / name) for directory in runs[:2])
    assert set(actual) == set(expected)
    assert len(expected) > 190  # the network; with its optimiser more
    for key, value in expected.items():
        np.testing.assert_array_equal(actual[key], value, err_msg=key)


def test_configuration_of_the_run_is_written_down(runs):
    written = json.loads((runs[0] / "config.json").read_text())
    expected = dataclasses.replace(make_config(modalities=("rgb",)), epochs=EPOCHS, width=4, deterministic=True)
    assert Config.from_json(written["config"]) == expected
