"""Runs are read, grouped by all but the seed, and refused where they may not stand in one table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import VIDEOS, right_in, write_run

from dmcl_tf.errors import InputError
from dmcl_tf.reporting import claims
from dmcl_tf.reporting.loading import load_runs

RIGHT = {"rgb": right_in((0, 30)), "depth": right_in((20, 50)), "flow": right_in((0, 45))}


def labels(directory):
    return [group.label for group in load_runs(directory).groups]


def test_runs_that_differ_in_the_seed_alone_are_one_group(tmp_path):
    for seed in (2, 0, 1):
        write_run(tmp_path / f"dmcl/{seed}", RIGHT, method="dmcl", seed=seed)
        write_run(tmp_path / f"paper/{seed}", RIGHT, method="dmcl", recipe="paper", seed=seed)
    write_run(tmp_path / "independent/0", RIGHT, method="independent")
    write_run(tmp_path / "half/0", RIGHT, method="dmcl", train_fraction=0.5)
    collection = load_runs(tmp_path)
    assert [(group.label, list(group.runs)) for group in collection.groups] == [
        ("Independent, authors' recipe", [0]),
        ("DMCL, authors' recipe", [0, 1, 2]),
        ("DMCL, authors' recipe, 50 % of the videos", [0]),
        ("DMCL, paper's recipe", [0, 1, 2]),
    ]
    assert [group.config.recipe for group in collection.find("dmcl")] == ["authors", "paper"]
    ((whole, half),) = collection.by_fraction()
    assert (whole.config.train_fraction, half.config.train_fraction) == (1, 0.5)


def test_labels_name_the_settings_that_differ(tmp_path):
    write_run(tmp_path / "a", RIGHT, method="dmcl")
    write_run(tmp_path / "b", RIGHT, method="dmcl", temperature=5.0)
    write_run(tmp_path / "c", {"rgb": RIGHT["rgb"]}, method="independent", temperature=3.0)
    assert labels(tmp_path) == [
        "Independent, RGB, authors' recipe",
        "DMCL, authors' recipe, temperature 2.0",
        "DMCL, authors' recipe, temperature 5.0",
    ]


def test_labels_leave_out_what_most_runs_have(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"a{seed}", RIGHT, method="dmcl", seed=seed)
        write_run(tmp_path / f"b{seed}", RIGHT, method="dmcl", seed=seed, networks=("rgb:authors/8",))
    write_run(tmp_path / "c", RIGHT, method="independent")
    assert labels(tmp_path) == [
        "Independent, authors' recipe",
        "DMCL, authors' recipe",
        "DMCL, authors' recipe, networks rgb:authors/8",
    ]


def test_students_of_a_teacher_are_one_group_whatever_their_teachers_seed(tmp_path):
    for seed in (0, 1):
        write_run(
            tmp_path / str(seed),
            {"rgb": RIGHT["rgb"]},
            method="generalized_distillation",
            teacher_run=f"checkpoints/nwucla/independent/authors-compact-seed{seed}",
            teacher_modalities=("depth",),
            seed=seed,
        )
    assert labels(tmp_path) == ["Generalized distillation, depth → RGB, authors' recipe"]


def test_runs_with_other_starts_are_groups_of_their_own(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"fresh{seed}", RIGHT, method="dmcl", seed=seed)
        start = (f"checkpoints/ntu60/independent/authors-compact-seed{seed}",)
        write_run(tmp_path / f"started{seed}", RIGHT, method="dmcl", seed=seed, initial_weights=start)
    groups = load_runs(tmp_path).groups
    assert [(group.label, list(group.runs)) for group in groups] == [
        ("DMCL, authors' recipe", [0, 1]),
        ("DMCL, authors' recipe, from ntu60/independent", [0, 1]),
    ]
    assert load_runs(tmp_path).by_fraction() == []  # they are no shares of the videos
    for seed in (0, 1, 2):
        write_run(tmp_path / f"alone{seed}", RIGHT, method="independent", seed=seed)
    fresh, started = claims.better_rgb(load_runs(tmp_path)).cases, load_runs(tmp_path / "started0")
    assert [case.label for case in fresh] == ["DMCL, authors' recipe − Independent, authors' recipe"]
    assert len(started.groups) == 1


def test_runs_of_other_preparations_are_not_mixed(tmp_path):
    write_run(tmp_path / "a", RIGHT)
    config = write_run(tmp_path / "b", RIGHT, seed=1).config_path
    text = config.read_text(encoding="utf-8")
    assert '"crop": null' in text
    for path, margin in ((config, "0.1"), (tmp_path / "a/config.json", "0.2")):
        path.write_text(text.replace('"crop": null', f'"crop": {{"margin": {margin}}}'), encoding="utf-8")
    with pytest.raises(InputError, match=r"are of different crops \(margin 0.2, margin 0.1\)"):
        load_runs(tmp_path)
    config.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"are of different crops \(margin 0.2, whole frames\)"):
        load_runs(tmp_path)


@pytest.mark.parametrize(
    ("epochs", "reason"),
    [
        (2, "2 of 8 epochs are trained: train the run to its end and evaluate it again"),
        (8, "results.json is of epoch 2, not of the last: evaluate the run again"),
    ],
)
def test_results_of_an_unfinished_training_do_not_count(tmp_path, epochs, reason):
    """Neither where the training goes on, nor where it has ended since then without an evaluation."""
    write_run(tmp_path / "whole", RIGHT, checkpoint="last")
    folder = write_run(tmp_path / "run", RIGHT, seed=1, checkpoint="last", trained=2)
    folder.write_history(folder.read_history().head(epochs))
    collection = load_runs(tmp_path)
    assert [run.directory.name for run in collection.runs] == ["whole"]
    assert collection.unfinished == {folder.directory: reason}


def test_which_videos_are_right(tmp_path):
    write_run(tmp_path / "run", RIGHT)
    (run,) = load_runs(tmp_path).runs
    assert list(run.correct.index) == [f"video-{n}" for n in range(VIDEOS)]
    for modality, right in RIGHT.items():
        np.testing.assert_array_equal(run.correct[modality], right)
    np.testing.assert_array_equal(run.correct["oracle"], right_in((0, 50)))
    assert 100 * run.correct["sum"].mean() == pytest.approx(run.accuracy("sum"))
    assert run.accuracy("rgb+flow") == run.results.accuracy["rgb+flow"]
    assert np.isnan(run.accuracy("infrared"))
    assert {name: matrix.sum() for name, matrix in run.confusion.items()} == dict.fromkeys((*RIGHT, "sum"), VIDEOS)


def test_runs_without_results_are_kept_apart(tmp_path):
    write_run(tmp_path / "done", RIGHT)
    write_run(tmp_path / "begun", RIGHT, results=False, seed=1)
    stale = write_run(tmp_path / "stale", RIGHT, seed=2).directory / "results.json"
    stale.write_text(stale.read_text().replace('"momentum": 0.9', '"momentum": 0.5'))
    (write_run(tmp_path / "damaged", RIGHT, seed=3).directory / "results.json").write_text("{")
    collection = load_runs(tmp_path)
    assert [run.directory.name for run in collection.runs] == ["done"]
    reasons = {path.name: reason for path, reason in collection.unfinished.items()}
    assert reasons["begun"] == "no results.json; 8 of 8 epochs are trained"
    assert reasons["stale"] == "results.json is of other settings than config.json: evaluate the run again"
    assert "cannot be read" in reasons["damaged"]


def test_files_that_may_be_missing(tmp_path):
    folder = write_run(tmp_path / "run", RIGHT)
    for name in ("predictions.csv", "confusion.csv", "history.csv"):
        (folder.directory / name).unlink()
    (run,) = load_runs(tmp_path).runs
    assert run.correct is None
    assert run.confusion == {}
    assert run.history.empty


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"dataset": "demo"}, "data sets (nwucla, demo)"),
        ({"scale": "full"}, "scales (compact, full)"),
        ({"protocol": {"train_views": [1, 3], "test_view": 2}}, "protocols"),
        ({"right": {m: right[:30] for m, right in RIGHT.items()}}, "numbers of test videos (60, 30)"),
    ],
)
def test_runs_that_may_not_stand_in_one_table(tmp_path, change, what):
    write_run(tmp_path / "first", RIGHT)
    write_run(tmp_path / "other", **{"right": RIGHT, "seed": 1, **change})
    with pytest.raises(InputError) as error:
        load_runs(tmp_path)
    assert f"{tmp_path}/first and {tmp_path}/other are of different {what}" in str(error.value)
    assert "one report holds one" in str(error.value)


def test_a_run_of_another_data_set_without_results_is_refused_too(tmp_path):
    write_run(tmp_path / "first", RIGHT)
    write_run(tmp_path / "other", RIGHT, dataset="demo", results=False)
    with pytest.raises(InputError, match="different data sets"):
        load_runs(tmp_path)


def test_other_test_videos_are_refused(tmp_path):
    write_run(tmp_path / "first", RIGHT)
    path = write_run(tmp_path / "other", RIGHT, seed=1).directory / "predictions.csv"
    table = pd.read_csv(path)
    table.loc[0, "video_id"] = "another"
    table.to_csv(path, index=False)
    with pytest.raises(InputError, match="different test videos"):
        load_runs(tmp_path)


def test_the_same_run_twice_is_refused(tmp_path):
    write_run(tmp_path / "first", RIGHT)
    write_run(tmp_path / "second", RIGHT)
    with pytest.raises(InputError, match=r"first and .*second are the same run"):
        load_runs(tmp_path)


def test_predictions_that_are_not_of_the_results_are_refused(tmp_path):
    path = write_run(tmp_path / "run", RIGHT).directory / "predictions.csv"
    table = pd.read_csv(path)
    table["label"] = (table["label"] + 1) % 3
    table.to_csv(path, index=False)
    with pytest.raises(InputError, match=r"predictions.csv: its accuracies are not those of results.json"):
        load_runs(tmp_path)


def test_an_unknown_method_is_named_with_its_run(tmp_path):
    path = write_run(tmp_path / "run", RIGHT).config_path
    path.write_text(path.read_text().replace('"method": "dmcl"', '"method": "dmlc"'))
    with pytest.raises(InputError, match=r"run/config.json is .*--method=dmlc: expected one of .*; did you mean dmcl"):
        load_runs(tmp_path)


def test_no_run_at_all(tmp_path):
    with pytest.raises(InputError, match="no run with results; expected folders as below checkpoints"):
        load_runs(tmp_path)
    write_run(tmp_path / "begun", RIGHT, results=False)
    with pytest.raises(InputError, match=r"no run with results; .*begun: no results.json"):
        load_runs(tmp_path)
