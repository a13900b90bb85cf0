"""A share of the training videos, the same of every class; larger shares hold the smaller ones of the same seed."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from dmcl_tf.data import records


def size(info: records.DatasetInfo, fraction: float) -> int:
    """The number of training videos in a share: of n videos of a class ceil(fraction · n)."""
    return sum(_share(count, fraction) for count in info.counts["train"].values())


def video_ids(info: records.DatasetInfo, fraction: float, seed: int) -> list[str]:
    """The training videos of a share: of each class the first in an order of its names drawn from `seed`.

    Args:
        info: the records, which are read for names and labels.
        fraction: above 0, up to 1.
        seed: 0 or more.

    Raises:
        InputError: a shard is missing or has another size.
        tf.errors.DataLossError: a shard is corrupt.
    """
    by_label: dict[int, list[str]] = {}
    for video in records.read_contexts(info, "train"):
        by_label.setdefault(video.label, []).append(video.video_id)
    chosen = []
    for label, names in sorted(by_label.items()):
        order = np.random.RandomState([seed, label]).permutation(len(names))
        chosen += [sorted(names)[index] for index in order[: _share(len(names), fraction)]]
    return chosen


def _share(count: int, fraction: float) -> int:
    return math.ceil(Fraction(str(fraction)) * count)  # the fraction as it is written: 0.07 · 100 is 7
