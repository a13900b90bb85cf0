"""What all objectives are made of, and the one that is nothing but it: independent training."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Objective(NamedTuple):
    """What an objective returns.

    Attributes:
        loss: (M, B) float32, the loss of each network on each sample.
        teacher: (B,) int32, the network that taught on each sample, or to which the sample was assigned; where the
            method singles out none, the winner.
    """

    loss: tf.Tensor
    teacher: tf.Tensor


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of each network with the labels: logits (M, B, C), labels (B,) → (M, B)."""
    labels = tf.broadcast_to(labels, tf.shape(logits)[:2])
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)


def winner(losses: tf.Tensor) -> tf.Tensor:
    """Index of the network with the lowest loss (Eq. 1), ties to the lowest index: (M, B) → (B,) int32."""
    return tf.argmin(losses, axis=0, output_type=tf.int32)


def is_network(chosen: tf.Tensor, networks: tf.Tensor) -> tf.Tensor:
    """Whether each of M `networks` is the chosen one of each sample: (B,) → (M, B) bool."""
    return tf.equal(tf.range(networks)[:, None], chosen)


def independent(logits: tf.Tensor, labels: tf.Tensor) -> Objective:
    """Each network learns from the labels alone, the baseline "Independent" of Tables 1 and 3.

    `teacher` is the winner, who teaches nobody.

    Args:
        logits: (M, B, C).
        labels: (B,), integers below C.
    """
    loss = cross_entropy(logits, labels)
    return Objective(loss, winner(loss))
