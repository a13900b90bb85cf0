"""Tests of a difference between two methods, by SciPy: over seeds, which pair their runs, and over test videos."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEVEL = 0.95
RESAMPLES = 10_000
_DRAWN_AT_ONCE = 2**17  # videos; so many stay in the processor's cache


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:+.2f} … {self.high:+.2f}"


def t_test(values: np.ndarray, threshold: float = 0.0) -> tuple[Interval, float] | tuple[None, None]:
    """The paired t-test over seeds: 95 % interval of the mean of (n,) values, and two-sided p that it is the threshold.

    Values that are all the same have no variance to compare with: the interval has no width, and p is 1 or 0. Fewer
    than two have neither interval nor p.
    """
    from scipy import stats  # takes half a second to load

    if len(values) < 2:
        return None, None
    if np.ptp(values) < 1e-9:
        return Interval(values[0], values[0]), float(abs(values[0] - threshold) < 1e-9)
    result = stats.ttest_1samp(values, threshold)
    return Interval(*result.confidence_interval(LEVEL)), float(result.pvalue)


def sign_flip_test(values: np.ndarray) -> float | None:
    """Two-sided p of the permutation test over seeds: the share of all sign flips of (n,) values as far from zero.

    It is exact for up to 13 seeds, and cannot be below 2/2ⁿ. None without values.
    """
    from scipy import stats

    if len(values) < 2:  # SciPy asks for two; the mean of one is as far from zero with either sign
        return 1.0 if len(values) else None
    drawn = {"n_resamples": RESAMPLES, "random_state": np.random.RandomState(0)}
    return float(stats.permutation_test((values,), np.mean, permutation_type="samples", **drawn).pvalue)


def bootstrap(values: np.ndarray) -> list[Interval]:
    """95 % percentile intervals of means when test videos are drawn again with replacement, the same for every row.

    Args:
        values: (N, V) N differences at each of V videos, averaged over seeds.
    """
    from scipy import stats

    if values.shape[1] < 2:  # SciPy asks for two
        return [Interval(mean, mean) for mean in values.mean(axis=1)]
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _DRAWN_AT_ONCE // values.size),
        axis=1,
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.RandomState(0),
    )
    return [Interval(low, high) for low, high in zip(*result.confidence_interval)]
