"""A run folder as training leaves it, without the training: networks that tell the tiny videos apart by chance."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tiny
from absl import flags

from dmcl_tf import flag_groups, train
from dmcl_tf.config import Config, resolve
from dmcl_tf.data.table import Records
from dmcl_tf.datasets import DATASETS
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.runs.checkpoints import Checkpoints
from dmcl_tf.runs.folder import Run, RunFolder
from dmcl_tf.scoring.logits import Evaluator

SETTINGS = {"frame_size": 40, "crop_size": 32, "variant": "testing"}
TRAINING = {**SETTINGS, "batch_size": 4, "epochs": 3, "warmup_epochs": 0, "validate_every": 1, "value_range": "-1..1"}
TRAINING["color_probability"] = 0.0  # what distorts colours is compiled for every run


def noisy_frame(modality: str, video: int, index: int) -> np.ndarray:
    """Noise of its own for each modality, video and frame, around a brightness of its own for each video."""
    random = np.random.RandomState(1000 * video + 10 * index + len(modality))
    brightness = 40 * (video % 5)
    return random.randint(brightness, brightness + 80, (SETTINGS["frame_size"], SETTINGS["frame_size"], 3), np.uint8)


def write_noisy_records(directory: Path, **changes) -> Records:
    """Records that fit `SETTINGS`: some videos to evaluate on; `changes` as for `tiny.write_records`."""
    settings = {"size": SETTINGS["frame_size"], "lengths": (12, 20), "classes": 6, "frame": noisy_frame}
    settings["videos"] = {"train": 6, "validation": 2, "test": 7}
    return tiny.write_records(directory, **{**settings, **changes})


def make_config(**changes) -> Config:
    return resolve("authors", "full", {**SETTINGS, **changes})


def describe_run(records: Records, config: Config, **changes) -> Run:
    """A run of own videos."""
    splits = tiny.split(records)
    values = {
        "dataset": "custom",
        "records": str(records.directory),
        "origin": records.description.origin,
        "class_names": splits.class_names,
        "protocol": DATASETS["custom"].protocol(),
        "videos": splits.counts(),
        "splits": splits.checksum(),
        "config": config,
    }
    return Run(**{**values, **changes})


def make_run(directory: Path, records: Records, config: Config) -> RunFolder:
    """A run folder with a `best` checkpoint of epoch 5 and a `last` one of epoch 7, of different weights."""
    folder = RunFolder(directory)
    folder.create_or_match(describe_run(records, config))
    save_checkpoint(folder, records, "best", epoch=5, seed=1)
    save_checkpoint(folder, records, "last", epoch=7, seed=2)
    return folder


def save_checkpoint(folder: RunFolder, records: Records, name: str, *, epoch: int, seed: int) -> None:
    """Saves networks whose logits, as a mean over the test videos, are zero: no class wins everywhere."""
    run = folder.load()
    keras.utils.set_random_seed(seed)
    ensemble = make_ensemble(run.config, len(run.class_names))
    means = Evaluator(ensemble, records, tiny.split(records), run.config)("test").logits.mean(axis=1)
    for network, mean in zip(ensemble.networks.values(), means):
        network.get_layer("logits").bias.assign_sub(mean)
    checkpoints = Checkpoints(folder.directory, ensemble)
    checkpoints.save_best(epoch) if name == "best" else checkpoints.save_last(epoch)


def parse_flags(command, *arguments: str, **settings) -> flags.FlagValues:
    """The values of a command's flags on a command line."""
    values = flags.FlagValues()
    flag_groups.define(command.FLAG_GROUPS, values)
    values(["command", *arguments, *(f"--{name}={value}" for name, value in settings.items())])
    return values


def run_training(records: Records, checkpoints: Path, **settings) -> RunFolder:
    """Trains by the flags of the training command; `settings` go before `TRAINING`. Returns the folder of the run."""
    places = {"records": records.directory, "checkpoints": checkpoints}
    return train.train(train.settings_from_flags(parse_flags(train, **{**places, **TRAINING, **settings})))


def smooth_clips(height: int, width: int, clips: int = 2) -> dict[str, np.ndarray]:
    """Moving waves, (clips, 8, height, width, 3) uint8 for each modality."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    result = {}
    for row, modality in enumerate(tiny.MODALITIES):
        result[modality] = np.empty((clips, 8, height, width, 3), np.uint8)
        for n, t, c in np.ndindex(clips, 8, 3):
            wave = np.sin(0.2 * (1 + c) * x + t + n) * np.cos(0.15 * (1 + row) * y - n)
            result[modality][n, t, :, :, c] = 127.5 + 127.5 * wave
    return result


def variables_of(checkpoint_folder):
    """Every array of the newest checkpoint by its name."""
    reader = tf.train.load_checkpoint(str(checkpoint_folder))
    names = [name for name in reader.get_variable_to_shape_map() if name != "_CHECKPOINTABLE_OBJECT_GRAPH"]
    return {name: reader.get_tensor(name) for name in names if "save_counter" not in name}


def assert_equal(actual, expected):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)
