"""Several workers: how they find each other, that they train as one, and what happens when one is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_run import TRAINING, run_training, write_noisy_records

from dmcl_tf.errors import InputError
from dmcl_tf.learning.cluster import LOST, Cluster, Watch, find_cluster, is_chief
from dmcl_tf.learning.workers import working_together

ROOT = Path(__file__).parents[1]
STEPS = 20
VARIABLES = ("TF_CONFIG", "SLURM_PROCID", "SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")


@pytest.fixture
def environment(monkeypatch):
    """`environment(NAME=value)` is all that says who the workers are."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return lambda **values: [monkeypatch.setenv(name, value) for name, value in values.items()]


def tf_config(addresses, index, kind="worker", **others):
    return json.dumps({"cluster": {"worker": addresses, **others}, "task": {"type": kind, "index": index}})


def test_the_workers_of_tf_config(environment):
    assert find_cluster() is None
    assert is_chief()
    environment(TF_CONFIG="{}")
    assert find_cluster() is None
    environment(TF_CONFIG=tf_config(["a:1", "b:2"], 1))
    assert find_cluster() == Cluster(("a:1", "b:2"), 1)
    assert not is_chief()
    environment(TF_CONFIG=tf_config(["a:1", "b:2"], 1, chief=["c:3"]))
    assert find_cluster() == Cluster(("c:3", "a:1", "b:2"), 2)
    environment(TF_CONFIG=tf_config(["a:1", "b:2"], 0, "chief", chief=["c:3"]))
    assert find_cluster() == Cluster(("c:3", "a:1", "b:2"), 0)


@pytest.mark.parametrize(
    "text",
    ["x", "[]", '{"cluster": {"worker": ["a:1"]}}', tf_config(["a:1"], 1), tf_config(["a"], 0), tf_config(["a:x"], 0)],
)
def test_a_tf_config_that_names_no_worker_is_refused_with_what_is_expected(environment, text):
    environment(TF_CONFIG=text)
    with pytest.raises(InputError, match=r'^TF_CONFIG=.* describes no worker of a cluster .*: expected \{"cluster"'):
        find_cluster()


def test_a_parameter_server_is_none(environment):
    environment(TF_CONFIG=tf_config(["a:1"], 0, ps=["b:2"]))
    with pytest.raises(InputError, match="describes no worker"):
        find_cluster()


def test_the_workers_of_a_slurm_step_in_slurms_order(environment):
    environment(SLURM_PROCID="2", SLURM_JOB_ID="1003", SLURM_STEP_NODELIST="n[9-10]", SLURM_STEP_TASKS_PER_NODE="2(x2)")
    assert find_cluster() == Cluster(("n9:20060", "n9:20061", "n10:20060", "n10:20061"), 2)
    environment(SLURM_PROCID="7")
    with pytest.raises(InputError, match=r"^SLURM_STEP_NODELIST=n\[9-10\], .*: no worker of a cluster .*srun"):
        find_cluster()


def test_a_strategy_that_does_not_fit_what_is_there_is_refused(environment):
    with pytest.raises(InputError, match=r"^--strategy=multi_worker: neither TF_CONFIG nor Slurm"):
        working_together("multi_worker").__enter__()
    environment(TF_CONFIG=tf_config(["a:1", "b:2"], 1))
    with pytest.raises(InputError, match=r"^--strategy=mirrored: TF_CONFIG or Slurm names 2 workers"):
        working_together("mirrored").__enter__()


def test_a_peer_is_lost_only_when_it_was_there_and_stays_away():
    there = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{there.getsockname()[1]}"
    watch = Watch(Cluster(("127.0.0.1:1", address, "127.0.0.1:2"), 0))
    assert [watch._look() for _ in range(5)] == [[]] * 5  # the third has not come yet
    there.close()
    assert [watch._look() for _ in range(3)] == [[], [], [address]]


def free_addresses(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def start(module: str, arguments: list[str], count: int, logs: Path) -> list[subprocess.Popen]:
    """The processes of as many workers, whose output goes to `logs`/<index>."""
    logs.mkdir(parents=True, exist_ok=True)
    addresses, processes = free_addresses(count), []
    for index in range(count):
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        environment |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "2", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment |= {"PYTHONPATH": str(ROOT)}
        if count > 1:
            environment["TF_CONFIG"] = tf_config(addresses, index)
        with (logs / str(index)).open("w") as log:
            command = [sys.executable, "-m", module, *arguments]
            processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
    return processes


def finish(processes: list[subprocess.Popen], logs: Path) -> list[str]:
    """What the workers said, once all ended well."""
    try:
        statuses = [process.wait(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    said = [(logs / str(index)).read_text() for index in range(len(processes))]
    assert set(statuses) == {0}, "\n".join(text[-1500:] for text in said)
    return said


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_noisy_records(tmp_path_factory.mktemp("records"), videos={"train": 12, "validation": 3, "test": 1})


# twenty steps, each of them an epoch
SETTINGS = {"batch_size": 12, "epochs": STEPS, "validate_every": 4, "learning_rate": 0.01, "sync_batch_norm": True}


def train_together(records, place: Path, count: int) -> list[subprocess.Popen]:
    places = {"records": records.directory, "checkpoints": place}
    flags = [f"--{name}={value}" for name, value in {**places, **TRAINING, **SETTINGS}.items()]
    return start("dmcl_tf.train", flags, count, place / "logs")


def run_folder(place: Path) -> Path:
    return place / "custom" / "dmcl" / "authors-full-seed0"


def losses(place: Path) -> np.ndarray:
    history = pd.read_csv(run_folder(place) / "history.csv")
    return history[[name for name in history if name.endswith(("loss", "cross_entropy"))]].to_numpy()


@pytest.fixture(scope="module")
def alone(records, tmp_path_factory):
    """The run of one process, which is this one."""
    place = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        run_training(records, place, **SETTINGS)
    return place


def lose(processes: list[subprocess.Popen], place: Path, lost: int) -> None:
    """Kills a worker once the history has some lines, and sees that the others notice."""
    history, logs = run_folder(place) / "history.csv", place / "logs"
    try:
        while not (history.exists() and len(history.read_text().splitlines()) > 3):
            assert all(process.poll() is None for process in processes), [p.read_text() for p in logs.iterdir()]
            time.sleep(0.01)
        processes[lost].send_signal(signal.SIGKILL)
        statuses = [process.wait(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert statuses == [-signal.SIGKILL if index == lost else LOST for index in range(len(processes))]
    for index in set(range(len(processes))) - {lost}:
        last = re.split(r"[\r\n]+", (logs / str(index)).read_text().strip())[-1]
        assert re.fullmatch(rf"error: worker {lost} at 127\.0\.0\.1:\d+ is lost: start all workers again .*", last)


def test_two_workers_train_as_one_process_until_one_is_lost(records, alone, tmp_path):
    lose(train_together(records, tmp_path, 2), tmp_path, lost=1)
    done = len(losses(tmp_path))
    assert 2 < done < STEPS
    np.testing.assert_allclose(losses(tmp_path), losses(alone)[:done], rtol=1e-4, atol=1e-4)
    assert "run: " in (tmp_path / "logs/0").read_text()
    assert not re.search("run:|videos:|train:", (tmp_path / "logs/1").read_text())  # the chief alone reports


@pytest.mark.parametrize(("count", "lost"), [(2, 0), (3, 2)])
def test_any_number_of_workers_goes_on_and_ends_as_one_process(records, alone, tmp_path, count, lost, request):
    """Twenty steps, one worker lost, SIGTERM to one that stops all in good order, and an evaluation together."""
    if request.config.getoption("--kills") < 6:
        pytest.skip("takes minutes: pytest tests/test_workers.py --kills=6")
    logs = tmp_path / "logs"
    lose(train_together(records, tmp_path, count), tmp_path, lost)
    known, processes = len(losses(tmp_path)), train_together(records, tmp_path, count)
    while len(losses(tmp_path)) <= known and processes[0].poll() is None:
        time.sleep(0.01)
    processes[-1].send_signal(signal.SIGTERM)
    for text in finish(processes, logs):
        assert re.search(rf"stopped after step \d+ of {STEPS}, which is saved; the same command continues\n$", text)
    finish(train_together(records, tmp_path, count), logs)
    assert losses(tmp_path).shape == (STEPS, 7)
    np.testing.assert_allclose(losses(tmp_path), losses(alone), rtol=1e-4, atol=1e-4)
    for place, workers in ((alone, 1), (tmp_path, count)):
        evaluate = [f"--run_dir={run_folder(place)}", f"--records={records.directory}"]
        finish(start("dmcl_tf.evaluate", evaluate, workers, place / "logs"), place / "logs")
    one, many = (pd.read_csv(run_folder(place) / "predictions.csv") for place in (alone, tmp_path))
    assert one.iloc[:, 0].tolist() == many.iloc[:, 0].tolist()
    numbers = one.select_dtypes("number").columns
    np.testing.assert_allclose(many[numbers], one[numbers], rtol=1e-3, atol=1e-3)
    files = [{path.name for path in run_folder(place).iterdir()} - {".lock"} for place in (alone, tmp_path)]
    assert files[0] == files[1]
