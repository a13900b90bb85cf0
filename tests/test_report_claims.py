"""Every claim and every table, from runs whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import right_in, write_run

from dmcl_tf.reporting import claims
from dmcl_tf.reporting.loading import load_runs
from dmcl_tf.reporting.verdicts import DOES_NOT_HOLD, HOLDS, NOT_TESTED, UNDECIDED

EPOCHS = 8


def right(rgb, depth, flow):
    """The first videos are right, as many as said."""
    return {"rgb": right_in((0, rgb)), "depth": right_in((0, depth)), "flow": right_in((0, flow))}


def write(root, method, seed, rights, **changes):
    name = "-".join([method, str(seed), *(f"{k}{v}" for k, v in changes.items() if k != "histories")])
    write_run(root / name, rights, method=method, seed=seed, **changes)


def _tested(claim):
    return claims.tested([claim])[0]


def verdicts(claim):
    return [case.verdict for case in claim.cases]


def test_claim_1_of_three_seeds(tmp_path):
    for seed in range(3):
        write(tmp_path, "independent", seed, right(30, 40, 40))
        write(tmp_path, "dmcl", seed, right(47 + seed, 40, 40))
        write(tmp_path, "dmcl", seed, right(30, 40, 40), recipe="paper")  # ties in every seed
    claim = _tested(claims.better_rgb(load_runs(tmp_path)))
    better, same = claim.cases
    assert better.label == "DMCL, authors' recipe − Independent, authors' recipe"
    assert better.verdict == HOLDS
    (comparison,) = better.comparisons
    assert list(comparison.difference.by_seed.values()) == pytest.approx([17 / 0.6, 18 / 0.6, 19 / 0.6])
    assert comparison.difference.values.mean() == pytest.approx(30)
    assert comparison.over_seeds.low == pytest.approx(30 - 4.302653 / 0.6 / np.sqrt(3))
    assert comparison.over_videos.low == pytest.approx(30 - 1.96 * np.sqrt(0.3 * 0.7 / 60) * 100, abs=2)
    assert same.verdict == DOES_NOT_HOLD
    assert set(same.comparisons[0].difference.by_seed.values()) == {0.0}


def test_claim_1_with_too_few_seeds_or_without_predictions(tmp_path):
    for seed in range(3):
        write(tmp_path / "two", "independent", seed, right(30, 40, 40))
        write(tmp_path / "bare", "independent", seed, right(30, 40, 40))
        write(tmp_path / "bare", "dmcl", seed, right(48, 40, 40))
    for seed in (1, 2, 7):  # two in common
        write(tmp_path / "two", "dmcl", seed, right(48, 40, 40))
    (tmp_path / "bare/dmcl-1/predictions.csv").unlink()
    (case,) = _tested(claims.better_rgb(load_runs(tmp_path / "two"))).cases
    assert case.verdict == UNDECIDED
    assert case.comparisons[0].reason == "2 seeds, at least 3 are needed"
    (case,) = _tested(claims.better_rgb(load_runs(tmp_path / "bare"))).cases
    assert case.verdict == UNDECIDED
    assert "predictions.csv is missing" in case.comparisons[0].reason


def test_claims_without_runs_say_so(tmp_path):
    write(tmp_path, "dmcl", 0, right(30, 40, 40))
    found = claims.all_claims(load_runs(tmp_path), None)
    assert [claim.number for claim in found] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {verdict for claim in found for verdict in verdicts(claim)} == {NOT_TESTED}
    assert found[0].cases[0].note == "there is no finished run of independent on all videos"
    assert "python -m dmcl_tf.random_features" in found[3].cases[0].note


def test_claim_2_collapse(tmp_path):
    won = {"rgb_wins": 0.02, "depth_wins": 0.02, "flow_wins": 0.96}
    early = np.where(np.arange(EPOCHS) < 6, 0.1, 1.0)  # what counts is the end
    for seed in range(3):
        write(tmp_path, "independent", seed, right(50, 50, 50))
        write(tmp_path, "smcl", seed, right(6, 8, 45 if seed else 44), histories={**won, "flow_wins": 0.96 * early})
        # its sum is as good as that of independent training: the loudest network, flow, is
        write(tmp_path, "cmcl", seed, right(6, 50, 50), histories=won)
    smcl, cmcl = _tested(claims.collapse(load_runs(tmp_path))).cases
    assert smcl.label == "Independent, authors' recipe − SMCL, authors' recipe"
    rgb, total, wins = smcl.comparisons
    assert rgb.verdict == HOLDS
    assert rgb.difference.values.mean() == pytest.approx(44 / 0.6)
    assert (wins.difference.quantity, wins.verdict) == ("% of samples won by flow", HOLDS)
    assert list(wins.difference.by_seed.values()) == pytest.approx([96] * 3)
    assert smcl.verdict == total.verdict
    assert [comparison.verdict for comparison in cmcl.comparisons] == [HOLDS, DOES_NOT_HOLD, HOLDS]
    assert cmcl.verdict == DOES_NOT_HOLD


def test_claim_2_asks_for_more_than_a_drop(tmp_path):
    for seed in range(3):
        write(tmp_path, "independent", seed, right(50, 50, 50))
        write(tmp_path, "smcl", seed, right(48, 48, 48))
    (case, _) = _tested(claims.collapse(load_runs(tmp_path))).cases
    rgb, _, wins = case.comparisons
    assert rgb.difference.by_seed[0] == pytest.approx(2 / 0.6)  # above 0, not above 5
    assert (rgb.verdict, rgb.reason) == (UNDECIDED, "above 5 in 0 of 3 seeds; the interval over videos includes 5")
    assert wins.verdict == DOES_NOT_HOLD


def test_claim_3_flow_is_first(tmp_path):
    epochs = np.arange(EPOCHS)
    for seed in range(3):
        histories = {
            "rgb_cross_entropy": 2.0 + 0.01 * seed - 0.1 * epochs,
            "depth_cross_entropy": np.where(epochs < 2, 1.9, 0.1),  # overtakes flow, but later
            "flow_cross_entropy": 1.5,
        }
        write(tmp_path / "yes", "independent", seed, right(30, 40, 40), histories=histories)
        histories["depth_cross_entropy"] = 1.2
        write(tmp_path / "no", "independent", seed, right(30, 40, 40), histories=histories)
    (case,) = _tested(claims.flow_is_first(load_runs(tmp_path / "yes"))).cases
    rgb, depth = case.comparisons
    assert rgb.difference.by_seed == pytest.approx({seed: 0.45 + 0.01 * seed for seed in range(3)})
    assert depth.difference.by_seed == pytest.approx(dict.fromkeys(range(3), 0.4))
    assert (case.verdict, rgb.over_videos) == (HOLDS, None)
    (case,) = _tested(claims.flow_is_first(load_runs(tmp_path / "no"))).cases
    assert [comparison.verdict for comparison in case.comparisons] == [HOLDS, DOES_NOT_HOLD]
    assert case.verdict == DOES_NOT_HOLD
    write(tmp_path / "alone", "independent", 0, {"flow": right_in((0, 30))})
    (case,) = claims.flow_is_first(load_runs(tmp_path / "alone")).cases
    assert (case.verdict, case.note) == (NOT_TESTED, "Independent, authors' recipe has flow alone")


def random_features(flow, spread=0.1):
    rows = [
        (modality, k, seed, mode, accuracy + spread * seed)
        for mode in ("inference", "batch statistics")
        for seed in range(5)
        for modality, accuracy in (("rgb", 10), ("depth", 12), ("flow", flow[mode]))
        for k in (1, 5)
    ]
    table = pd.DataFrame(rows, columns=["modality", "k", "seed", "batch_norm", "accuracy"])
    return table.assign(dataset="nwucla", variant="authors", width=16, crop_size=64)


def test_claim_4_random_features():
    claim = _tested(claims.random_flow_features(random_features({"inference": 24, "batch statistics": 11})))
    labels = {case.label: case for case in claim.cases}
    assert labels["batch normalisation: inference"].verdict == HOLDS
    depth = labels["batch normalisation: batch statistics"].comparisons[0]
    assert depth.difference.quantity == "flow − depth"
    assert depth.difference.by_seed == pytest.approx(dict.fromkeys(range(5), -1))
    assert labels["batch normalisation: batch statistics"].verdict == DOES_NOT_HOLD


def test_claim_5_needs_every_modality(tmp_path):
    for seed in range(3):
        write(tmp_path, "dmcl", seed, right(50, 50, 50))
        write(tmp_path, "random_teacher", seed, right(30, 50, 30))
    (case,) = _tested(claims.better_teacher(load_runs(tmp_path))).cases
    assert [comparison.difference.quantity for comparison in case.comparisons] == ["RGB", "depth", "flow"]
    assert [comparison.verdict for comparison in case.comparisons] == [HOLDS, DOES_NOT_HOLD, HOLDS]
    assert case.verdict == DOES_NOT_HOLD


def test_claim_5_is_not_about_losses(tmp_path):
    for seed in range(3):
        write(tmp_path, "dmcl", seed, right(50, 50, 50), recipe="paper")
        write(tmp_path, "random_teacher", seed, right(30, 30, 30))
    (case,) = claims.better_teacher(load_runs(tmp_path)).cases
    assert case.note == "there is no finished run of random_teacher with the same loss on all videos"
    for seed in range(3):
        write(tmp_path, "random_teacher", seed, right(40, 40, 40), recipe="paper")
    (case,) = _tested(claims.better_teacher(load_runs(tmp_path))).cases
    assert case.label == "DMCL, paper's recipe − Random teacher, paper's recipe"
    assert case.comparisons[0].difference.values.mean() == pytest.approx(10 / 0.6)


def test_claim_6_the_gap(tmp_path):
    for seed in range(3):
        apart = {"rgb": right_in((0, 30)), "depth": right_in((30, 60)), "flow": right_in((0, 20))}
        write(tmp_path, "independent", seed, apart)
        write(tmp_path, "dmcl", seed, right(40, 40, 40))  # Φ = Σ
    collection = load_runs(tmp_path)
    (case,) = _tested(claims.smaller_gap(collection)).cases
    run = collection.find("independent")[0].runs[0]
    assert case.verdict == HOLDS
    assert case.label == "Independent, authors' recipe − DMCL, authors' recipe"  # the order of the difference
    assert case.comparisons[0].difference.values.mean() == pytest.approx(run.accuracy("oracle") - run.accuracy("sum"))


def test_claim_7_the_gain_with_fewer_videos(tmp_path):
    for seed in range(3):
        for fraction, independent, dmcl in ((1.0, 50, 52), (0.5, 40, 42), (0.25, 20, 40)):
            write(tmp_path, "independent", seed, right(independent, 40, 40), train_fraction=fraction)
            write(tmp_path, "dmcl", seed, right(dmcl, 40, 40), train_fraction=fraction)
    quarter, half = _tested(claims.larger_gain(load_runs(tmp_path))).cases
    assert quarter.label.startswith("25 % of the videos against all: DMCL")
    assert quarter.comparisons[0].difference.values.mean() == pytest.approx(18 / 0.6)
    assert (quarter.verdict, half.verdict) == (HOLDS, UNDECIDED)
    assert half.comparisons[0].difference.values.mean() == pytest.approx(0)


def test_claim_8_is_about_every_network_whatever_the_modalities(tmp_path):
    for seed in range(3):
        for method, depth, flow in (("independent", 30, 50), ("dmcl", 45 + seed, 40)):
            write(tmp_path, method, seed, {"depth": right_in((0, depth)), "flow": right_in((0, flow))})
    collection = load_runs(tmp_path)
    (case,) = _tested(claims.stronger_networks(collection)).cases
    assert [comparison.difference.quantity for comparison in case.comparisons] == ["depth", "flow"]
    assert [comparison.verdict for comparison in case.comparisons] == [HOLDS, DOES_NOT_HOLD]
    assert case.verdict == DOES_NOT_HOLD
    assert claims.better_rgb(collection).cases[0].note == "DMCL, authors' recipe has no rgb"


def test_the_comparison_is_with_the_closest_variant(tmp_path):
    for recipe in ("authors", "paper"):
        write(tmp_path, "independent", 0, right(30, 40, 40), recipe=recipe)
        write(tmp_path, "dmcl", 0, right(30, 40, 40), recipe=recipe)
    labels = [case.label for case in _tested(claims.better_rgb(load_runs(tmp_path))).cases]
    assert labels == [
        "DMCL, authors' recipe − Independent, authors' recipe",
        "DMCL, paper's recipe − Independent, paper's recipe",
    ]


def test_networks_of_another_width_are_compared_with_their_like_alone(tmp_path):
    for seed in range(3):
        for method, rgb, small in (("independent", 30, 20), ("dmcl", 40, 35)):
            write(tmp_path, method, seed, right(rgb, 40, 40))
            # the independent one is RGB alone, and selected by itself
            alone = method == "independent"
            rights = {"rgb": right_in((0, small))} if alone else right(small, 40, 40)
            settings = {"networks": ("rgb:authors/8",), **({"select_by": "rgb"} if alone else {})}
            write(tmp_path, method, seed, rights, **settings)
    write(tmp_path, "mutual", 0, right(40, 40, 40))
    collection = load_runs(tmp_path)
    usual, small = _tested(claims.better_rgb(collection)).cases
    assert usual.label == "DMCL, authors' recipe − Independent, authors' recipe"
    assert usual.comparisons[0].difference.values.mean() == pytest.approx(10 / 0.6)
    assert small.label.endswith("− Independent, RGB, authors' recipe, networks rgb:authors/8")
    assert small.comparisons[0].difference.values.mean() == pytest.approx(15 / 0.6)
    # nothing has the whole ensemble's networks or, for claim 3, flow
    assert [case.label for case in claims.stronger_networks(collection).cases] == [usual.label]
    assert [case.label for case in claims.flow_is_first(collection).cases] == ["Independent, authors' recipe"]


def test_methods_are_compared_only_where_they_trained_alike(tmp_path):
    for seed in range(3):
        write(tmp_path, "independent", seed, right(30, 40, 40))
        write(tmp_path, "dmcl", seed, right(48, 40, 40), epochs=10 * EPOCHS, learning_rate=0.5)
    collection = load_runs(tmp_path)
    assert [group.label for group in collection.groups] == [
        "Independent, authors' recipe, learning rate 0.02, epochs 8",
        "DMCL, authors' recipe, learning rate 0.5, epochs 80",
    ]
    (case,) = _tested(claims.better_rgb(collection)).cases
    assert case.verdict == NOT_TESTED
    assert case.note == f"{collection.groups[0].label} differs in learning rate, epochs"


def test_claim_7_without_rgb_or_with_other_networks_is_not_tested(tmp_path):
    for fraction in (1.0, 0.5):
        for method in ("independent", "dmcl"):
            rights = {"depth": right_in((0, 30)), "flow": right_in((0, 40))}
            write(tmp_path / "depth", method, 0, rights, train_fraction=fraction)
        write(tmp_path / "small", "independent", 0, right(30, 40, 40), train_fraction=fraction)
        write(tmp_path / "small", "dmcl", 0, right(30, 40, 40), train_fraction=fraction, networks=("rgb:authors/8",))
    (case,) = claims.larger_gain(load_runs(tmp_path / "depth")).cases
    assert (case.verdict, case.note) == (NOT_TESTED, "DMCL, authors' recipe has no rgb")
    (case,) = claims.larger_gain(load_runs(tmp_path / "small")).cases
    assert case.verdict == NOT_TESTED
    assert case.note.endswith("differs in the network of rgb")
