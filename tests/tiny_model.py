"""An exported model of networks that are built and traced in no time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras

from dmcl_tf.export import read_exported
from dmcl_tf.files import file_checksum, write_json
from dmcl_tf.networks.ensemble import make_networks
from dmcl_tf.networks.weights import WEIGHTS, write_weights

SAMPLES = Path(__file__).parents[1] / "samples"


def write_model(folder: Path) -> Path:
    """Writes a version of a model that takes and says what that of the samples does, but is not trained."""
    exported = read_exported(SAMPLES / "model")
    config = replace(exported.config, variant="testing", value_range="-1..1")
    keras.utils.set_random_seed(1)
    folder.mkdir(parents=True)
    path = folder / WEIGHTS
    write_weights(path, make_networks(config, len(exported.class_names), config.modalities))
    files = {WEIGHTS: (path.stat().st_size, file_checksum(path))}
    write_json(folder / "dmcl_tf.json", replace(exported, config=config, files=files))
    return folder
