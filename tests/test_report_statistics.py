"""The tests behind the verdicts, against formulas of their own, and the rule at its borders."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from dmcl_tf.reporting.statistics import Interval, bootstrap, sign_flip_test, t_test
from dmcl_tf.reporting.verdicts import DOES_NOT_HOLD, HOLDS, UNDECIDED, Difference, combine, compare, judge


def test_t_of_three_seeds():
    """With two degrees of freedom Student's distribution has a closed form: P(|T| > t) = 1 - t/√(2 + t²)."""
    for values in ([1.0, 2.0, 3.0], [-4.0, 0.5, -1.5], [0.1, 0.2, 5.0]):
        mean, error = np.mean(values), np.std(values, ddof=1) / np.sqrt(3)
        t = abs((mean - 0.25) / error)
        interval, p = t_test(np.array(values), threshold=0.25)
        assert p == pytest.approx(1 - t / np.sqrt(2 + t**2))
        quantile = 0.95 * np.sqrt(2 / (1 - 0.95**2))  # where that is 0.05
        assert interval == pytest.approx((mean - quantile * error, mean + quantile * error))


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (2.0, 0.0), (1 / 3, 0.0)])
def test_equal_differences_have_an_interval_of_no_width(value, p):
    assert t_test(np.full(3, value)) == (Interval(value, value), p)


def test_one_seed_is_too_few_for_a_t_test():
    assert t_test(np.array([3.0])) == (None, None)


@pytest.mark.parametrize("values", [[1, 2, 3], [1, -1], [3, 1, -1], [5], [0, 0, 0], [0.1, 0.2, 0.3, -0.6, 2]])
def test_sign_flips_are_counted(values):
    sums = [abs(sum(s * v for s, v in zip(signs, values))) for signs in itertools.product((1, -1), repeat=len(values))]
    expected = np.mean([total >= abs(sum(values)) - 1e-12 for total in sums])
    assert sign_flip_test(np.array(values, float)) == pytest.approx(expected)
    assert sign_flip_test(np.array([])) is None


def test_the_bootstrap_of_many_videos_is_the_normal_approximation():
    values = np.repeat([0.0, 1.0], 200)
    one, same, other = bootstrap(np.stack([values, values, 1 - values]))
    reach = 1.96 * 0.5 / np.sqrt(400)
    assert one == pytest.approx((0.5 - reach, 0.5 + reach), abs=0.005)
    assert one == same  # the same videos are drawn
    assert other == pytest.approx((1 - one.high, 1 - one.low))
    assert bootstrap(values[None]) == [one]


@pytest.mark.parametrize("videos", [1, 30])
def test_the_bootstrap_of_equal_videos_has_no_width(videos):
    assert bootstrap(np.full((1, videos), 0.25)) == [Interval(0.25, 0.25)]


WIDE, ABOVE, BELOW, SMALL = Interval(-2, 3), Interval(1, 4), Interval(-4, -1), Interval(-0.5, 0.5)


@pytest.mark.parametrize(
    ("values", "seeds", "videos", "verdict", "reason"),
    [
        ([1, 2, 3], ABOVE, ABOVE, HOLDS, "above 0 in all 3 seeds, and both intervals are too"),
        ([1, 2, 3], WIDE, ABOVE, UNDECIDED, "above 0 in 3 of 3 seeds; the interval over seeds includes 0"),
        ([1, 2, 3], ABOVE, WIDE, UNDECIDED, "above 0 in 3 of 3 seeds; the interval over videos includes 0"),
        ([1, 2, 3], Interval(0, 4), ABOVE, UNDECIDED, "the interval over seeds includes 0"),  # not rounded up
        ([1, 2, 0], ABOVE, ABOVE, UNDECIDED, "above 0 in 2 of 3 seeds"),
        ([1, 2], ABOVE, ABOVE, UNDECIDED, "2 seeds, at least 3 are needed"),
        ([9], None, ABOVE, UNDECIDED, "1 seed, at least 3 are needed"),
        ([], None, None, UNDECIDED, "0 seeds, at least 3 are needed"),
        ([1, 2, 3], ABOVE, None, UNDECIDED, "no bootstrap over videos, as predictions.csv is missing"),
        ([-1, -2, -3], WIDE, BELOW, DOES_NOT_HOLD, "above 0 in none of 3 seeds"),
        ([0, 0, 0], SMALL, SMALL, DOES_NOT_HOLD, "above 0 in none of 3 seeds"),
        ([-1, -2, -3], BELOW, WIDE, UNDECIDED, "above 0 in 0 of 3 seeds; the interval over videos includes 0"),
        ([0.2, -0.1, 0.1], SMALL, SMALL, DOES_NOT_HOLD, "both intervals are below 1"),
        ([0.2, -0.1, 0.1], SMALL, WIDE, UNDECIDED, "above 0 in 2 of 3 seeds"),
    ],
)
def test_the_rule(values, seeds, videos, verdict, reason):
    found, why = judge(Difference("RGB", dict(enumerate(values)), []), seeds, videos)
    assert found == verdict
    assert reason in why


def test_the_rule_for_what_has_no_videos():
    def verdict(values, interval):
        return judge(Difference("wins", dict(enumerate(values)), None, threshold=90.0, margin=0.0), interval, None)

    assert verdict([95, 96, 97], Interval(93, 99)) == (
        HOLDS,
        "above 90 in all 3 seeds, and the interval over seeds is too",
    )
    assert verdict([95, 96, 97], Interval(89, 99))[0] == UNDECIDED
    assert verdict([85, 89, 90], Interval(80, 95))[0] == DOES_NOT_HOLD


def test_a_comparison_averages_seeds_before_it_draws_videos():
    per_video = [
        pd.Series({"a": 100.0, "b": 0.0}),
        pd.Series({"b": 100.0, "a": 0.0}),
        pd.Series({"a": 50.0, "b": 50.0}),
    ]
    (comparison,) = compare([Difference("RGB", {0: 50.0, 1: 50.0, 2: 50.0}, per_video)])
    assert comparison.over_videos == Interval(50, 50)
    assert comparison.verdict == HOLDS


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, UNDECIDED], UNDECIDED),
        ([HOLDS, UNDECIDED, DOES_NOT_HOLD], DOES_NOT_HOLD),
        ([], UNDECIDED),
    ],
)
def test_all_that_a_claim_says_must_hold(verdicts, together):
    assert combine(verdicts) == together
