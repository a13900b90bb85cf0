"""The training objectives: from the logits of all networks to one loss per network and sample.

Every objective has the shape of `dmcl`: logits (M, B, C) of M ≥ 2 networks, labels (B,) → `Objective`. The training
loss of a batch is the mean over samples of the sum over networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Objective(NamedTuple):
    """What an objective returns.

    Attributes:
        loss: (M, B) float32, the loss of each network on each sample.
        teacher: (B,) int32, the network that taught on each sample, or the winner where none teaches.
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


def independent(logits: tf.Tensor, labels: tf.Tensor) -> Objective:
    """Each network learns from the labels alone; the baseline "Independent" of Tables 1 and 3.

    Args:
        logits: (M, B, C).
        labels: (B,), integers below C.
    """
    loss = cross_entropy(logits, labels)
    return Objective(loss, winner(loss))


def dmcl(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    temperature: float = 2.0,
    loser_ground_truth_weight: float = 1.0,
    distillation_weight: float = 1.0,
    scale_by_temperature_squared: bool = True,
) -> Objective:
    """Distillation multiple choice learning: the winner of each sample teaches the other networks.

    The winner's loss is its cross-entropy CE(y, z). A loser's is

        loser_ground_truth_weight · CE(y, z) + distillation_weight · s · CE(softmax(z_winner / T), z / T),

    s = T² with `scale_by_temperature_squared`, else 1. The defaults are the authors' code (dmcl.py). The paper's
    Eq. 3 is `loser_ground_truth_weight = 1 - λ`, `distillation_weight = λ`, without the scale; whether the student's
    logits are divided by T is left open by Eq. 3 and settled by line 29 of Algorithm 1 and the code: they are.
    No gradient flows through the soft targets.

    Args:
        logits: (M, B, C).
        labels: (B,), integers below C.
        temperature: T > 0.
        loser_ground_truth_weight: weight of the label in a loser's loss.
        distillation_weight: weight of the teacher in a loser's loss.
        scale_by_temperature_squared: whether T² multiplies the distillation term, which keeps its gradient's size
            independent of T.
    """
    losses = cross_entropy(logits, labels)
    teacher = winner(losses)
    return Objective(
        _distill(
            logits,
            losses,
            teacher,
            temperature=temperature,
            loser_ground_truth_weight=loser_ground_truth_weight,
            distillation_weight=distillation_weight,
            scale_by_temperature_squared=scale_by_temperature_squared,
        ),
        teacher,
    )


def _distill(
    logits,
    losses,
    teacher,
    *,
    temperature,
    loser_ground_truth_weight,
    distillation_weight,
    scale_by_temperature_squared,
):
    """The losses (M, B) of `dmcl` when network `teacher` (B,) teaches."""
    samples = tf.range(tf.shape(teacher)[0])
    soft_targets = tf.gather_nd(tf.nn.softmax(logits / temperature), tf.stack([teacher, samples], axis=1))
    soft_targets = tf.broadcast_to(tf.stop_gradient(soft_targets), tf.shape(logits))
    distillation = tf.nn.softmax_cross_entropy_with_logits(soft_targets, logits / temperature)
    if scale_by_temperature_squared:
        distillation *= temperature**2
    loser = loser_ground_truth_weight * losses + distillation_weight * distillation
    is_teacher = tf.equal(tf.range(tf.shape(logits)[0])[:, None], teacher)
    return tf.where(is_teacher, losses, loser)


OBJECTIVES: dict[str, Callable[..., Objective]] = {"independent": independent, "dmcl": dmcl}
