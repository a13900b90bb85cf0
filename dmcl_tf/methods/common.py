"""What all methods take and are made of, and the one that is nothing but it: independent training."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Outputs(NamedTuple):
    """What M networks say about a batch.

    Attributes:
        logits: (M, B, C) float32.
        features: (M, B, F) float32, what the logits are computed from; None for methods that do not ask for them.
    """

    logits: tf.Tensor
    features: tf.Tensor = None


class Step(NamedTuple):
    """What a training step gives beside outputs and labels.

    Attributes:
        seed: (2,) integers, another at each step and replica, for methods that draw; else it may be None.
        teacher_logits: (B, C) float32 of frozen networks, for methods that need a teacher; None without one.
    """

    seed: tf.Tensor = None
    teacher_logits: tf.Tensor = None


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
