"""Distillation: networks learn from each other's, or from frozen networks', softened predictions."""

from __future__ import annotations

import tensorflow as tf

from dmcl_tf.methods.common import Objective, cross_entropy, is_network, winner


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
    No gradient flows through the soft targets. `teacher` is the winner.

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


def random_teacher(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    seed: tf.Tensor,
    temperature: float = 2.0,
    loser_ground_truth_weight: float = 1.0,
    distillation_weight: float = 1.0,
    scale_by_temperature_squared: bool = True,
) -> Objective:
    """DMCL with a teacher drawn at random for each sample, the ablation "Random Teacher" of Table 3.

    Everything but the choice of the teacher is `dmcl`. `teacher` is the drawn network.

    Args:
        logits: (M, B, C).
        labels: (B,), integers below C.
        seed: (2,) integers, of the drawn teachers.
        temperature: as of `dmcl`.
        loser_ground_truth_weight: as of `dmcl`.
        distillation_weight: as of `dmcl`.
        scale_by_temperature_squared: as of `dmcl`.
    """
    shape = tf.shape(logits)
    teacher = tf.random.stateless_uniform(shape[1:2], seed, maxval=shape[0], dtype=tf.int32)
    return Objective(
        _distill(
            logits,
            cross_entropy(logits, labels),
            teacher,
            temperature=temperature,
            loser_ground_truth_weight=loser_ground_truth_weight,
            distillation_weight=distillation_weight,
            scale_by_temperature_squared=scale_by_temperature_squared,
        ),
        teacher,
    )


def mutual(logits: tf.Tensor, labels: tf.Tensor) -> Objective:
    """Deep mutual learning: every network learns the label and from all the others.

    Zhang et al., CVPR 2018: the loss of network i is CE(y, z_i) + mean over j ≠ i of KL(p_j ‖ p_i), without a
    temperature and without gradient through p_j; the mean is the paper's, their code sums. Deviation: all networks
    take their step at once, where theirs take turns. `teacher` is the winner, who teaches no more than the others.

    Args:
        logits: (M, B, C).
        labels: (B,), integers below C.
    """
    losses, log_predictions = cross_entropy(logits, labels), tf.nn.log_softmax(logits)
    fixed = tf.stop_gradient(log_predictions)
    # summed over all j: the divergence of a network from itself is zero, and its gradient is
    probabilities = tf.reduce_sum(tf.exp(fixed), axis=0)
    negative_entropy = tf.reduce_sum(tf.exp(fixed) * fixed, axis=(0, 2))
    divergences = negative_entropy - tf.reduce_sum(probabilities * log_predictions, axis=2)
    others = tf.maximum(tf.shape(logits)[0] - 1, 1)
    return Objective(losses + divergences / tf.cast(others, losses.dtype), winner(losses))


def generalized_distillation(
    logits: tf.Tensor,
    labels: tf.Tensor,
    *,
    teacher_logits: tf.Tensor,
    temperature: float = 2.0,
    loser_ground_truth_weight: float = 0.5,
    distillation_weight: float = 0.5,
    scale_by_temperature_squared: bool = True,
) -> Objective:
    """Generalized distillation: students learn the label and from frozen networks that see other modalities.

    Lopez-Paz et al., ICLR 2016. The loss of every network is

        loser_ground_truth_weight · CE(y, z) + distillation_weight · s · CE(softmax(z_teacher / T), z),

    with weights 1 - λ and λ; the student's logits are not divided by T. Their paper has s = 1, their code s = T²,
    which is `scale_by_temperature_squared`; they try λ from 0 to 1 and T from 1 to 50 and recommend none. `teacher`
    is the winner among the students, as the real teacher is none of them.

    Args:
        logits: (M, B, C) of the students; M may be 1.
        labels: (B,), integers below C.
        teacher_logits: (B, C) of the frozen networks.
        temperature: T > 0.
        loser_ground_truth_weight: weight of the label, 1 - λ.
        distillation_weight: weight of the teacher, λ.
        scale_by_temperature_squared: whether T² multiplies the distillation term.
    """
    losses = cross_entropy(logits, labels)
    soft_targets = tf.stop_gradient(tf.nn.softmax(teacher_logits / temperature))
    distillation = tf.nn.softmax_cross_entropy_with_logits(tf.broadcast_to(soft_targets, tf.shape(logits)), logits)
    if scale_by_temperature_squared:
        distillation *= temperature**2
    return Objective(loser_ground_truth_weight * losses + distillation_weight * distillation, winner(losses))


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
    return tf.where(is_network(teacher, tf.shape(logits)[0]), losses, loser)
