"""The runner of a matrix: real tiny runs that are stopped and continued, slim copies, failures."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from synthetic_runs import right_in, write_run
from tiny import write_records
from tiny_run import noisy_frame

from dmcl_tf.errors import InputError
from dmcl_tf.runs.folder import RunFolder
from workflow import experiments, matrix
from workflow.states import SLIM_FILES

ROOT = Path(__file__).resolve().parents[1]
NAME = "authors-compact-seed0"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with records of a tiny NW-UCLA."""
    root = tmp_path_factory.mktemp("experiments")
    info = write_records(
        root / "data/nwucla/records/40",
        {"train": 2, "test": 4},
        modalities=("rgb",),
        classes=2,
        size=40,
        lengths=(9,),
        frame=noisy_frame,
    )
    dataclasses.replace(info, dataset="nwucla").save(info.directory)
    return root


def arguments(root, *more):
    settings = ["--frame_size=40", "--crop_size=32", "--width=2", "--batch_size=2", "--epochs=2", "--modalities=rgb"]
    settings += ["--warmup_epochs=0", "--train_fractions=1", "--methods=independent"]
    settings += ["--checkpoint=last"]  # without validation, which takes time, there is no best one
    folders = [f"--checkpoints={root}/checkpoints", f"--results={root}/results"]
    return [*settings, *folders, "--seeds=0,1", *more]


def folder(root, seed):
    (path,) = (root / "checkpoints/nwucla/independent").glob(f"*seed{seed}*")
    return RunFolder(path)


def states(root, *more):
    values, selection, given = experiments.parse(arguments(root, *more))
    runs = matrix.make_matrix(values.dataset, selection, given)
    return [state.text for state in experiments.find_states(runs, root / "results/runs")]


def stop_after_the_first_epoch(root):
    """Starts the command and stops it when an epoch is complete; returns its exit status and what it said."""
    command = [sys.executable, "-m", "workflow.experiments", *arguments(root)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 240
    while not list(root.glob("checkpoints/nwucla/*/*/last/checkpoint")) and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def done(root):
    """Two runs that were stopped in the first and continued: what both commands said, and what was there between."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ROOT", str(root / "data"))
        before = states(root)
        stopped = stop_after_the_first_epoch(root)
        between = states(root)
        command = [sys.executable, "-m", "workflow.experiments", *arguments(root)]
        continued = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        yield before, stopped, between, continued


def test_it_can_be_stopped_and_leaves_nothing_running(done, root):
    before, (status, _, errors), between, _ = done
    assert before == ["to do", "to do"]
    assert status == 130
    assert errors.splitlines()[-1] == "stopped: the same command continues"
    assert "run 1 of 2, independent seed 0" in errors
    assert f"for a report on what is there: python -m dmcl_tf.report --runs={root}/results/runs" in errors
    assert between[0] in ("1 of 2 epochs", "to evaluate")
    assert between[1] == "to do"
    assert str(root) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_the_same_command_continues_and_ends_with_the_report(done, root):
    *_, continued = done
    assert continued.returncode == 0, continued.stderr
    assert "2 of 2 runs complete: 100%" in continued.stderr
    for seed in (0, 1):
        assert pd.read_csv(folder(root, seed).history_path)["epoch"].tolist() == [0, 1]
        assert f"run: {folder(root, seed).directory}" in continued.stdout
    assert states(root) == ["complete", "complete"]
    assert (root / "results/index.html").exists()


def test_finished_runs_are_copied_without_their_weights(done, root):
    for seed in (0, 1):
        run = folder(root, seed).directory
        copy = root / "results/runs/independent" / run.name
        assert sorted(path.name for path in copy.iterdir()) == sorted(SLIM_FILES)
        for name in SLIM_FILES:
            assert (copy / name).read_bytes() == (run / name).read_bytes()


def test_results_of_other_weights_do_not_count(done, root):
    path = folder(root, 1).directory / "results.json"
    text = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(text), "weights": "00000000"}))
        assert states(root) == ["complete", "to evaluate"]
        (folder(root, 1).directory / "predictions.csv").rename(root / "aside")
        path.write_text(text)
        assert states(root) == ["complete", "to evaluate"]
    finally:
        path.write_text(text)
        (root / "aside").rename(folder(root, 1).directory / "predictions.csv")
    assert states(root) == ["complete", "complete"]


def test_a_copy_of_the_same_configuration_counts_where_the_run_is_gone(done, root, monkeypatch, capsys):
    away = root / "away"
    (root / "checkpoints").rename(away)
    ran = []
    monkeypatch.setattr(experiments, "run_command", lambda command: ran.append(command))
    try:
        assert states(root) == ["complete (copy)"] * 2
        assert experiments.main(arguments(root)) == 0
        assert [command[2] for command in ran] == ["dmcl_tf.report"]
        assert states(root, "--checkpoint=best") == ["to do"] * 2
        copy = next((root / "results/runs/independent").glob("*seed1*"))
        record = json.loads((copy / "config.json").read_text())
        text = (copy / "config.json").read_text()
        (copy / "config.json").write_text(json.dumps({**record, "config": {**record["config"], "momentum": 0.8}}))
        assert states(root) == ["complete (copy)", "to do"]
        (copy / "config.json").write_text(text)
        (copy / "confusion.csv").rename(root / "aside")
        assert states(root) == ["complete (copy)", "to do"]
        (root / "aside").rename(copy / "confusion.csv")
    finally:
        shutil.rmtree(root / "checkpoints", ignore_errors=True)
        away.rename(root / "checkpoints")


def test_a_missing_copy_is_made_again(done, root, monkeypatch):
    copy = next((root / "results/runs/independent").glob("*seed0*"))
    shutil.rmtree(copy)
    monkeypatch.setattr(experiments, "run_command", lambda command: None)
    assert experiments.main(arguments(root)) == 0
    assert sorted(path.name for path in copy.iterdir()) == sorted(SLIM_FILES)


def test_a_dry_run_shows_states_and_commands_and_runs_nothing(done, root, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "run_command", None)
    assert experiments.main(arguments(root, "--seeds=0,7", "--dry_run")) == 0
    output = capsys.readouterr().out
    first, second = (line.split() for line in output.splitlines()[1:3])
    assert first[1:5] == ["independent", "seed", "0", "complete"]
    assert second[1:6] == ["independent", "seed", "7", "to", "do"]
    assert output.count("-m dmcl_tf.train") == output.count("-m dmcl_tf.evaluate") == 2


def test_a_run_that_fails_is_listed_and_the_others_go_on(tmp_path, root, monkeypatch, capsys):
    monkeypatch.setenv("DATA_ROOT", str(root / "data"))
    ran = []

    def run_command(command):
        ran.append(command)
        return "the disk is full (exit status 2)" if "--seed=0" in command else None

    monkeypatch.setattr(experiments, "run_command", run_command)
    folders = [f"--checkpoints={tmp_path}/checkpoints", f"--results={tmp_path}/results"]
    assert experiments.main(arguments(root, *folders)) == 1
    assert [command[2].split(".")[1] for command in ran] == ["train", "train", "evaluate", "report"]
    errors = capsys.readouterr().err.splitlines()
    assert errors[-2] == "failed: independent seed 0: the disk is full (exit status 2)"
    assert errors[-1].startswith("failed: independent seed 1: ")  # it said that it worked, and nothing is there
    assert "to do after training and evaluation" in errors[-1]


def test_records_are_prepared_where_they_are_missing_or_asked_for(tmp_path, root, monkeypatch):
    ran = []
    monkeypatch.setattr(experiments, "run_command", lambda command: ran.append(command) or "no")

    def prepared(*more):
        ran.clear()
        folders = [f"--checkpoints={tmp_path}/checkpoints", f"--results={tmp_path}/results"]
        with contextlib.suppress(InputError):
            experiments.main(arguments(root, *folders, *more))
        return "make_tfrecords.py" in ran[0][1]

    monkeypatch.setenv("DATA_ROOT", str(root / "data"))
    assert not prepared()
    assert prepared("--train_views=1,3")
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "nothing"))
    assert prepared()
    with pytest.raises(InputError, match="the records could not be made: no"):
        experiments.main(arguments(root))


def test_a_copy_is_not_enough_for_a_run_that_has_to_teach(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "nothing"))
    options = ["--seeds=0", "--train_fractions=1", f"--checkpoints={tmp_path}/checkpoints"]
    right = {modality: right_in((0, 30)) for modality in ("rgb", "depth", "flow")}
    write_run(tmp_path / "runs/independent" / NAME, right, method="independent", epochs=60)

    def find(methods):
        values, selection, given = experiments.parse([*options, f"--methods={methods}"])
        runs = matrix.make_matrix(values.dataset, selection, given)
        return [state.text for state in experiments.find_states(runs, tmp_path / "runs")], runs[-1]

    assert find("independent,mutual")[0] == ["complete (copy)", "to do"]
    states, student = find("generalized_distillation")
    assert states == ["to do", "to do"]
    write_run(
        experiments.slim_path(student, tmp_path / "runs"),
        {"rgb": right["rgb"]},
        **{name: getattr(student.config, name) for name in ("method", "epochs", "teacher_run", "teacher_modalities")},
    )
    assert find("generalized_distillation")[0] == ["complete (copy)", "complete (copy)"]


def test_one_report_holds_one_scale(done, root):
    with pytest.raises(InputError, match=r"is a run at compact scale, these are at paper scale.*another --results"):
        experiments.main(arguments(root, "--scale=paper"))


def test_help_teaches(capsys):
    assert experiments.main(["--help"]) == 0
    output = capsys.readouterr().out
    for word in ("--seeds", "--all_seeds", "--train_fractions", "--dry_run", "dmcl_tf.train --help"):
        assert word in output
