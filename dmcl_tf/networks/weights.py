"""The weights of trained networks in one small file, which either version of Keras reads: kernels in half precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from dmcl_tf.errors import InputError

WEIGHTS = "weights.npz"
_LARGEST = float(np.finfo(np.float16).max)


def write_weights(path: Path, networks: Mapping[str, keras.Model]) -> None:
    """Writes the weights of networks: kernels rounded to 11 significant bits, vectors, of wider range, as they are.

    Args:
        path: of the file, a NumPy archive.
        networks: by modality.

    Raises:
        InputError: a kernel is too large for half precision.
    """
    arrays = {}
    for modality, network in networks.items():
        for layer in network.layers:
            for place, array in enumerate(layer.get_weights()):
                if array.ndim > 1 and not np.abs(array).max() <= _LARGEST:
                    raise InputError(
                        f"--formats=weights: {modality}, {layer.name}: a weight exceeds {_LARGEST:.0f}, the largest "
                        "number of half precision; export another format"
                    )
                arrays[f"{modality}/{layer.name}/{place}"] = array.astype(np.float16) if array.ndim > 1 else array
    np.savez_compressed(path, **arrays)


def read_weights(path: Path, networks: Mapping[str, keras.Model]) -> None:
    """Sets the weights of networks, which may be some of those that were written.

    Raises:
        InputError: the file is not of these networks.
    """
    with np.load(path) as arrays:
        for modality, network in networks.items():
            for layer in network.layers:
                names = [f"{modality}/{layer.name}/{place}" for place in range(len(layer.get_weights()))]
                try:
                    layer.set_weights([arrays[name].astype(np.float32) for name in names])
                except (KeyError, ValueError) as error:
                    reason = " ".join(str(error).split())
                    raise InputError(f"{path}: not the weights of these networks ({reason}); export again") from None
