"""Weights of the authors' own networks, which are TensorFlow 1 variables."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

_KINDS = {"conv3d": "convolution", "batch_normalization": "normalization", "dense": "logits"}


def load_tf1_variables(network: keras.Model, variables: Mapping[str, np.ndarray]) -> None:
    """Loads the authors' TF1 variables into a network of `variant="authors"`.

    Args:
        network: from `r2plus1d.authors`.
        variables: name → array, such as `resnet_rgb/conv3d_3/kernel`; all but the last two parts of a name are
            ignored, and a trailing `:0`.

    Raises:
        ValueError: where a variable is missing, superfluous, or of another shape; the message names it.
    """
    arrays = {}
    for name, array in variables.items():
        scope, kind = name.split(":")[0].split("/")[-2:]
        base, _, number = scope.rpartition("_") if scope[-1].isdigit() else (scope, "", "0")
        layer = _KINDS.get(base, base)
        arrays[layer if layer == "logits" else f"{layer}_{number}", kind] = (name, array)
    for layer in network.layers:
        for weight in layer.weights:
            key = layer.name, weight.name.split("/")[-1].split(":")[0]
            if key not in arrays:
                raise ValueError(f"no variable for {key[0]}/{key[1]}: the authors' network has one for every layer")
            name, array = arrays.pop(key)
            if tuple(weight.shape) != array.shape:
                raise ValueError(f"{name} has shape {array.shape}, the network's {'/'.join(key)} {tuple(weight.shape)}")
            weight.assign(array)
    if arrays:
        raise ValueError(f"{next(iter(arrays.values()))[0]} has no place in the network: another size or variant?")
