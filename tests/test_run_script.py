"""run.sh: its own words, one installation, and the words of the stages, without installing anything."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# An interpreter that notes what it is asked and installs nothing: a made environment is a copy of itself.
INTERPRETER = """#!/usr/bin/env bash
echo "$*" >>"{log}"
case "$1 ${{2-}}" in
  "-m venv")
    mkdir -p "${{@: -1}}/bin"
    cp "$0" "${{@: -1}}/bin/python"
    ;;
  "-m pip") exit {pip_status} ;;
  "-m workflow" | "-m pytest")
    if [ -n "{stages_status}" ]; then exit "{stages_status}"; fi
    exec "{python}" "$@"
    ;;
  *) exec "{python}" "$@" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of what run.sh needs, so that its environment and its data folder are its own."""
    root = tmp_path / "checkout"
    root.mkdir()
    for name in ("run.sh", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    for name in ("dmcl_tf", "data_prep", "workflow", "server"):
        (root / name).symlink_to(ROOT / name)
    return root


def make_interpreter(directory, stages_status="", pip_status=0):
    path, log = directory / "interpreter", directory / "log"
    path.write_text(
        INTERPRETER.format(log=log, python=sys.executable, stages_status=stages_status, pip_status=pip_status)
    )
    path.chmod(0o755)
    return path, lambda: log.read_text().splitlines() if log.exists() else []


def environment(**given):
    """What run.sh sees: nothing that it was told to run these tests with."""
    names = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "VENV", "EXTRAS", "DATA_ROOT")}
    return {**names, **{name: str(value) for name, value in given.items()}}


def run(checkout, *arguments, **given):
    return subprocess.run(
        ["bash", str(checkout / "run.sh"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=checkout.parent,
        env=environment(**given),
    )


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",), ("-h",)])
def test_help_needs_no_environment(checkout, arguments):
    done = run(checkout, *arguments, PYTHON="none")
    assert done.returncode == 0
    for word in ("run.sh demo", "run.sh test", "run.sh nwucla", "--method=", "PYTHON", "VENV", "DATA_ROOT"):
        assert word in done.stdout
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("python", ["no-such-python", "true", "/"])
def test_an_interpreter_that_is_none(checkout, python):
    done = run(checkout, "demo", PYTHON=python)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"error: {python} is not a working Python 3.9 to 3.13; set PYTHON to one\n"


def test_packages_are_installed_once_and_again_when_they_change(checkout, tmp_path):
    python, log = make_interpreter(tmp_path, stages_status=7)
    calls = []
    for change in (False, False, True, False):
        if change:
            with (checkout / "requirements.txt").open("a") as requirements:
                requirements.write("# another line\n")
        before = len(log())
        done = run(checkout, "demo", "--epochs=2", PYTHON=python)
        assert done.returncode == 7  # that of the stages
        calls.append([line.split()[:2] for line in log()[before:] if line.startswith("-m ")])
        assert log()[-1] == "-m workflow demo --epochs=2"
        assert ("installing the packages of requirements.txt into .venv" in done.stderr) == (len(calls[-1]) > 1)
    install, stages = [["-m", "venv"], ["-m", "pip"]], [["-m", "workflow"]]
    assert calls == [install + stages, stages, install + stages, stages]
    assert (checkout / ".venv" / "complete").exists()


def test_extras_are_added_and_kept(checkout, tmp_path):
    python, log = make_interpreter(tmp_path, stages_status=7)
    said = []
    for extras in ("", "serve", "", "serve", "onnx,serve", "onnx"):
        before = len(log())
        done = run(checkout, "demo", PYTHON=python, EXTRAS=extras)
        assert done.returncode == 7, done.stderr
        calls = [line for line in log()[before:] if line.startswith(("-m venv", "-m pip"))]
        said.append((len(calls), re.findall(r"adding (.*) to \.venv", done.stderr)))
    assert said == [(2, []), (1, ["serve"]), (0, []), (0, []), (1, ["onnx"]), (0, [])]
    with (checkout / "requirements.txt").open("a") as file:
        file.write("# another list of packages\n")
    done = run(checkout, "demo", PYTHON=python, EXTRAS="beam")
    assert "adding beam,onnx,serve to .venv" in done.stderr
    with (checkout / "requirements.txt").open("a") as file:
        file.write("# and another\n")
    failing, _ = make_interpreter(tmp_path, stages_status=7, pip_status=1)
    assert run(checkout, "demo", PYTHON=failing).returncode == 1
    python, log = make_interpreter(tmp_path, stages_status=7)
    assert "adding beam,onnx,serve to .venv" in run(checkout, "demo", PYTHON=python).stderr
    before = len(log())
    assert run(checkout, "demo", PYTHON=python, EXTRAS="serve").returncode == 7
    assert not any(line.startswith(("-m venv", "-m pip")) for line in log()[before:])


def test_extras_that_failed_are_installed_again(checkout, tmp_path):
    python, log = make_interpreter(tmp_path, stages_status=0)
    assert run(checkout, "demo", PYTHON=python).returncode == 0
    failing, _ = make_interpreter(tmp_path, pip_status=1, stages_status=0)
    shutil.copy(failing, checkout / ".venv/bin/python")
    for _ in range(2):
        assert run(checkout, "demo", PYTHON=python, EXTRAS="serve").returncode == 1
    assert sum(line.startswith("-m pip install") and "[serve]" in line for line in log()) == 2


def test_packages_can_be_installed_and_no_more(checkout, tmp_path):
    python, log = make_interpreter(tmp_path, stages_status=7)
    for installed in (True, False):
        before = len(log())
        done = run(checkout, "install", PYTHON=python)
        assert (done.returncode, done.stdout) == (0, "")
        calls = [line.split()[1] for line in log()[before:] if line.startswith("-m ")]
        assert calls == (["venv", "pip"] if installed else [])


def test_an_installation_that_failed_is_begun_again(checkout, tmp_path):
    python, log = make_interpreter(tmp_path, pip_status=1, stages_status=0)
    for installations in (1, 2):
        done = run(checkout, "demo", PYTHON=python)
        assert done.returncode == 1
        assert sum(line.startswith("-m venv") for line in log()) == installations
        assert not any("workflow" in line for line in log())


def test_two_installations_into_one_folder_go_one_after_the_other(checkout, tmp_path):
    python, log = make_interpreter(tmp_path, stages_status=0)
    with (checkout / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711\n")
        lock.flush()
        waiting = subprocess.Popen(
            ["bash", str(checkout / "run.sh"), "demo"],
            stderr=subprocess.PIPE,
            text=True,
            env=environment(PYTHON=python),
        )
        assert waiting.stderr.readline() == "process 4711 installs into .venv: waiting for it\n"
        assert not any(line.startswith("-m") for line in log())
    _, errors = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert errors == "installing the packages of requirements.txt into .venv, once; this takes a few minutes\n"


def test_the_environment_can_be_elsewhere(checkout, tmp_path):
    python, log = make_interpreter(tmp_path, stages_status=0)
    assert run(checkout, "demo", PYTHON=python, VENV=tmp_path / "environment").returncode == 0
    assert (tmp_path / "environment" / "complete").exists()
    assert not (checkout / ".venv").exists()
    assert log()[-1] == "-m workflow demo"


def test_a_folder_of_something_else_is_not_cleared(checkout, tmp_path):
    python, log = make_interpreter(tmp_path)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("all of it")
    done = run(checkout, "demo", PYTHON=python, VENV=tmp_path / "precious")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: VENV={tmp_path}/precious is no Python environment and not empty; set VENV to a new folder\n"
    )
    assert (tmp_path / "precious" / "thesis.txt").exists()
    assert not any(line.startswith("-m") for line in log())


MISSING = {
    "nwucla": ("nwucla: expected multiview_action/view_1 … view_3 there", "sixteen parts multiview_action.tgz.part-aa"),
    "ntu120mini": ("ntu: expected the folder nturgb+d_rgb there", "unpack every archive with unzip"),
}


@pytest.mark.parametrize("dataset", MISSING)
def test_without_the_data_it_says_how_to_get_them(checkout, tmp_path, dataset):
    python, _ = make_interpreter(tmp_path)
    done = run(checkout, dataset, PYTHON=python, DATA_ROOT=tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stdout.split("\n\n")[-1].strip() == f"== {dataset}: prepare =="
    error = done.stderr.strip().splitlines()[-1]
    beginning, *words = MISSING[dataset]
    assert error.startswith(f"error: {tmp_path}/nowhere/{beginning}")
    for text in ("http", "into the data folder", *words):
        assert text in error


def test_experiments_have_a_command_of_their_own(checkout, tmp_path):
    python, log = make_interpreter(tmp_path)
    done = run(checkout, "experiments", "--help", PYTHON=python)
    assert done.returncode == 0, done.stderr
    assert log()[-1] == "-m workflow experiments --help"
    assert "--all_seeds" in done.stdout


def test_an_unknown_command(checkout, tmp_path):
    python, _ = make_interpreter(tmp_path)
    done = run(checkout, "nwcla", PYTHON=python)
    assert done.returncode == 2
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("error: 'nwcla': expected a data set or a command, one of demo, nwucla")
    assert "did you mean nwucla" in error
