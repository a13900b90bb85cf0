"""The runner of a matrix: real tiny runs that are stopped and continued, slim copies, failures."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from synthetic_runs import right_in, write_run

from dmcl_tf import report
from dmcl_tf.errors import InputError
from dmcl_tf.files import write_json
from dmcl_tf.runs.folder import Record, RunFolder
from workflow import experiments, stages
from workflow.processes import Failure
from workflow.states import SLIM_FILES, State, find_states, slim_path

NAME = "authors-compact-seed0"


@pytest.fixture(scope="module")
def root(tmp_path_factory, write_nwucla_tree):
    """A folder with a tiny NW-UCLA."""
    root = tmp_path_factory.mktemp("experiments")
    write_nwucla_tree(root / "data/nwucla")
    return root


def arguments(root, *more):
    settings = ["--frame_size=32", "--crop_size=24", "--variant=testing", "--batch_size=4", "--epochs=2"]
    settings += ["--modalities=rgb", "--warmup_epochs=0", "--train_fractions=1", "--methods=independent"]
    folders = [f"--checkpoints={root}/checkpoints", f"--results={root}/results"]
    return [*settings, "--checkpoint=last", "--workers=1", *folders, "--seeds=0", *more]


def folder(root):
    (path,) = (root / "checkpoints/nwucla/independent").iterdir()
    return RunFolder(path)


def plan(given):
    return experiments.make_plan(experiments.parse(given))


def states(root, *more):
    return [state.text for state in find_states(plan(arguments(root, *more)).experiments, root / "results/runs")]


def command(root):
    return [sys.executable, "-m", "workflow", "experiments", *arguments(root)]


def environment():
    """Without the size of a terminal, which libraries of C may have set behind Python's back: bars are cut to it."""
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}


def stop_after_the_first_epoch(root):
    """Starts the command and stops it when an epoch is complete; returns its exit status and what it said."""
    process = subprocess.Popen(
        command(root), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    limit = time.monotonic() + 240
    while not list(root.glob("checkpoints/nwucla/*/*/last/checkpoint")) and process.poll() is None:
        assert time.monotonic() < limit
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def done(root):
    """A run that was stopped and continued: what both commands said, and what was there before and between."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ROOT", str(root / "data"))
        before = states(root)
        stopped = stop_after_the_first_epoch(root)
        between = states(root)
        continued = subprocess.run(command(root), capture_output=True, text=True, check=False, env=environment())
        yield before, stopped, between, continued


def test_it_can_be_stopped_and_leaves_nothing_running(done, root):
    before, (status, _, errors), between, _ = done
    assert before == ["to do"]
    assert status == 143
    assert errors.splitlines()[-1] == "stopped: the same command continues"
    assert "run 1 of 1, independent seed 0" in errors
    assert f"for a report on what is there: bash run.sh report --runs={root}/results/runs" in errors
    assert between[0] in ("1 of 2 epochs", "to evaluate", "complete")
    assert str(root) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_the_same_command_continues_and_ends_with_the_report(done, root):
    _, _, between, continued = done
    assert continued.returncode == 0, continued.stderr
    assert between == ["complete"] or "1 of 1 runs complete: 100%" in continued.stderr
    assert pd.read_csv(folder(root).history_path)["epoch"].tolist() == [0, 1]
    assert states(root) == ["complete"]
    assert (root / "results/index.html").exists()


def test_finished_runs_are_copied_without_their_weights(done, root):
    run = folder(root).directory
    copy = root / "results/runs/independent" / run.name
    assert sorted(path.name for path in copy.iterdir()) == sorted(SLIM_FILES)
    for name in SLIM_FILES:
        assert (copy / name).read_bytes() == (run / name).read_bytes()


def test_results_of_other_weights_do_not_count(done, root):
    path = folder(root).directory / "results.json"
    text = path.read_text()
    content = json.loads(text)
    content["evaluated"]["weights"]["checksum"] = "00000000"
    try:
        path.write_text(json.dumps(content))
        assert states(root) == ["to evaluate"]
        (folder(root).directory / "predictions.csv").rename(root / "aside")
        path.write_text(text)
        assert states(root) == ["to evaluate"]
    finally:
        path.write_text(text)
        (root / "aside").rename(folder(root).directory / "predictions.csv")
    assert states(root) == ["complete"]


@pytest.fixture
def ran(monkeypatch):
    """The functions that stages would run in processes; what they return is what `ran.failure` says of settings."""
    calls = []

    def call(function, settings):
        calls.append(function)
        return next((failure for name, failure in failures.items() if name in str(settings)), None)

    failures: dict[str, Failure] = {}
    monkeypatch.setattr(experiments, "call", call)
    return calls, failures


def test_a_copy_of_the_same_configuration_counts_where_the_run_is_gone(done, root, ran):
    away = root / "away"
    (root / "checkpoints").rename(away)
    try:
        assert states(root, "--seeds=0,1") == ["complete (copy)", "to do"]
        assert experiments.main(arguments(root)) == 0
        assert ran[0] == [report.report]
        assert states(root, "--checkpoint=best") == ["to do"]
        assert states(root, "--train_views=1,3", "--test_view=2") == ["to do"]
        copy = RunFolder(next((root / "results/runs/independent").iterdir()))
        text = copy.config_path.read_text()
        run = copy.load()
        other = dataclasses.replace(run, config=dataclasses.replace(run.config, momentum=0.8))
        write_json(copy.config_path, Record(other))
        assert states(root) == ["to do"]
        copy.config_path.write_text(text)
        (copy.directory / "confusion.csv").rename(root / "aside")
        assert states(root) == ["to do"]
        (root / "aside").rename(copy.directory / "confusion.csv")
    finally:
        shutil.rmtree(root / "checkpoints", ignore_errors=True)
        away.rename(root / "checkpoints")


def test_a_missing_copy_is_made_again(done, root, ran):
    copy = next((root / "results/runs/independent").glob("*seed0*"))
    shutil.rmtree(copy)
    assert experiments.main(arguments(root)) == 0
    assert ran[0] == [report.report]  # nothing else was left to do
    assert sorted(path.name for path in copy.iterdir()) == sorted(SLIM_FILES)


def test_a_dry_run_shows_states_and_runs_nothing(done, root, ran, capsys):
    assert experiments.main(arguments(root, "--seeds=0,7", "--dry_run")) == 0
    first, second = (line.split() for line in capsys.readouterr().out.splitlines()[1:3])
    assert first[1:5] == ["independent", "seed", "0", "complete"]
    assert second[1:6] == ["independent", "seed", "7", "to", "do"]
    assert first[5].startswith(str(root))  # no work is left
    assert second[6] == "2"  # two epochs of one network
    assert ran[0] == []


def test_a_run_that_fails_is_listed_and_the_others_go_on(tmp_path, root, ran, monkeypatch, capsys):
    monkeypatch.setenv("DATA_ROOT", str(root / "data"))
    calls, failures = ran
    failures["seed=0"] = Failure("the disk is full", 2)
    folders = [f"--checkpoints={tmp_path}/checkpoints", f"--results={tmp_path}/results"]
    assert experiments.main(arguments(root, "--seeds=0,1", *folders)) == 1
    assert calls[1:] == [stages.train_and_evaluate] * 2 + [report.report]
    errors = capsys.readouterr().err.splitlines()
    assert errors[-2] == "failed: independent seed 0: the disk is full"
    assert errors[-1].startswith("failed: independent seed 1: ")  # it said that it worked, and nothing is there
    assert "to do after training and evaluation" in errors[-1]
    failures["seed=0"] = Failure("the disk is full", 2)
    assert experiments.main(arguments(root, "--seeds=0", "--methods=mars", *folders)) == 1
    assert (
        capsys.readouterr().err.splitlines()[-1]
        == "failed: mars seed 0: it needs independent flow seed 0, which failed"
    )


def test_nothing_is_trained_where_the_records_cannot_be_made(tmp_path, root, ran, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "nothing"))
    ran[1]["nothing"] = Failure("no raw data", 2)
    assert experiments.main(arguments(tmp_path)) == 2
    assert len(ran[0]) == 1


def test_a_copy_is_not_enough_for_a_run_that_has_to_teach(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "nothing"))
    options = ["--seeds=0", "--train_fractions=1", f"--checkpoints={tmp_path}/checkpoints", "--checkpoint=best"]
    right = {modality: right_in((0, 30)) for modality in ("rgb", "depth", "flow")}
    write_run(tmp_path / "runs/independent" / NAME, right, method="independent", epochs=60)

    def find(methods):
        runs = plan([*options, f"--methods={methods}"]).experiments
        return [state.text for state in find_states(runs, tmp_path / "runs")], runs[-1]

    assert find("independent,mutual")[0] == ["complete (copy)", "to do"]
    found, student = find("generalized_distillation")
    assert found == ["to do", "to do"]
    write_run(
        slim_path(student, tmp_path / "runs"),
        {"rgb": right["rgb"]},
        **{name: getattr(student.config, name) for name in ("method", "epochs", "teacher_run", "teacher_modalities")},
    )
    assert find("generalized_distillation")[0] == ["complete (copy)", "complete (copy)"]


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--scale=full", r"is of another scale \(compact; these runs: full\)"),
        ("--checkpoint=best", r"is of another checkpoint \(last; these runs: best\)"),
        ("--train_views=1,3 --test_view=2", r"is of another protocol \(.*; these runs: .*\)"),
    ],
)
def test_one_report_holds_one_kind_of_runs(done, root, monkeypatch, flag, reason):
    """Which is known before anything is trained."""
    monkeypatch.setenv("DATA_ROOT", str(root / "data"))
    with pytest.raises(InputError, match=rf"{reason}, and one report holds one: choose another --results"):
        experiments.main(arguments(root, *flag.split()))


def test_raw_data_of_another_origin_are_not_mixed_with_copies(done, root, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))  # no records there
    with pytest.raises(InputError, match=r"is of another origin \(.*; these runs: rendered\)"):
        experiments.main(arguments(root, "--origin=rendered"))
    experiments.check_copies(plan(arguments(root)))  # nobody knows yet where the raw data will be from


def test_without_test_videos_a_run_is_complete_and_nothing_is_copied(tmp_path, monkeypatch):
    (run,) = plan(arguments(tmp_path)).experiments
    without = State(2, False, True, "complete, without test videos")
    monkeypatch.setattr(experiments, "call", lambda *_: None)
    monkeypatch.setattr(experiments, "find_state", lambda *_: without)
    assert experiments.run_one(run, tmp_path / "runs") is None
    assert not (tmp_path / "runs").exists()


def test_help_teaches(capsys):
    assert experiments.main(["--help"]) == 0
    output = capsys.readouterr().out
    for word in ("--seeds", "--all_seeds", "--train_fractions", "--dry_run", "--temperature", "--train_views"):
        assert word in output


def test_states_need_no_tensorflow(root):
    """A dry run answers at once."""
    script = "import sys; from workflow import experiments; experiments.main(sys.argv[1:])\n"
    script += "assert 'tensorflow' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script, *arguments(root, "--dry_run")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
