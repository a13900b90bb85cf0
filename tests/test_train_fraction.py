"""Shares of the training videos: balanced, one within the other, drawn from the seed and nothing else."""

import collections

import pytest

from dmcl_tf.data.table import Video
from dmcl_tf.datasets.splits import Splits, draw_fraction

CLASSES = 3
NAMES = tuple(f"class {label}" for label in range(CLASSES))


def make_splits(*counts):
    """Training videos, so many of each class."""
    train = [
        Video(f"train-{label}-{k}", NAMES[label], 9, 9, 1, "", "")
        for label, count in enumerate(counts)
        for k in range(count)
    ]
    return Splits(tuple(sorted(train, key=lambda video: video.video_id)), (), (), NAMES)


def names(splits, fraction, seed=0):
    return [video.video_id for video in draw_fraction(splits, fraction, seed)]


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.001, [1, 1, 1]), (0.125, [1, 1, 1]), (0.25, [2, 2, 2]), (0.5, [4, 4, 4]), (0.75, [6, 6, 6]), (1.0, [8, 8, 7])],
)
def test_shares_are_balanced(fraction, expected):
    chosen = draw_fraction(make_splits(8, 8, 7), fraction, seed=0)
    counts = collections.Counter(video.label for video in chosen)
    assert [counts[name] for name in NAMES] == expected
    ids = [video.video_id for video in chosen]
    assert ids == sorted(set(ids))


def test_a_share_is_what_is_written_and_not_its_binary_neighbour():
    """0.07 · 100 is 7.000000000000001 in floating point, and 0.55 · 100 is 55.00000000000001."""
    splits = make_splits(100, 1000, 10)
    assert len(names(splits, 0.07)) == 7 + 70 + 1
    assert len(names(splits, 0.55)) == 55 + 550 + 6


def test_shares_depend_on_the_seed_and_on_nothing_else():
    splits = make_splits(8, 8, 7)
    assert names(splits, 0.5, seed=0) == names(splits, 0.5, seed=0) != names(splits, 0.5, seed=1)
    # of a class they do not depend on the others
    assert [name for name in names(make_splits(8, 2, 2), 0.5) if name.startswith("train-0")] == [
        name for name in names(splits, 0.5) if name.startswith("train-0")
    ]


def test_a_class_without_videos_stays_without():
    assert names(make_splits(1, 0, 1), 0.5) == ["train-0-0", "train-2-0"]
