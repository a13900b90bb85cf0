"""What all methods take and are made of, and the one that is nothing but it: independent training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf


class Outputs(NamedTuple):
    """What M networks say about a batch.

    Attributes:
        logits: (M, B, C) float32.
        features: of each network (B, F) float32, what its logits are computed from; F may differ.
        middle: of each network (B, T, H, W, C) float32, its activations at `Config.middle_layer`; empty for methods
            that do not ask for them.
    """

    logits: tf.Tensor
    features: Sequence[tf.Tensor] = ()
    middle: Sequence[tf.Tensor] = ()


class Step(NamedTuple):
    """What a training step gives beside outputs and labels.

    Attributes:
        seed: (2,) integers, another at each step and replica, for methods that draw; else it may be None.
        teacher: `Outputs` of frozen networks for the same batch, for methods that need a teacher; None without one.
        learned: weights of the method itself, which it trains with the networks, by name.
    """

    seed: tf.Tensor = None
    teacher: Any = None
    learned: Mapping[str, tf.Tensor] = {}


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each network with the labels: logits (M, B, C), labels (B,) → (M, B)."""
    labels = tf.broadcast_to(labels, tf.shape(logits)[:2])
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def winner(losses: tf.Tensor) -> tf.Tensor:
    """The network of the lowest loss, whose loss counts in Eq. 1; the first of equals: (M, B) → (B,) int32."""
    return tf.argmin(losses, axis=0, output_type=tf.int32)


def is_network(chosen: tf.Tensor, losses: tf.Tensor) -> tf.Tensor:
    """Whether each network is the chosen one of each sample: (B,) and any (M, B) → (M, B) bool."""
    return tf.equal(tf.range(tf.shape(losses)[0])[:, None], chosen)


def independent(outputs: Outputs, labels: tf.Tensor, step: Step) -> tf.Tensor:
    """Every network learns from the labels alone, the baseline "Independent" of Tables 1 and 3."""
    return cross_entropy(outputs.logits, labels)
