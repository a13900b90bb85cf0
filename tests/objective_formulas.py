"""Every objective once more, in float64 and one sample at a time, with all that no gradient flows through apart.

A formula takes the logits z (M, C) of one sample, the same logits again as `fixed`, the label, and what the objective
was given or drew; soft targets, winners and assignments come from `fixed`. Moving z alone shows the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def softmax(logits):
    return np.exp(log_softmax(logits))


def entropies(z, label):
    return np.array([-log_softmax(row)[label] for row in z])


def independent(z, fixed, label, given):
    return entropies(z, label), int(np.argmin(entropies(fixed, label)))


def distilled(z, fixed, label, teacher, *, temperature=2.0, label_weight=1.0, teacher_weight=1.0, scale=4.0):
    """Eq. 2 and 3 and the authors' form of them."""
    losses = entropies(z, label)
    soft = softmax(fixed[teacher] / temperature)
    for network in range(len(z)):
        if network != teacher:
            distillation = -(soft * log_softmax(z[network] / temperature)).sum()
            losses[network] = label_weight * losses[network] + teacher_weight * scale * distillation
    return losses


def dmcl(z, fixed, label, given, **settings):
    teacher = int(np.argmin(entropies(fixed, label)))
    return distilled(z, fixed, label, teacher, **settings), teacher


def random_teacher(z, fixed, label, given, **settings):
    return distilled(z, fixed, label, given["teacher"], **settings), given["teacher"]


def smcl(z, fixed, label, given):
    winner = int(np.argmin(entropies(fixed, label)))
    return np.where(np.arange(len(z)) == winner, entropies(z, label), 0.0), winner


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


def cmcl(z, fixed, label, given, *, beta=0.75):
    chosen = assigned(fixed, label, beta)
    return np.where(np.arange(len(z)) == chosen, entropies(z, label), beta * divergence_from_uniform(z)), chosen


def cmcl_stochastic(z, fixed, label, given, *, beta=0.75):
    chosen = assigned(fixed, label, beta)
    losses = [
        entropies(z, label)[network] if network == chosen else -beta * log_softmax(z[network])[given["labels"][network]]
        for network in range(len(z))
    ]
    return np.array(losses), chosen


def mutual(z, fixed, label, given):
    losses = entropies(z, label)
    for i in range(len(z)):
        divergences = [
            sum(softmax(fixed[j]) * (log_softmax(fixed[j]) - log_softmax(z[i]))) for j in range(len(z)) if j != i
        ]
        losses[i] += np.mean(divergences)
    return losses, int(np.argmin(entropies(fixed, label)))


def generalized_distillation(z, fixed, label, given, *, temperature=2.0, label_weight=0.5, weight=0.5, scale=4.0):
    soft = softmax(given["teacher_logits"] / temperature)
    distillation = np.array([-(soft * log_softmax(row)).sum() for row in z])
    losses = label_weight * entropies(z, label) + weight * scale * distillation
    return losses, int(np.argmin(entropies(fixed, label)))


def drawn_teachers(logits, result):
    """What `random_teacher` drew, one dict per sample."""
    return [{"teacher": int(teacher)} for teacher in result.teacher]


def drawn_labels(logits, result, beta=0.75):
    """What `cmcl_stochastic` drew: the label whose cross-entropy a network's loss is; each must be one."""
    distances = np.abs(np.asarray(result.loss)[..., None] / beta + log_softmax(np.asarray(logits, np.float64)))
    labels = distances.argmin(axis=2)
    chosen = np.arange(len(labels))[:, None] == np.asarray(result.teacher)
    assert (distances.min(axis=2)[~chosen] < 1e-4).all()
    return [{"labels": column} for column in labels.T]


class Case(NamedTuple):
    """How an objective is tested.

    Attributes:
        formula: of one sample.
        drawn: what the objective drew, from its logits and result, one dict per sample; None: nothing.
        chooses: whether `teacher` depends on the losses.
    """

    formula: Callable
    drawn: Callable | None = None
    chooses: bool = True


CASES: Mapping[str, Case] = {
    "independent": Case(independent),
    "dmcl": Case(dmcl),
    "smcl": Case(smcl),
    "cmcl": Case(cmcl),
    "cmcl_stochastic": Case(cmcl_stochastic, drawn=drawn_labels),
    "random_teacher": Case(random_teacher, drawn=drawn_teachers, chooses=False),
    "mutual": Case(mutual),
    "generalized_distillation": Case(generalized_distillation),
}


def by_samples(case, logits, labels, given, **settings):
    """Losses (M, B) and teachers (B,) of a batch."""
    logits = np.asarray(logits, np.float64)
    results = [
        case.formula(logits[:, b], logits[:, b], int(labels[b]), given[b], **settings) for b in range(len(given))
    ]
    return np.stack([losses for losses, _ in results], axis=1), np.array([teacher for _, teacher in results])


def gradient_by_samples(case, logits, labels, given, step=1e-5):
    """The gradient (M, B, C) of the sum of all losses, by central differences."""
    logits = np.asarray(logits, np.float64)
    gradient = np.empty_like(logits)
    for m, b, c in np.ndindex(*logits.shape):
        sums = []
        for sign in (1.0, -1.0):
            moved = logits[:, b].copy()
            moved[m, c] += sign * step
            sums.append(case.formula(moved, logits[:, b], int(labels[b]), given[b])[0].sum())
        gradient[m, b, c] = (sums[0] - sums[1]) / (2.0 * step)
    return gradient
