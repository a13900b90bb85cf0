"""Every table, from runs whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_runs import VIDEOS, right_in, write_run
from test_report_claims import random_features, right, write

from dmcl_tf.datasets import DATASETS
from dmcl_tf.reporting import tables
from dmcl_tf.reporting.loading import load_runs


def by_title(collection, features=None):
    return {table.title.split(":")[0]: table.frame for table in tables.all_tables(collection, features)}


def test_fewer_videos_in_as_many_steps_have_a_row_of_their_own(tmp_path):
    quarter = {"train_fraction": 0.25}
    for rgb, changes in ((48, {}), (30, quarter), (36, {**quarter, "epochs": 4 * 8})):
        write(tmp_path, "dmcl", 0, right(rgb, 30, 30), **changes)
    collection = load_runs(tmp_path)
    fewer = by_title(collection)["Fewer training videos"]
    assert fewer[["Training videos", "RGB"]].to_numpy().tolist() == [
        ["100 %", "80.00"],
        ["25 %", "50.00"],
        ["25 %, as many steps", "60.00"],
    ]
    assert set(fewer["Method"]) == {"DMCL, authors' recipe"}
    assert [group.label for group in collection.groups][2] == "DMCL, authors' recipe, 25 % of the videos, epochs 32"


def test_tables_have_means_deviations_runs_and_the_papers_numbers(tmp_path):
    for seed, rgb in enumerate((47, 48, 49)):
        write(tmp_path, "dmcl", seed, right(rgb, 30, 30))
    write(tmp_path, "independent", 0, right(45, 30, 30))
    write(tmp_path, "dmcl", 0, right(36, 30, 30), train_fraction=0.5)
    found = by_title(load_runs(tmp_path), random_features({"inference": 24, "batch statistics": 11}))
    one = found["Table 1"].set_index("Method")
    dmcl, independent = one.loc["DMCL, authors' recipe"], one.loc["Independent, authors' recipe"]
    assert (dmcl["Runs"], dmcl["RGB"], dmcl["RGB, paper"]) == ("3", "80.00 ± 1.67", "93.64")
    assert (independent["Runs"], independent["RGB"], independent["Φ, paper"]) == ("1", "75.00", "97.86")
    three = found["Table 3"].set_index("Method")
    assert "hallucination" not in " ".join(three.columns).lower()
    assert three.loc["DMCL, authors' recipe", "Depth, paper"] == "83.29"
    two = found["Table 2"]
    assert two.loc[0, ["Modality", "Batch normalisation", "Seeds"]].tolist() == ["RGB", "inference", "5"]
    assert two.loc[0, ["k = 1", "k = 1, paper"]].tolist() == ["10.20 ± 0.16", "10.53"]
    four = found["Table 4"].set_index(["Method", "Testing modalities"])
    assert four.loc[("ADMD", "RGB+"), ["Training modalities", "Paper", "Ours"]].tolist() == ["RGB, Depth", "91.64", "–"]
    ours = four.loc[("DMCL, authors' recipe", "RGB")]
    assert ours.tolist() == ["RGB, Depth, Flow", "93.64", "80.00 ± 1.67", "0, 1, 2"]
    assert four.loc[("Independent, authors' recipe", "RGB"), "Training modalities"] == "RGB"
    fewer = found["Fewer training videos"]
    assert fewer[["Training videos", "RGB"]].to_numpy().tolist() == [["100 %", "80.00 ± 1.67"], ["50 %", "60.00"]]
    assert list(found["Every subset of the modalities"].columns[-4:]) == [
        "rgb+depth",
        "rgb+flow",
        "depth+flow",
        "rgb+depth+flow",
    ]


def test_comparators_stand_beside_the_papers_numbers_for_rgb_alone_and_rgb_plus(tmp_path):
    taught = {"method": "admd", "teacher_run": "somewhere", "freeze": ("rgb:all",)}
    for seed, rgb in enumerate((45, 48)):
        networks = {"rgb": right_in((0, rgb)), "hallucination": right_in((0, 30))}
        write_run(tmp_path / f"admd{seed}", networks, seed=seed, teacher_modalities=("depth",), **taught)
    write_run(tmp_path / "flow", networks, seed=0, teacher_modalities=("flow",), **taught)
    write(tmp_path, "dmcl", 0, right(36, 30, 30), networks=("rgb:authors/8",))
    write(tmp_path, "dmcl", 0, right(39, 30, 30))
    four = by_title(load_runs(tmp_path))["Table 4"].set_index(["Method", "Testing modalities"])
    alone, both = (four.loc[("ADMD, depth → RGB+hallucination, authors' recipe", tested)] for tested in ("RGB", "RGB+"))
    assert alone.tolist() == ["frozen", "–", "77.50 ± 3.54", "0, 1"]  # as it was before
    assert both.tolist() == ["RGB, Depth", "91.64", "50.00 ± 0.00", "0, 1"]  # the second network is surer
    from_flow = four.loc[("ADMD, flow → RGB+hallucination, authors' recipe", "RGB+")]
    assert from_flow.tolist() == ["RGB, Flow", "–", "50.00", "0"]  # theirs learned from depth
    assert four.loc[("Hoffman et al.", "RGB+"), "Ours"] == "–"
    assert ("ADMD", "RGB+") not in four.index  # the row is ours, with the paper's number
    assert four.loc[("DMCL, authors' recipe, networks rgb:authors/8", "RGB"), "Ours"] == "60.00"
    assert four.loc[("DMCL, authors' recipe", "RGB"), "Ours"] == "65.00"


def test_table_5_says_which_networks_its_numbers_are_of(tmp_path):
    """Luo et al. learned from more modalities; Garcia et al. test RGB and the hallucination network together."""
    ntu = {"dataset": "ntu60", "protocol": DATASETS["ntu60"].protocol()}
    taught = {"method": "graph_distillation", "teacher_run": "somewhere", "teacher_modalities": ("depth", "flow")}
    write_run(tmp_path / "graph", {"rgb": right_in((0, 30))}, **taught, **ntu)
    networks = {"rgb": right_in((0, 45)), "hallucination": right_in((0, 30))}
    write_run(tmp_path / "two", networks, method="modality_distillation", learned_from=("depth",), **ntu)
    five = by_title(load_runs(tmp_path))["Table 5"].set_index(["Method", "Testing modalities"])["Paper"]
    assert five["Graph distillation, depth+flow → RGB, authors' recipe", "RGB"] == "–"
    assert five["Luo et al.", "RGB"] == "89.50"
    ours = five["Modality distillation, authors' recipe"]
    assert ours.to_dict() == {"RGB": "–", "Hallucination": "–", "RGB+": "73.11"}
    assert five["ADMD", "RGB+"] == "73.40"


def test_a_network_that_started_from_another_modality_has_no_number_of_the_paper(tmp_path):
    ntu = {"dataset": "ntu60", "protocol": DATASETS["ntu60"].protocol(), "method": "independent"}
    write_run(tmp_path / "afresh", {"depth": right_in((0, 40))}, **ntu)
    start = {"initial_weights": ("depth=checkpoints/ntu60/independent/rgb:rgb",), "learned_from": ("rgb",)}
    write_run(tmp_path / "started", {"depth": right_in((0, 42))}, **start, **ntu)
    three = by_title(load_runs(tmp_path))["Table 3"].set_index("Method")
    label = "Independent, authors' recipe"
    assert three["Depth, paper"].to_dict() == {label: "78.97", f"{label}, from depth=ntu60/independent:rgb": "–"}


def test_how_networks_fit_win_and_agree(tmp_path):
    epochs = np.arange(20)
    won = {
        "rgb_wins": np.where(epochs < 18, 0.9, 0.2),
        "depth_wins": np.where(epochs < 18, 0.0, 0.3),
        "flow_wins": np.where(epochs < 18, 0.1, 0.5),
        "rgb_accuracy": 0.04 * epochs,
    }
    for seed in range(2):
        write(tmp_path, "dmcl", seed, right(30, 42 + 6 * seed, 30), epochs=20, histories=won)
    write(tmp_path, "independent", 0, {"rgb": right_in((0, 30))}, epochs=20)
    found = by_title(load_runs(tmp_path))["Fit and agreement"].set_index("Method")
    row = found.loc["DMCL, authors' recipe"]
    assert row[["RGB fits", "RGB wins", "Depth wins", "Flow wins"]].tolist() == ["76.0", "20.0", "30.0", "50.0"]
    # of 60 videos, RGB and flow agree on all, each of them and depth on 48 (42); both wrong on 30, and 18 (12)
    assert row[["two agree", "both wrong"]].tolist() == ["83.3", "33.3"]
    assert found.loc["Independent, RGB, authors' recipe", ["RGB wins", "two agree", "both wrong"]].tolist() == ["–"] * 3


def test_the_papers_numbers_stand_beside_what_they_are_of(tmp_path):
    write(tmp_path, "dmcl", 0, {"rgb": right_in((0, 30)), "depth": right_in((0, 40))})
    write(tmp_path, "independent", 0, {"depth": right_in((0, 40))})
    write(tmp_path, "independent", 1, right(30, 40, 40))
    four = by_title(load_runs(tmp_path))["Table 4"].set_index(["Method", "Testing modalities"])
    assert four.loc[("DMCL, RGB+depth, authors' recipe", "RGB"), "Paper"] == "–"  # theirs learned with flow
    assert four.loc[("Independent, depth, authors' recipe", "Depth"), "Paper"] == "80.30"
    assert list(four.loc["Independent, depth, authors' recipe"].index) == ["Depth"]  # no Σ of one
    assert four.loc[("Independent, authors' recipe", "RGB, Depth, Flow"), "Paper"] == "93.79"


def test_modalities_of_ones_own_have_columns_too(tmp_path):
    write(tmp_path, "dmcl", 0, {"rgb": right_in((0, 30)), "thermal": right_in((0, 45))})
    write(tmp_path, "independent", 0, {"rgb": right_in((0, 30)), "depth": right_in((0, 36))})
    found = by_title(load_runs(tmp_path))
    every = found["All methods"].set_index("Method")
    assert every.loc["DMCL, RGB+thermal, authors' recipe", ["Depth", "thermal"]].tolist() == ["–", "75.00"]
    assert every.loc["Independent, RGB+depth, authors' recipe", ["Depth", "thermal"]].tolist() == ["60.00", "–"]
    assert {"rgb+depth", "rgb+thermal"} <= set(found["Every subset of the modalities"].columns)


def test_groups_of_test_videos(tmp_path):
    groups = ["view 3" if n < 40 else "view 4" for n in range(VIDEOS)]
    for seed, rgb in enumerate((30, 34)):
        write_run(tmp_path / str(seed), right(rgb, 30, 30), method="dmcl", seed=seed, groups=groups)
    found = by_title(load_runs(tmp_path))["Groups of test videos"]
    assert found[["Test videos", "Runs", "RGB"]].to_numpy().tolist() == [
        ["view 3", "2", "80.00 ± 7.07"],
        ["view 4", "2", "0.00 ± 0.00"],
        ["mean", "2", "40.00 ± 3.54"],
    ]


def test_the_long_form(tmp_path):
    for seed, rgb in enumerate((47, 48, 49)):
        write(tmp_path, "dmcl", seed, right(rgb, 30, 30), recipe="paper")
    table = tables.long_form(load_runs(tmp_path)).set_index("modalities")
    row = table.loc["rgb"]
    assert row[["method", "recipe", "runs", "seeds"]].tolist() == ["dmcl", "paper", 3, "0 1 2"]
    assert row[["mean", "standard_deviation", "paper"]].tolist() == pytest.approx([80, 1 / 0.6, 93.64])
    assert {"sum", "sum_probabilities", "oracle", "rgb+depth+flow"} <= set(table.index)
