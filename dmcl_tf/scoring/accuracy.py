"""Accuracies of an ensemble from the clip-averaged logits of its networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dmcl_tf.config import subset_names


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def predictions(logits: np.ndarray, modalities: Sequence[str]) -> dict[str, np.ndarray]:
    """The predicted class of every video by every subset of modalities.

    Args:
        logits: (M, V, C), averaged over the clips of each video.
        modalities: M names.

    Returns:
        (V,) labels by subset name, such as `rgb+depth`: argmax of the summed logits, as in the authors' code; and
        under `sum` (all modalities) and `sum_probabilities` (argmax of summed softmax, as in CMCL's code).
    """
    logits = np.asarray(logits, np.float64)  # sums that do not depend on the machine, so that they can be checked
    rows = {modality: row for row, modality in enumerate(modalities)}
    predicted = {
        name: logits[[rows[modality] for modality in subset]].sum(axis=0).argmax(axis=1)
        for name, subset in subset_names(tuple(modalities)).items()
    }
    predicted["sum"] = logits.sum(axis=0).argmax(axis=1)
    predicted["sum_probabilities"] = softmax(logits).sum(axis=0).argmax(axis=1)
    return predicted


def accuracies(logits: np.ndarray, labels: np.ndarray, modalities: Sequence[str]) -> dict[str, float]:
    """Accuracy in percent under every name of `predictions`, and `oracle` (Φ): any single network is right.

    Args:
        logits: (M, V, C), averaged over the clips of each video.
        labels: (V,).
        modalities: M names.
    """
    predicted = predictions(logits, modalities)
    result = {name: 100.0 * float(np.mean(classes == labels)) for name, classes in predicted.items()}
    any_right = np.any([predicted[modality] == labels for modality in modalities], axis=0)
    return {**result, "oracle": 100.0 * float(np.mean(any_right))}


def per_class(predicted: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, float | None]:
    """Accuracy in percent of one prediction by class; None for a class without videos."""
    return {
        name: 100.0 * float(np.mean(predicted[labels == label] == label)) if np.any(labels == label) else None
        for label, name in enumerate(class_names)
    }


def confusion(predicted: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> pd.DataFrame:
    """Videos by true class (rows) and predicted class (columns), both in the order of `class_names`."""
    every = range(len(class_names))
    table = pd.crosstab(labels, predicted).reindex(index=every, columns=every, fill_value=0)
    return table.set_axis(class_names, axis=0).set_axis(class_names, axis=1)
