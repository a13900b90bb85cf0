"""Tests of a difference between two methods: over seeds, which pair their runs, and over test videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
_DRAWS_AT_ONCE = 2**23  # resampled videos held in memory


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:+.2f} … {self.high:+.2f}"


def t_interval(differences: Sequence[float]) -> Interval:
    """95 % interval of the mean difference over seeds by the paired t-test.

    Args:
        differences: of the two runs of each seed, at least two.

    Raises:
        ValueError: for fewer.
    """
    from scipy import stats

    mean, error, freedom = _mean_and_error(differences)
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    return Interval(mean - reach, mean + reach)


def t_test(differences: Sequence[float]) -> float:
    """Two-sided p of the paired t-test over seeds; arguments and errors as of `t_interval`.

    Differences that are all the same have no variance to compare with: p is 1 where they are zero, else 0.
    """
    from scipy import stats

    mean, error, freedom = _mean_and_error(differences)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, freedom))


def _mean_and_error(differences: Sequence[float]) -> tuple[float, float, int]:
    """Mean, its standard error, and degrees of freedom."""
    values = np.asarray(differences, np.float64)
    if len(values) < 2:
        raise ValueError(f"{len(values)} differences: a t-test needs two")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), len(values) - 1


def sign_flip_test(differences: Sequence[float]) -> float:
    """Two-sided p of the exact permutation test over seeds: the share of all sign flips with a mean as far from zero.

    With n seeds p cannot be below 2/2ⁿ.
    """
    values = np.asarray(differences, np.float64)
    flips = 1 - 2 * ((np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1)
    means = np.abs((flips * values).sum(axis=1))
    return float(np.mean(means >= means[0] * (1 - 1e-12)))


def bootstrap_interval(differences: np.ndarray, seed: int = 0) -> Interval:
    """95 % percentile interval of the mean difference when test videos are drawn again with replacement.

    Args:
        differences: (V,) of each video, averaged over seeds.
        seed: of the draws.
    """
    values = np.asarray(differences, np.float64)
    random = np.random.RandomState(seed)
    rows = max(1, _DRAWS_AT_ONCE // len(values))
    means = []
    for start in range(0, RESAMPLES, rows):
        drawn = random.randint(len(values), size=(min(rows, RESAMPLES - start), len(values)))
        means.append(values[drawn].mean(axis=1))
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return Interval(float(low), float(high))
