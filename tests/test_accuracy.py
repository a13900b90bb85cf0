"""Accuracies from hand-made logits."""

import numpy as np
import pytest

from dmcl_tf.config import reported_accuracies
from dmcl_tf.scoring import accuracy

MODALITIES = ("rgb", "depth", "flow")
CLASSES = ("walk", "sit", "throw", "carry")
LABELS = np.array([0, 1, 2, 0])
# video 0: one confident network outweighs two doubtful ones in logits, but not in probabilities
# video 1: all right;  video 2: only flow right;  video 3: none right
LOGITS = np.array(
    [
        [[9.0, 0.0, 0.0, 0.0], [0.0, 5.0, 0.0, 0.0], [4.0, 0.0, 3.0, 0.0], [0.0, 3.0, 0.0, 0.0]],
        [[0.0, 4.0, 0.0, 0.0], [0.0, 5.0, 0.0, 0.0], [4.0, 0.0, 3.0, 0.0], [0.0, 3.0, 0.0, 0.0]],
        [[0.0, 4.0, 0.0, 0.0], [0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 3.0, 0.0]],
    ],
    np.float32,
)


def test_predictions_of_every_subset():
    predicted = accuracy.predictions(LOGITS, MODALITIES)
    assert {name: classes.tolist() for name, classes in predicted.items()} == {
        "rgb": [0, 1, 0, 1],
        "depth": [1, 1, 0, 1],
        "flow": [1, 1, 2, 2],
        "rgb+depth": [0, 1, 0, 1],
        "rgb+flow": [0, 1, 2, 1],
        "depth+flow": [1, 1, 2, 1],
        "rgb+depth+flow": [0, 1, 2, 1],
        "sum": [0, 1, 2, 1],
        "sum_probabilities": [1, 1, 0, 1],
    }


def test_accuracies_and_oracle():
    result = accuracy.accuracies(LOGITS, LABELS, MODALITIES)
    assert result == {
        "rgb": 50.0,
        "depth": 25.0,
        "flow": 50.0,
        "rgb+depth": 50.0,
        "rgb+flow": 75.0,
        "depth+flow": 50.0,
        "rgb+depth+flow": 75.0,
        "sum": 75.0,
        "sum_probabilities": 25.0,
        "oracle": 75.0,
    }
    assert set(result) == set(reported_accuracies(MODALITIES))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_modalities(count):
    modalities = tuple("abcd"[:count])
    random = np.random.RandomState(count)
    logits, labels = random.normal(size=(count, 50, 5)), random.randint(5, size=50)
    result = accuracy.accuracies(logits, labels, modalities)
    assert set(result) == set(reported_accuracies(modalities))
    assert result["sum"] == result["+".join(modalities)]
    assert result["oracle"] >= max(result[modality] for modality in modalities)
    if count == 1:
        assert len(set(result.values())) == 1


def test_softmax_of_large_logits():
    probabilities = accuracy.softmax(np.array([[1000.0, 1000.0], [-1000.0, 0.0], [np.log(3.0), 0.0]]))
    np.testing.assert_allclose(probabilities, [[0.5, 0.5], [0.0, 1.0], [0.75, 0.25]])


def test_accuracy_per_class():
    predicted = accuracy.predictions(LOGITS, MODALITIES)["flow"]
    assert accuracy.per_class(predicted, LABELS, CLASSES) == {"walk": 0.0, "sit": 100.0, "throw": 100.0, "carry": None}


def test_confusion_counts_every_video_once():
    predicted = accuracy.predictions(LOGITS, MODALITIES)["flow"]
    table = accuracy.confusion(predicted, LABELS, CLASSES)
    assert table.loc["walk"].to_dict() == {"walk": 0, "sit": 1, "throw": 1, "carry": 0}
    assert table.loc["sit", "sit"] == table.loc["throw", "throw"] == 1
    assert table.to_numpy().sum() == len(LABELS)
    assert (table.loc["carry"] == 0).all()
    assert list(table.index) == list(table.columns) == list(CLASSES)
