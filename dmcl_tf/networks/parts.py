"""The parts of a network: `stem`, `stage1`, `stage2`, …; the layer that ends a part bears its name."""

from __future__ import annotations

import re
from collections.abc import Iterable

import keras

from dmcl_tf.errors import InputError


def parts(network: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """The layers of each part, in the order of the graph; what follows the last part, the head, is in none."""
    found: dict[str, list[keras.layers.Layer]] = {}
    layers: list[keras.layers.Layer] = []
    for layer in network.layers:  # each comes after those that it needs
        layers.append(layer)
        if re.fullmatch(r"stem|stage\d+", layer.name):
            found[layer.name], layers = layers, []
    return found


def freeze(network: keras.Model, names: Iterable[str]) -> None:
    """Freezes parts of a network, or `all` of it: neither weights nor moving statistics change in training.

    Raises:
        InputError: it has no such part.
    """
    there = {**parts(network), "all": network.layers}
    for name in names:
        if name not in there:
            raise InputError(
                f"--freeze={name}: the network of {network.name} has no such part, only {', '.join(there)}"
            )
        for layer in there[name]:
            layer.trainable = False
