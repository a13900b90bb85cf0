"""When a claim holds: the rule, and the differences it is applied to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dmcl_tf.reporting.statistics import Interval, bootstrap, sign_flip_test, t_test

HOLDS, DOES_NOT_HOLD, UNDECIDED, NOT_TESTED = "holds", "does not hold", "undecided", "not tested"
FEWEST_SEEDS = 3
MARGIN = 1.0  # percentage points that would matter
RULE = f"""A claim says that a difference exceeds a threshold, which is zero unless it says otherwise.

- It *holds* where the difference exceeds the threshold in every one of at least {FEWEST_SEEDS} seeds, and where the
  95 % intervals of its mean lie above the threshold as well: the interval over seeds (paired t-test) and the interval
  over test videos (bootstrap of the videos, seeds averaged).
- It *does not hold* where no seed shows it and the bootstrap excludes an excess of {MARGIN:g} point, or where both
  intervals exclude such an excess.
- It is *undecided* otherwise, and also with fewer seeds or without the predictions that a test needs.
- It is *not tested* where there are no runs of what it compares, or where they lack a modality that it is about.

A claim that says several things holds where all of them hold, and does not hold where one of them does not. Quantities
without test videos, such as a training loss, are tested over seeds alone; for *does not hold* it is then enough that no
seed shows an excess. With n seeds the sign-flip test cannot give a p below 2/2ⁿ. It is shown, but decides nothing.
Where the difference is the same in all seeds, their interval has no width, and the bootstrap alone decides."""


@dataclass(frozen=True)
class Difference:
    """A difference that a claim says exceeds a threshold.

    Attributes:
        quantity: what differs, in words.
        by_seed: the difference in each seed that both sides have.
        per_video: the difference at each test video, its index their names, for each seed; None for a quantity that
            has no test videos; empty where predictions are missing.
        threshold: what the claim says is exceeded.
        margin: an excess that would matter.
    """

    quantity: str
    by_seed: Mapping[Any, float]
    per_video: Sequence[pd.Series] | None
    threshold: float = 0.0
    margin: float = MARGIN

    @property
    def values(self) -> np.ndarray:
        """(n,) the difference in each seed."""
        return np.array(list(self.by_seed.values()), np.float64)


@dataclass(frozen=True)
class Comparison:
    """A difference and what the tests say of it.

    Attributes:
        difference: what was tested.
        over_seeds: 95 % interval over seeds, None with fewer than two.
        over_videos: 95 % interval over test videos, None where there are none or their predictions are missing.
        p_t: p of the paired t-test for a difference of just the threshold.
        p_sign_flip: p of the permutation test for the same.
        verdict: `HOLDS`, `DOES_NOT_HOLD` or `UNDECIDED`.
        reason: why, in words.
    """

    difference: Difference
    over_seeds: Interval | None
    over_videos: Interval | None
    p_t: float | None
    p_sign_flip: float | None
    verdict: str
    reason: str


def compare(differences: Sequence[Difference]) -> list[Comparison]:
    """Tests whether differences exceed their thresholds; those with test videos must have the same ones."""
    over_videos: dict[int, Interval] = {}
    averaged = {n: pd.concat(d.per_video, axis=1).mean(axis=1) for n, d in enumerate(differences) if d.per_video}
    if averaged:
        over_videos = dict(zip(averaged, bootstrap(pd.concat(averaged, axis=1).to_numpy().T)))
    comparisons = []
    for number, difference in enumerate(differences):
        over_seeds, p_t = t_test(difference.values, difference.threshold)
        p_sign_flip = sign_flip_test(difference.values - difference.threshold)
        judged = judge(difference, over_seeds, over_videos.get(number))
        comparisons.append(Comparison(difference, over_seeds, over_videos.get(number), p_t, p_sign_flip, *judged))
    return comparisons


def judge(difference: Difference, over_seeds: Interval | None, over_videos: Interval | None) -> tuple[str, str]:
    """Applies `RULE`: verdict and reason; arguments as the attributes of `Comparison`."""
    values, threshold = difference.values, difference.threshold
    enough = threshold + difference.margin
    if over_seeds is None or len(values) < FEWEST_SEEDS:
        seeds = "1 seed" if len(values) == 1 else f"{len(values)} seeds"
        return UNDECIDED, f"{seeds}, at least {FEWEST_SEEDS} are needed"
    if difference.per_video is not None and over_videos is None:
        return UNDECIDED, "no bootstrap over videos, as predictions.csv is missing"
    intervals = {"over seeds": over_seeds, **({"over videos": over_videos} if over_videos else {})}
    they_are = "both intervals are" if over_videos else "the interval over seeds is"
    above = int(np.sum(values > threshold))
    if above == len(values) and all(interval.low > threshold for interval in intervals.values()):
        return HOLDS, f"above {threshold:g} in all {len(values)} seeds, and {they_are} too"
    if above == 0 and (over_videos is None or over_videos.high < enough):
        return DOES_NOT_HOLD, f"above {threshold:g} in none of {len(values)} seeds"
    if all(interval.high < enough for interval in intervals.values()):
        return DOES_NOT_HOLD, f"{they_are} below {enough:g}"
    includes = [name for name, interval in intervals.items() if interval.low <= threshold <= interval.high]
    verb = "include" if len(includes) > 1 else "includes"
    open_ = f"; the interval {' and that '.join(includes)} {verb} {threshold:g}" if includes else ""
    return UNDECIDED, f"above {threshold:g} in {above} of {len(values)} seeds{open_}"


def combine(verdicts: Sequence[str]) -> str:
    """The verdict of a claim that says several things: all must hold, and one that does not is enough."""
    if DOES_NOT_HOLD in verdicts:
        return DOES_NOT_HOLD
    return HOLDS if verdicts and set(verdicts) == {HOLDS} else UNDECIDED
