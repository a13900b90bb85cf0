"""Every method once more, in float64 and one sample at a time, with all that no gradient flows through apart.

A formula takes the logits z (M, C) of one sample, the same logits again as `fixed`, the label, what the method was
given or drew, and its weights; soft targets, winners and assignments come from `fixed`. Moving z alone shows the
gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def softmax(logits):
    return np.exp(log_softmax(logits))


def entropies(z, label):
    return np.array([-log_softmax(row)[label] for row in z])


def independent(z, fixed, label, given):
    return entropies(z, label)


def distilled(z, fixed, label, teacher, *, temperature, label_weight, soft_weight):
    """Eq. 2 and 3 and the authors' form of them."""
    losses = entropies(z, label)
    soft = softmax(fixed[teacher] / temperature)
    for network in range(len(z)):
        if network != teacher:
            distillation = -(soft * log_softmax(z[network] / temperature)).sum()
            losses[network] = label_weight * losses[network] + soft_weight * distillation
    return losses


def dmcl(z, fixed, label, given, **weights):
    return distilled(z, fixed, label, int(np.argmin(entropies(fixed, label))), **weights)


def random_teacher(z, fixed, label, given, **weights):
    return distilled(z, fixed, label, given["teacher"], **weights)


def smcl(z, fixed, label, given):
    winner = int(np.argmin(entropies(fixed, label)))
    return np.where(np.arange(len(z)) == winner, entropies(z, label), 0.0)


def divergence_from_uniform(z):
    """Σ_k u · log(u / p_k), u = 1 / C."""
    share = 1.0 / z.shape[1]
    return np.array([sum(share * np.log(share / p) for p in softmax(row)) for row in z])


def assigned(fixed, label, beta):
    labelled, divergences = entropies(fixed, label), divergence_from_uniform(fixed)
    costs = []
    for network in range(len(fixed)):
        others = [divergences[j] for j in range(len(fixed)) if j != network]
        costs.append(labelled[network] + beta * sum(others))
    return int(np.argmin(costs))


def cmcl(z, fixed, label, given, *, beta):
    chosen = assigned(fixed, label, beta)
    return np.where(np.arange(len(z)) == chosen, entropies(z, label), beta * divergence_from_uniform(z))


def cmcl_stochastic(z, fixed, label, given, *, beta):
    chosen = assigned(fixed, label, beta)
    losses = [
        entropies(z, label)[network] if network == chosen else -beta * log_softmax(z[network])[given["labels"][network]]
        for network in range(len(z))
    ]
    return np.array(losses)


def mutual(z, fixed, label, given):
    losses = entropies(z, label)
    for i in range(len(z)):
        divergences = [
            sum(softmax(fixed[j]) * (log_softmax(fixed[j]) - log_softmax(z[i]))) for j in range(len(z)) if j != i
        ]
        losses[i] += np.mean(divergences)
    return losses


def generalized_distillation(z, fixed, label, given, *, temperature, label_weight, soft_weight):
    soft = softmax(given["teacher_logits"] / temperature)
    distillation = np.array([-(soft * log_softmax(row)).sum() for row in z])
    return label_weight * entropies(z, label) + soft_weight * distillation


FORMULAS: Mapping[str, Callable] = {
    function.__name__: function
    for function in (
        independent,
        dmcl,
        random_teacher,
        mutual,
        smcl,
        cmcl,
        cmcl_stochastic,
        generalized_distillation,
    )
}


def drawn_labels(logits, losses, beta):
    """What `cmcl_stochastic` drew (M, B): the label whose cross-entropy, times β, a network's loss is."""
    candidates = -beta * log_softmax(np.asarray(logits, np.float64))
    distances = np.abs(np.asarray(losses)[..., None] - candidates)
    return distances.argmin(axis=2), distances.min(axis=2)


def by_samples(formula, logits, labels, given, **weights):
    """Losses (M, B) of a batch."""
    logits = np.asarray(logits, np.float64)
    losses = [formula(logits[:, b], logits[:, b], int(labels[b]), given[b], **weights) for b in range(len(labels))]
    return np.stack(losses, axis=1)


def gradient_by_samples(formula, logits, labels, given, step=1e-5, **weights):
    """The gradient (M, B, C) of the sum of all losses, by central differences."""
    logits = np.asarray(logits, np.float64)
    gradient = np.empty_like(logits)
    for m, b, c in np.ndindex(*logits.shape):
        sums = []
        for sign in (1.0, -1.0):
            moved = logits[:, b].copy()
            moved[m, c] += sign * step
            sums.append(formula(moved, logits[:, b], int(labels[b]), given[b], **weights).sum())
        gradient[m, b, c] = (sums[0] - sums[1]) / (2.0 * step)
    return gradient
