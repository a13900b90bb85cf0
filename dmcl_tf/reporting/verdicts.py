"""When a claim holds: the rule, and the comparisons it is applied to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dmcl_tf.reporting.statistics import Interval, bootstrap_interval, sign_flip_test, t_interval, t_test

HOLDS, DOES_NOT_HOLD, UNDECIDED = "holds", "does not hold", "undecided"
FEWEST_SEEDS = 3
MARGIN = 1.0  # percentage points that would matter
RULE = f"""A claim says that a difference exceeds a threshold, mostly zero. It

- *holds* where the difference does so in every one of at least {FEWEST_SEEDS} seeds, and the 95 % intervals of its mean
  do so too: that over seeds (paired t-test) and that over test videos (bootstrap of the videos, seeds averaged);
- *does not hold* where no seed shows it and the bootstrap excludes an excess of {MARGIN:g} point, or where both
  intervals exclude that;
- is *undecided* otherwise, also with fewer seeds or without what a test needs.

A claim that says several things holds where all of them hold, and does not where one does not. Quantities without test
videos, such as a training loss, are tested over seeds alone; no excess in any seed is then enough for *does not hold*.
With n seeds the exact sign-flip test cannot give a p below 2/2ⁿ; it is shown, and decides nothing."""


@dataclass(frozen=True)
class Comparison:
    """One difference that a claim is about.

    Attributes:
        quantity: in words.
        differences: by seed, in the seeds that both sides have.
        over_seeds: 95 % interval over seeds, None with fewer than two.
        over_videos: 95 % interval over test videos, None where there are none or their predictions are missing.
        p_t: of the paired t-test for a difference of just the threshold.
        p_sign_flip: of the exact permutation test for the same.
        verdict: `HOLDS`, `DOES_NOT_HOLD` or `UNDECIDED`.
        reason: of the verdict.
    """

    quantity: str
    differences: Mapping[object, float]
    over_seeds: Interval | None
    over_videos: Interval | None
    p_t: float | None
    p_sign_flip: float | None
    verdict: str
    reason: str

    @property
    def mean(self) -> float:
        """Of the differences; NaN without any."""
        return float(np.mean(list(self.differences.values()))) if self.differences else np.nan


def compare(
    quantity: str,
    differences: Mapping[object, float],
    per_video: Sequence[pd.Series] | None,
    *,
    threshold: float = 0.0,
    margin: float = MARGIN,
) -> Comparison:
    """Tests whether a difference exceeds a threshold.

    Args:
        quantity: in words.
        differences: by seed.
        per_video: the difference at each test video, its index their names, for each seed; None for a quantity that
            has no test videos; empty where predictions are missing.
        threshold: that the claim sets.
        margin: an excess that would matter.
    """
    values = np.array(list(differences.values()), np.float64)
    over_seeds = t_interval(values) if len(values) >= 2 else None
    over_videos = bootstrap_interval(pd.concat(per_video, axis=1).mean(axis=1).to_numpy()) if per_video else None
    verdict, reason = judge(
        values, over_seeds, over_videos, has_videos=per_video is not None, threshold=threshold, margin=margin
    )
    return Comparison(
        quantity,
        dict(differences),
        over_seeds,
        over_videos,
        t_test(values - threshold) if len(values) >= 2 else None,
        sign_flip_test(values - threshold) if len(values) else None,
        verdict,
        reason,
    )


def judge(
    values: np.ndarray,
    over_seeds: Interval | None,
    over_videos: Interval | None,
    *,
    has_videos: bool,
    threshold: float,
    margin: float,
) -> tuple[str, str]:
    """Applies `RULE`: verdict and reason; arguments as of `compare` and `Comparison`."""
    if len(values) < FEWEST_SEEDS:
        seeds = "1 seed" if len(values) == 1 else f"{len(values)} seeds"
        return UNDECIDED, f"{seeds}, at least {FEWEST_SEEDS} are needed"
    if has_videos and over_videos is None:
        return UNDECIDED, "no bootstrap over videos, as predictions.csv is missing"
    intervals = {"over seeds": over_seeds, **({"over videos": over_videos} if has_videos else {})}
    above = int(np.sum(values > threshold))
    limit = "0" if threshold == 0 else f"{threshold:g}"
    if above == len(values) and all(interval.low > threshold for interval in intervals.values()):
        return HOLDS, f"above {limit} in all {len(values)} seeds, and {_are(intervals)} too"
    if above == 0 and (not has_videos or over_videos.high < threshold + margin):
        return DOES_NOT_HOLD, f"above {limit} in none of {len(values)} seeds"
    if all(interval.high < threshold + margin for interval in intervals.values()):
        return DOES_NOT_HOLD, f"{_are(intervals)} below {threshold + margin:g}"
    includes = [name for name, interval in intervals.items() if interval.low <= threshold <= interval.high]
    open_ = f"; the interval {' and that '.join(includes)} includes {limit}" if includes else ""
    return UNDECIDED, f"above {limit} in {above} of {len(values)} seeds{open_}"


def _are(intervals: Mapping[str, Interval]) -> str:
    return f"the interval {next(iter(intervals))} is" if len(intervals) == 1 else "both intervals are"


def combine(verdicts: Sequence[str]) -> str:
    """The verdict of a claim that says several things: all must hold, and one that does not is enough."""
    if DOES_NOT_HOLD in verdicts:
        return DOES_NOT_HOLD
    return HOLDS if verdicts and set(verdicts) == {HOLDS} else UNDECIDED
