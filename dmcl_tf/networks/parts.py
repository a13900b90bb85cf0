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


def freeze(network: keras.Model, names: Iterable[str], middle: str = "") -> None:
    """Freezes parts of a network: neither weights nor moving statistics change in training.

    Args:
        network: to freeze.
        names: of parts; `middle` is all up to the middle layer, `head` what follows the last part, `all` everything.
        middle: the part that ends in the middle layer; "": the last.

    Raises:
        InputError: it has no such part.
    """
    there = parts(network)
    ends = list(there)
    before = ends[: ends.index(middle) + 1] if middle in ends else ends
    named = {layer.name for layers in there.values() for layer in layers}
    there["middle"] = [layer for name in before for layer in there[name]]
    there["head"] = [layer for layer in network.layers if layer.name not in named]
    there["all"] = network.layers
    for name in names:
        if name not in there:
            raise InputError(
                f"--freeze={name}: the network of {network.name} has no such part, only {', '.join(there)}"
            )
        for layer in there[name]:
            layer.trainable = False


def with_middle(network: keras.Model, part: str) -> keras.Model:
    """The same network with a third output, `middle`: the activations that end a part, of the last one for "".

    Raises:
        InputError: it has no such part.
    """
    there = list(parts(network))
    if (part and part not in there) or not there:
        raise InputError(
            f"--middle_layer={part}: the network of {network.name} has no such part, only {', '.join(there) or 'none'}"
        )
    return keras.Model(network.input, {**network.output, "middle": network.get_layer(part or there[-1]).output})
