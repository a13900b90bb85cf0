"""Two networks of which one multiplies into the other: the connection of streams of Garcia et al. 2018."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import tensorflow as tf

from dmcl_tf.errors import InputError
from dmcl_tf.networks.recompute import block_inputs


class Connected:
    """A network into whose second blocks another multiplies; layers and variables are shared with both.

    The second residual block of each stage is given x + p · d instead of the output x of the first: d is the output of
    that block in the other network, p is x before its ReLU (resnet_v1_two_stream.py of the authors' code).

    Args:
        receiver: with two residual blocks in each stage.
        giver: of the same kind and width.

    Raises:
        InputError: they are not.
    """

    def __init__(self, receiver: keras.Model, giver: keras.Model):
        cuts, given = block_inputs(receiver)[1::2], block_inputs(giver)[1::2]
        if not cuts or [cut.shape for cut in cuts] != [cut.shape for cut in given]:
            raise InputError(
                f"--connection: the networks of {receiver.name} and {giver.name} must be of one kind and width, with "
                "two residual blocks in each stage, such as authors"
            )
        before = {id(layer.output): layer.input for layer in receiver.layers if isinstance(layer, keras.layers.ReLU)}
        starts = [receiver.input, *cuts]
        self._parts = [keras.Model(start, [before[id(end)], end]) for start, end in zip(starts, cuts)]
        self._rest = keras.Model(cuts[-1], receiver.output)
        self._giver = keras.Model(giver.input, [giver.output, given])

    def __call__(self, clips: tf.Tensor, given: tf.Tensor, training: bool = False) -> list[Mapping[str, tf.Tensor]]:
        """Clips of both → the outputs of the receiver and those of the giver."""
        outputs, activations = self._giver(given, training=training)
        x = clips
        for part, activation in zip(self._parts, activations):
            sums, x = part(x, training=training)
            x = x + sums * activation
        return [self._rest(x, training=training), outputs]
