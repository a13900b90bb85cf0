"""Two networks of which one multiplies into the other: the connection of streams of Garcia et al. 2018."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from dmcl_tf.errors import InputError
from dmcl_tf.networks.recompute import block_inputs


class Connected:
    """A network into whose second blocks another multiplies; layers and variables are shared with both.

    The residual of the second block of each stage is computed from x + p · d instead of the output x of the first, to
    which it is added: d is the output of the first block in the other network, p is x before its ReLU
    (resnet_v1_two_stream.py of the authors' code).

    Args:
        receiver: with two residual blocks in each stage.
        giver: of the same kind and width.

    Raises:
        InputError: they are not.
    """

    def __init__(self, receiver: keras.Model, giver: keras.Model):
        sums = {id(layer.output): layer.input for layer in receiver.layers if isinstance(layer, keras.layers.ReLU)}
        additions = [layer for layer in receiver.layers if isinstance(layer, keras.layers.Add)]
        seconds = list(zip(block_inputs(receiver), additions))[1::2]
        given = block_inputs(giver)[1::2]
        kept = all(id(x) in sums and any(term is x for term in addition.input) for x, addition in seconds)
        if not seconds or not kept or [x.shape for x, _ in seconds] != [x.shape for x in given]:
            raise InputError(
                f"--connection: the networks of {receiver.name} and {giver.name} must be of one kind and width, with "
                "two residual blocks in each stage, such as authors"
            )
        starts = [receiver.input, *(addition.output for _, addition in seconds)]
        self._firsts = [keras.Model(start, [sums[id(x)], x]) for start, (x, _) in zip(starts, seconds)]
        self._residuals = [
            keras.Model(x, next(term for term in addition.input if term is not x)) for x, addition in seconds
        ]
        self._rest = keras.Model(starts[-1], receiver.output)
        self._giver = keras.Model(giver.input, [giver.output, given])

    def __call__(self, clips: tf.Tensor, given: tf.Tensor, training: bool = False) -> list[Mapping[str, tf.Tensor]]:
        """Clips of both → the outputs of the receiver and those of the giver."""
        outputs, activations = self._giver(given, training=training)
        x = clips
        for first, residual, activation in zip(self._firsts, self._residuals, activations):
            sums, x = first(x, training=training)
            x = x + residual(x + sums * activation, training=training)
        return [self._rest(x, training=training), outputs]
