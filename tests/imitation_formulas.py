"""The methods that imitate features or activations once more, in float64 and with loops, one sample at a time.

A formula takes what the networks say: `z` (M, B, C), `features` and `middle` of each network; the same again as
`fixed`, through which no gradient flows; the labels; the same of the teachers; the method's own weights by name, and
these again as fixed ones; and the weights of the loss. It returns losses (M, B).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from method_formulas import entropies, log_softmax


class Case(NamedTuple):
    """What networks say about a batch, in float64."""

    z: np.ndarray
    features: list[np.ndarray]
    middle: list[np.ndarray]


def all_entropies(z, labels):
    return np.stack([entropies(z[:, b], int(label)) for b, label in enumerate(labels)], axis=1)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def mars(case, fixed, labels, teacher, learned, fixed_learned, *, feature_weight):
    losses = all_entropies(case.z, labels)
    for m, b in np.ndindex(*losses.shape):
        of_teachers = [((case.features[m][b] - theirs[b]) ** 2).mean() for theirs in teacher.features]
        losses[m, b] += feature_weight * np.mean(of_teachers)
    return losses


def fused_entropy(z, i, j, b, label):
    return -log_softmax((z[i, b] + z[j, b]) / 2.0)[label]


def sigmoid_distances(imitating, imitated):
    """(B,): the mean over elements of the squared difference of sigmoids."""
    return np.array([((sigmoid(a) - sigmoid(d)) ** 2).mean() for a, d in zip(imitating, imitated)])


def hallucination(case, fixed, labels, teacher, learned, fixed_learned, *, middle_weight):
    def five(z):
        own = all_entropies(z, labels)
        pairs = [[fused_entropy(z, 0, j, b, y) for b, y in enumerate(labels)] for j in (1, 2)]
        return own, np.array(pairs)

    own, pairs = five(case.z)
    largest = max(np.mean(row) for rows in five(fixed.z) for row in rows)
    gamma = middle_weight * largest / sigmoid_distances(fixed.middle[2], fixed.middle[1]).mean()
    distance = sigmoid_distances(case.middle[2], fixed.middle[1])
    return np.stack([own[0], own[1] + pairs[0], own[2] + pairs[1] + gamma * distance])


def two_streams(case, fixed, labels, teacher, learned, fixed_learned):
    networks = len(case.z)
    mean = [-log_softmax(case.z[:, b].mean(axis=0))[label] for b, label in enumerate(labels)]
    return np.stack([np.array(mean) / networks] * networks)


def modality_distillation_student(
    case, fixed, labels, teacher, learned, fixed_learned, *, temperature, label_weight, soft_weight, middle_weight
):
    """The authors' sum is over 5 videos of 5 frames of 7×7×2048 activations."""
    losses = all_entropies(case.z, labels)
    for b in range(len(labels)):
        soft = np.exp(log_softmax(teacher.z[0, b] / temperature))
        imitation = -(soft * log_softmax(case.z[-1, b] / temperature)).sum()
        squares = (sigmoid(case.middle[-1][b]) - sigmoid(teacher.middle[0][b])) ** 2
        summed = squares.mean() * 5 * 5 * 7 * 7 * 2048
        losses[-1, b] = label_weight * losses[-1, b] + soft_weight * imitation + middle_weight * summed
    return losses


def discriminate(features, weights):
    """Three layers of a matrix, normalisation over the batch, and a leaky ReLU, in hidden layers twice."""
    x = features
    for layer in ("first", "second", "last"):
        x = x @ weights[f"{layer}_kernel"]
        x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
        x = weights[f"{layer}_gamma"] * x + weights[f"{layer}_beta"]
        for _ in range(1 if layer == "last" else 2):
            x = np.where(x > 0, x, 0.2 * x)
    return x


def admd(case, fixed, labels, teacher, learned, fixed_learned):
    losses = all_entropies(case.z, labels)
    real, fake = discriminate(teacher.features[0], learned), discriminate(fixed.features[-1], learned)
    fooled = discriminate(case.features[-1], fixed_learned)
    for b, label in enumerate(labels):
        discriminator = 0.5 * (-log_softmax(real[b])[label + 1] - log_softmax(fake[b])[0])
        losses[-1, b] = discriminator - log_softmax(fooled[b])[label + 1]
    return losses


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def graph_distillation(case, fixed, labels, teacher, learned, fixed_learned):
    def node(z, h):
        logits = z @ learned["logits_kernel"] + learned["logits_bias"]
        return np.concatenate([logits, h @ learned["features_kernel"] + learned["features_bias"]])

    teachers, batch = len(teacher.z), len(labels)
    prior = 1.0 / teachers
    edges, losses = np.zeros((teachers, batch)), all_entropies(case.z, labels)
    for b in range(batch):
        own = node(case.z[0, b], case.features[0][b])
        scores = np.zeros(teachers)
        for j in range(teachers):
            both = np.concatenate([own, node(teacher.z[j, b], teacher.features[j][b])])
            scores[j] = (both @ learned["edges_kernel"]).item() / 8.0
        edges[:, b] = np.exp(log_softmax(scores))
        for j in range(teachers):
            logits = 10.0 * (1.0 - cosine(case.z[0, b], teacher.z[j, b]))
            features = 1.0 - cosine(case.features[0][b], teacher.features[j][b])
            losses[0, b] += (edges[j, b] + prior) * (logits + features)
    return losses + 10.0 * ((edges.mean(axis=1) - prior) ** 2).sum()


IMITATIONS: Mapping[str, Callable[..., Any]] = {
    "mars": mars,
    "hallucination": hallucination,
    "modality_distillation": two_streams,
    "modality_distillation_teacher": two_streams,
    "modality_distillation_student": modality_distillation_student,
    "admd": admd,
    "graph_distillation": graph_distillation,
}
