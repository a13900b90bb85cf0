"""Gradient checkpointing by residual block (Chen et al., 2016): less memory for one more forward pass of some blocks.

Of the first half of a network, training keeps only what enters each residual block. What happens inside is computed
again when the gradient arrives there. Later blocks have so much smaller activations that it would not pay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import keras
import tensorflow as tf

from dmcl_tf.errors import InputError
from dmcl_tf.networks.layers import recomputing


class Recomputed:
    """A network, cut for training into parts that are recomputed and a rest that is not.

    Args:
        network: with residual blocks; layers and variables are shared with it.

    Raises:
        InputError: the network has no residual blocks, or gives activations of the part that is not kept.
    """

    def __init__(self, network: keras.Model):
        inputs = block_inputs(network)
        if not inputs:
            raise InputError("--recompute: the network of this --variant has no residual blocks to recompute")
        cuts = [network.input, *inputs[: (len(inputs) + 1) // 2 + 1]]
        places = {id(layer.output): place for place, layer in enumerate(network.layers)}
        if min(places[id(tensor)] for tensor in tf.nest.flatten(network.output)) <= places[id(cuts[-1])]:
            raise InputError("--recompute: a --middle_layer of the first half is not kept; choose a later one")
        self._parts = [keras.Model(start, end) for start, end in zip(cuts, cuts[1:])]
        self.rest = keras.Model(cuts[-1], network.output)

    def enter(self, clips: tf.Tensor) -> list[tf.Tensor]:
        """The forward pass of the parts in training: what enters each of them and, last, the rest."""
        kept = [clips]
        for part in self._parts:
            kept.append(part(kept[-1], training=True))
        return kept

    def gradients(self, kept: Sequence[tf.Tensor], gradient: tf.Tensor, after: Sequence[tf.Tensor]) -> list[tuple]:
        """The gradients of the variables of all parts.

        Args:
            kept: from `enter`.
            gradient: of what enters the rest.
            after: what is computed first, such as the gradients of another network.

        Returns:
            Pairs of gradient and variable.
        """
        pairs: list[tuple] = []
        for part, entering in zip(self._parts[::-1], kept[-2::-1]):
            # only now, or all would be computed again at once
            with tf.control_dependencies([gradient, *after]):
                entering = tf.identity(entering)
            with tf.GradientTape() as tape, recomputing():
                tape.watch(entering)
                outputs = part(entering, training=True)
            variables = part.trainable_variables
            gradient, *of_variables = tape.gradient(outputs, [entering, *variables], output_gradients=gradient)
            pairs += zip(of_variables, variables)
        return pairs


def block_inputs(network: keras.Model) -> list:
    """The tensors of a network's graph that enter its residual blocks.

    A residual block ends in an addition. It begins at the last tensor before it through which everything passes.
    """
    layers = network.layers[1:]  # each comes after those that it needs; the first is the input
    uses = Counter(id(tensor) for layer in layers for tensor in tf.nest.flatten(layer.input))
    cut, pending, inputs = network.input, {id(network.input)}, []
    for layer in layers:
        if isinstance(layer, keras.layers.Add):
            inputs.append(cut)
        for tensor in tf.nest.flatten(layer.input):
            uses[id(tensor)] -= 1
            if not uses[id(tensor)]:
                pending.discard(id(tensor))
        pending.add(id(layer.output))
        if len(pending) == 1:
            cut = layer.output
    return inputs
