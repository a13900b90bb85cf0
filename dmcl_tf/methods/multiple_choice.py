"""Multiple choice learning: each sample is assigned to one network, and the others do not learn its label."""

from __future__ import annotations

import tensorflow as tf

from dmcl_tf.methods.common import Objective, cross_entropy, is_network, winner


def smcl(logits: tf.Tensor, labels: tf.Tensor) -> Objective:
    """Stochastic multiple choice learning: the winner of each sample learns its label, the others learn nothing.

    S. Lee et al., 2016 (arXiv 1606.07839). Losers count in the mean over the batch as zeros, as in the code of CMCL's
    authors (src/model.py, `mcl`): a network's loss is divided by the batch, not by its wins. `teacher` is the winner,
    who teaches nobody.

    Args:
        logits: (M, B, C).
        labels: (B,), integers below C.
    """
    losses = cross_entropy(logits, labels)
    assigned = winner(losses)
    return Objective(tf.where(is_network(assigned, tf.shape(logits)[0]), losses, tf.zeros_like(losses)), assigned)


def cmcl(logits: tf.Tensor, labels: tf.Tensor, *, beta: float = 0.75) -> Objective:
    """Confident multiple choice learning: the assigned network learns the label, the others the uniform distribution.

    K. Lee et al., 2017, version 0 of their code (src/model.py), with one network per sample. With the divergence of
    the uniform distribution U from a prediction P, KL_m = KL(U ‖ P_m) = -log C - mean_k log p_mk, sample by sample:

        assigned network:  argmin over m of  CE_m + β · Σ_{j≠m} KL_j
        loss:              CE_m for the assigned network,  β · KL_m for the others

    `teacher` is the assigned network, which is not always the one of lowest cross-entropy. Deviations: probabilities
    come from a log-softmax, where the authors clip them to [1e-10, 1], so that a loser that is surer than that still
    learns; features are not shared, which differing inputs forbid (DMCL, Sec. 3.2).

    Args:
        logits: (M, B, C).
        labels: (B,), integers below C.
        beta: β, weight of the divergence.
    """
    losses, divergences = cross_entropy(logits, labels), _divergence_from_uniform(logits)
    assigned = _assigned(losses, divergences, beta)
    return Objective(tf.where(is_network(assigned, tf.shape(logits)[0]), losses, beta * divergences), assigned)


def cmcl_stochastic(logits: tf.Tensor, labels: tf.Tensor, *, seed: tf.Tensor, beta: float = 0.75) -> Objective:
    """CMCL with stochastic labels: the networks without the sample learn a label drawn at random.

    Version 1 of the code of CMCL's authors: the assignment of `cmcl`, and β · CE of a label drawn uniformly and anew
    for every network and sample as the others' loss, whose gradient is in the mean that of `cmcl`. `teacher` is the
    assigned network.

    Args:
        logits: (M, B, C).
        labels: (B,), integers below C.
        seed: (2,) integers, of the drawn labels.
        beta: β, weight of the others' loss and, in the assignment, of the divergence.
    """
    losses = cross_entropy(logits, labels)
    assigned = _assigned(losses, _divergence_from_uniform(logits), beta)
    shape = tf.shape(logits)
    drawn = tf.random.stateless_uniform(shape[:2], seed, maxval=shape[2], dtype=tf.int32)
    others = beta * tf.nn.sparse_softmax_cross_entropy_with_logits(drawn, logits)
    return Objective(tf.where(is_network(assigned, shape[0]), losses, others), assigned)


def _divergence_from_uniform(logits):
    """KL(U ‖ P) of each network and sample, (M, B)."""
    classes = tf.cast(tf.shape(logits)[2], logits.dtype)
    return -tf.math.log(classes) - tf.reduce_mean(tf.nn.log_softmax(logits), axis=2)


def _assigned(losses, divergences, beta):
    """The network (B,) to which each sample costs the ensemble least."""
    return winner(losses + beta * (tf.reduce_sum(divergences, axis=0) - divergences))
