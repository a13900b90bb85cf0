"""Weights of the authors' own networks, which are TensorFlow 1 variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

_VARIABLE = re.compile(r"(?:.*/)?(?P<scope>[^/]+)/[^/]+/(?:kernel|bias|gamma|beta|moving_mean|moving_variance)")
_OF_SCOPE = {"rgb": "rgb", "depth": "depth", "oflow": "flow"}  # how the authors' scopes end, by modality
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


def read_tf1_checkpoint(prefix: str, modality: str) -> dict[str, np.ndarray]:
    """The variables of a modality's network in a TF1 checkpoint of the authors' code, by name.

    Args:
        prefix: of the checkpoint's files, `….ckpt-1234`.
        modality: the network is that of the scope `resnet_rgb`, `resnet_depth` or `resnet_oflow`, or the only one, if
            that is named after none of these.

    Raises:
        ValueError: there is no such network; the message lists those that there are.
    """
    reader = tf.train.load_checkpoint(prefix)
    scopes: dict[str, list[str]] = {}
    for name in reader.get_variable_to_shape_map():
        match = _VARIABLE.fullmatch(name)  # what else is there belongs to the optimiser
        if match:
            scopes.setdefault(match["scope"], []).append(name)
    named = {_OF_SCOPE.get(scope.rpartition("_")[2]): scope for scope in scopes}
    fitting = [named[modality]] if modality in named else [scope for key, scope in named.items() if key is None]
    if len(fitting) != 1 or (len(scopes) > 1 and modality not in named):
        there = f"only {', '.join(sorted(scopes))}" if scopes else "nor of anything else that the authors' code saves"
        raise ValueError(f"no network of {modality}, {there}")
    return {name: reader.get_tensor(name) for name in scopes[fitting[0]]}
