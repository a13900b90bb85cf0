"""A run folder as training leaves it, without the training: networks that tell the tiny videos apart by chance.

The networks are small ones, as eighteen layers take seconds to build and to trace; other tests have those.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from absl import flags
from tiny import MODALITIES, write_records

from dmcl_tf import train
from dmcl_tf.config import Config, resolve
from dmcl_tf.data import records
from dmcl_tf.networks import r2plus1d as networks
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.networks.layers import BatchNormalization, Convolution
from dmcl_tf.runs.checkpoints import Checkpoints
from dmcl_tf.runs.folder import Run, RunFolder
from dmcl_tf.scoring.logits import Evaluator

SETTINGS = {"frame_size": 40, "crop_size": 32}
TRAINING = {**SETTINGS, "batch_size": 4, "epochs": 3, "warmup_epochs": 0, "validate_every": 1, "value_range": "-1..1"}


def small_network(num_classes, width, variant, *, batch_norm_momentum, name):
    """In place of `networks.r2plus1d_18`: the same layers, inputs and outputs, but two convolutions."""
    clips = keras.Input((None, None, None, 3), name="clips")
    x = Convolution(4, (1, 5), (1, 4), name="convolution_0")(clips)
    x = keras.layers.ReLU()(BatchNormalization(momentum=batch_norm_momentum, name="normalization_0")(x))
    x = keras.layers.ReLU()(Convolution(8, (3, 1), (2, 1), name="convolution_1")(x))
    x = keras.layers.GlobalAveragePooling3D(name="features", dtype="float32")(x)
    return keras.Model(clips, keras.layers.Dense(num_classes, name="logits", dtype="float32")(x), name=name)


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    """Makes every ensemble of the module one of small networks; float32 is the policy again at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "r2plus1d_18", small_network)
        yield
    keras.mixed_precision.set_global_policy("float32")


def noisy_frame(modality: str, video: int, index: int) -> np.ndarray:
    """Noise of its own for each modality, video and frame, around a brightness of its own for each video."""
    random = np.random.RandomState(1000 * video + 10 * index + len(modality))
    brightness = 40 * (video % 5)
    return random.randint(brightness, brightness + 80, (SETTINGS["frame_size"], SETTINGS["frame_size"], 3), np.uint8)


def write_noisy_records(directory: Path, **changes) -> records.DatasetInfo:
    """Records that fit `SETTINGS`: one training video, some to evaluate on; `changes` as for `tiny.write_records`."""
    videos = {"train": 1, "validation": 2, "test": 7}
    settings = {"size": SETTINGS["frame_size"], "lengths": (12, 20), "classes": 6, "frame": noisy_frame}
    return write_records(directory, videos, **{**settings, **changes})


def make_config(**changes) -> Config:
    return resolve("authors", "paper", {**SETTINGS, **changes})


def make_run(directory: Path, info: records.DatasetInfo, config: Config) -> RunFolder:
    """A run folder with a `best` checkpoint of epoch 5 and a `last` one of epoch 7, of different weights."""
    folder = RunFolder(directory)
    folder.create_or_match(Run(info.dataset, str(info.directory), info.class_names, config))
    save_checkpoint(folder, info, "best", epoch=5, seed=1)
    save_checkpoint(folder, info, "last", epoch=7, seed=2)
    return folder


def save_checkpoint(folder: RunFolder, info: records.DatasetInfo, name: str, *, epoch: int, seed: int) -> None:
    """Saves networks whose logits, as a mean over the test videos, are zero: no class wins everywhere."""
    run = folder.load()
    keras.utils.set_random_seed(seed)
    ensemble = make_ensemble(run.config, len(run.class_names))
    means = Evaluator(ensemble, info, run.config)("test").logits.mean(axis=1)
    for network, mean in zip(ensemble.networks.values(), means):
        network.get_layer("logits").bias.assign_sub(mean)
    checkpoints = Checkpoints(folder.directory, ensemble)
    checkpoints.save_best(epoch, 50.0) if name == "best" else checkpoints.save_last(epoch)


def run_training(info: records.DatasetInfo, checkpoints: Path, **settings) -> RunFolder:
    """Runs the training script; `settings` go before `TRAINING`. Returns the folder of the run."""
    flag_values = flags.FlagValues()
    train.define_flags(flag_values)
    places = {"records": info.directory, "checkpoints": checkpoints}
    given = [f"--{name}={value}" for name, value in {**places, **TRAINING, **settings}.items()]
    flag_values(["train", *given])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flags, "FLAGS", flag_values)
        train.main()
    return RunFolder(Path(checkpoints) / info.dataset / settings["method"] / settings["run_name"])


def smooth_clips(height: int, width: int, clips: int = 2) -> dict[str, np.ndarray]:
    """Moving waves, (clips, 8, height, width, 3) uint8 for each modality."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    result = {}
    for row, modality in enumerate(MODALITIES):
        result[modality] = np.empty((clips, 8, height, width, 3), np.uint8)
        for n, t, c in np.ndindex(clips, 8, 3):
            wave = np.sin(0.2 * (1 + c) * x + t + n) * np.cos(0.15 * (1 + row) * y - n)
            result[modality][n, t, :, :, c] = 127.5 + 127.5 * wave
    return result
