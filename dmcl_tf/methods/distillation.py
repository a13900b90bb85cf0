"""Distillation: networks learn from each other's, or from frozen networks', softened predictions."""

from __future__ import annotations

import tensorflow as tf

from dmcl_tf.methods.common import Outputs, Step, cross_entropy, is_network, winner


def dmcl(
    outputs: Outputs,
    labels: tf.Tensor,
    step: Step,
    *,
    temperature: float,
    label_weight: float,
    soft_weight: float,
) -> tf.Tensor:
    """Distillation multiple choice learning: the winner of each sample teaches the other networks.

    The winner's loss is its cross-entropy with the label, CE(y, z). A loser's is

        label_weight · CE(y, z) + soft_weight · CE(softmax(z_winner / T), z / T).

    The authors' code (dmcl.py) has weights of 1 and T², the paper's Eq. 3 has 1 - λ and λ. Whether the loser's own
    logits are divided by T is left open by Eq. 3 and settled by line 29 of Algorithm 1 and the code: they are. No
    gradient flows through the soft targets.

    Args:
        temperature: T > 0.
        label_weight: of the label in a loser's loss.
        soft_weight: of the winner's soft targets in a loser's loss.
    """
    losses = cross_entropy(outputs.logits, labels)
    teacher = winner(losses)  # Eq. 1: the network whose loss is the lowest
    return _taught(outputs.logits, losses, teacher, temperature, label_weight, soft_weight)


def random_teacher(
    outputs: Outputs,
    labels: tf.Tensor,
    step: Step,
    *,
    temperature: float,
    label_weight: float,
    soft_weight: float,
) -> tf.Tensor:
    """DMCL with a teacher drawn from `step.seed` for each sample, the ablation "Random Teacher" of Table 3."""
    losses = cross_entropy(outputs.logits, labels)
    teacher = draw_teachers(step.seed, losses)
    return _taught(outputs.logits, losses, teacher, temperature, label_weight, soft_weight)


def draw_teachers(seed: tf.Tensor, losses: tf.Tensor) -> tf.Tensor:
    """One of M networks for each sample, uniformly: seed (2,) and any (M, B) → (B,) int32."""
    networks, batch = tf.unstack(tf.shape(losses))
    return tf.random.stateless_uniform([batch], seed, maxval=networks, dtype=tf.int32)


def _taught(logits, losses, teacher, temperature, label_weight, soft_weight):
    """The losses (M, B) of networks whose losses with the label are `losses` when network `teacher` (B,) teaches."""
    samples = tf.range(tf.shape(teacher)[0])
    teacher_logits = tf.gather_nd(logits, tf.stack([teacher, samples], axis=1))
    soft_targets = tf.nn.softmax(teacher_logits / temperature)  # Eq. 2
    student = label_weight * losses + soft_weight * soft_cross_entropy(soft_targets, logits / temperature)  # Eq. 3
    return tf.where(is_network(teacher, losses), losses, student)


def soft_cross_entropy(soft_targets, logits):
    """Cross-entropy of soft targets (B, C) with logits (M, B, C), (M, B); without gradient through the targets."""
    soft_targets = tf.broadcast_to(tf.stop_gradient(soft_targets), tf.shape(logits))
    return tf.nn.softmax_cross_entropy_with_logits(soft_targets, logits)


def generalized_distillation(
    outputs: Outputs,
    labels: tf.Tensor,
    step: Step,
    *,
    temperature: float,
    label_weight: float,
    soft_weight: float,
) -> tf.Tensor:
    """Generalized distillation: students learn the label and from frozen networks that see other modalities.

    Lopez-Paz et al., ICLR 2016; Eq. 3 of the DMCL paper. The loss of every network is

        label_weight · CE(y, z) + soft_weight · CE(softmax(z_teacher / T), z),

    with weights 1 - λ and λ, and z_teacher the mean of the teachers' logits; the student's logits are not divided by T.
    Their code multiplies λ by T², their paper does not; they try λ from 0 to 1 and T from 1 to 50 and recommend none.

    Args:
        temperature: T > 0.
        label_weight: of the label.
        soft_weight: of the teacher's soft targets.
    """
    losses = cross_entropy(outputs.logits, labels)
    teacher_logits = tf.reduce_mean(step.teacher.logits, axis=0)
    soft_targets = tf.nn.softmax(teacher_logits / temperature)  # Eq. 2
    return label_weight * losses + soft_weight * soft_cross_entropy(soft_targets, outputs.logits)  # Eq. 3


def mutual(outputs: Outputs, labels: tf.Tensor, step: Step) -> tf.Tensor:
    """Deep mutual learning: every network learns the label and from all the others.

    Zhang et al., CVPR 2018: the loss of network i is CE(y, z_i) + mean over j ≠ i of KL(p_j ‖ p_i), without a
    temperature and without gradient through p_j; the mean is the paper's, their code sums. Deviation: all networks take
    their step at once, where theirs take turns.
    """
    losses, log_predictions = cross_entropy(outputs.logits, labels), tf.nn.log_softmax(outputs.logits)
    fixed = tf.stop_gradient(log_predictions)
    # summed over all j: the divergence of a network from itself is zero, and its gradient is
    probabilities = tf.reduce_sum(tf.exp(fixed), axis=0)
    negative_entropy = tf.reduce_sum(tf.exp(fixed) * fixed, axis=(0, 2))
    divergences = negative_entropy - tf.reduce_sum(probabilities * log_predictions, axis=2)
    others = tf.maximum(tf.shape(losses)[0] - 1, 1)
    return losses + divergences / tf.cast(others, losses.dtype)
