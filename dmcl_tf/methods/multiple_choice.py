"""Multiple choice learning: each sample is assigned to one network, and the others do not learn its label."""

from __future__ import annotations

import tensorflow as tf

from dmcl_tf.methods.common import Outputs, Step, cross_entropy, is_network, winner


def smcl(outputs: Outputs, labels: tf.Tensor, step: Step) -> tf.Tensor:
    """Stochastic multiple choice learning: the winner of each sample learns its label, the others learn nothing.

    S. Lee et al., 2016 (arXiv 1606.07839). Losers count in the mean over the batch as zeros, as in the code of CMCL's
    authors (src/model.py, `mcl`): a network's loss is divided by the batch, not by its wins.
    """
    losses = cross_entropy(outputs.logits, labels)
    return tf.where(is_network(winner(losses), losses), losses, tf.zeros_like(losses))


def cmcl(outputs: Outputs, labels: tf.Tensor, step: Step, *, beta: float) -> tf.Tensor:
    """Confident multiple choice learning: the assigned network learns the label, the others the uniform distribution.

    K. Lee et al., 2017, version 0 of their code (src/model.py), with one network per sample. With the divergence of
    the uniform distribution U from a prediction P, KL_m = KL(U ‖ P_m) = -log C - mean_k log p_mk, sample by sample:

        assigned network:  argmin over m of  CE_m + β · Σ_{j≠m} KL_j
        loss:              CE_m for the assigned network,  β · KL_m for the others

    Deviations: probabilities come from a log-softmax, where the authors clip them to [1e-10, 1], so that a loser that
    is surer than that still learns; features are not shared, which differing inputs forbid (DMCL, Sec. 3.2).

    Args:
        beta: β, weight of the divergence.
    """
    losses, divergences = cross_entropy(outputs.logits, labels), divergence_from_uniform(outputs.logits)
    return tf.where(is_network(assign(losses, divergences, beta), losses), losses, beta * divergences)


def cmcl_stochastic(outputs: Outputs, labels: tf.Tensor, step: Step, *, beta: float) -> tf.Tensor:
    """CMCL with stochastic labels: the networks without the sample learn a label drawn at random.

    Version 1 of the code of CMCL's authors: the assignment of `cmcl`, and β · CE of a label drawn uniformly and anew
    for every network and sample as the others' loss, whose gradient is in the mean that of `cmcl`.

    Args:
        beta: β, weight of the others' loss and, in the assignment, of the divergence.
    """
    losses = cross_entropy(outputs.logits, labels)
    assigned = assign(losses, divergence_from_uniform(outputs.logits), beta)
    *shape, classes = tf.unstack(tf.shape(outputs.logits))
    drawn = tf.random.stateless_uniform(shape, step.seed, maxval=classes, dtype=tf.int32)
    others = beta * tf.nn.sparse_softmax_cross_entropy_with_logits(drawn, outputs.logits)
    return tf.where(is_network(assigned, losses), losses, others)


def divergence_from_uniform(logits: tf.Tensor) -> tf.Tensor:
    """KL(U ‖ P) of each network and sample: (M, B, C) → (M, B)."""
    classes = tf.cast(tf.shape(logits)[2], logits.dtype)
    return -tf.math.log(classes) - tf.reduce_mean(tf.nn.log_softmax(logits), axis=2)


def assign(losses: tf.Tensor, divergences: tf.Tensor, beta: float) -> tf.Tensor:
    """The network (B,) to which each sample costs the ensemble least; losses and divergences are (M, B)."""
    return winner(losses + beta * (tf.reduce_sum(divergences, axis=0) - divergences))
