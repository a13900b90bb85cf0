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
from tiny_run import TRAINING, write_noisy_records

from dmcl_tf.errors import InputError
from dmcl_tf.learning.cluster import LOST, Cluster, Watch, find_cluster, is_chief
from dmcl_tf.learning.workers import working_together

ROOT = Path(__file__).parents[1]
EPOCHS, LONG = 8, 20  # of one step each; LONG with --kills of 6 and more
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


def training(records, place: Path, epochs: int = EPOCHS, *more: str) -> list[str]:
    settings = {**TRAINING, "batch_size": 12, "epochs": epochs, "validate_every": 4, "learning_rate": 0.01}
    flags = [f"--{name}={value}" for name, value in settings.items()]
    return [f"--records={records.directory}", f"--checkpoints={place}", "--sync_batch_norm", *flags, *more]


def run_folder(place: Path) -> Path:
    return place / "custom" / "dmcl" / "authors-full-seed0"


def losses(place: Path) -> np.ndarray:
    history = pd.read_csv(run_folder(place) / "history.csv")
    return history[[name for name in history if name.endswith(("loss", "cross_entropy"))]].to_numpy()


@pytest.fixture(scope="module")
def alone(records, tmp_path_factory):
    """The run of one process."""
    place = tmp_path_factory.mktemp("alone")
    finish(start("dmcl_tf.train", training(records, place), 1, place / "logs"), place / "logs")
    return place


def test_two_workers_train_as_one_process_and_go_on_when_one_is_lost(records, alone, tmp_path):
    logs, history = tmp_path / "logs", run_folder(tmp_path) / "history.csv"
    workers = start("dmcl_tf.train", training(records, tmp_path), 2, logs)
    try:
        while not (history.exists() and len(history.read_text().splitlines()) > 2):
            assert all(process.poll() is None for process in workers), [(logs / str(i)).read_text() for i in (0, 1)]
            time.sleep(0.01)
        workers[1].send_signal(signal.SIGKILL)
        assert workers[0].wait(timeout=60) == LOST
    finally:
        for process in workers:
            process.kill()
    lines = re.split(r"[\r\n]+", (logs / "0").read_text().strip())
    assert re.fullmatch(r"error: worker 1 at 127\.0\.0\.1:\d+ is lost: start all workers again .*", lines[-1]), lines
    assert len(history.read_text().splitlines()) < EPOCHS
    chief, other = finish(start("dmcl_tf.train", training(records, tmp_path), 2, logs), logs)
    assert "run: " in chief
    assert not re.search("run:|videos:|train:", other)  # the chief alone reports
    assert losses(tmp_path).shape == losses(alone).shape == (EPOCHS, 7)
    np.testing.assert_allclose(losses(tmp_path), losses(alone), rtol=1e-4, atol=1e-4)
    assert sorted(path.name for path in run_folder(tmp_path).iterdir() if path.name != ".lock") == sorted(
        path.name for path in run_folder(alone).iterdir() if path.name != ".lock"
    )


@pytest.mark.parametrize("count", [2, 3])
def test_any_number_of_workers_trains_and_evaluates_as_one_process(records, tmp_path, count, request):
    """Twenty steps, the videos of an evaluation shared, and SIGTERM to one worker that stops all in good order."""
    if request.config.getoption("--kills") < 6:
        pytest.skip("takes minutes: pytest tests/test_workers.py --kills=6")
    for place, workers in ((tmp_path / "one", 1), (tmp_path / "many", count)):
        train = training(records, place, LONG)
        processes = start("dmcl_tf.train", train, workers, place / "logs")
        if workers > 1:
            history = run_folder(place) / "history.csv"
            while not history.exists() and processes[0].poll() is None:
                time.sleep(0.01)
            processes[-1].send_signal(signal.SIGTERM)
            for text in finish(processes, place / "logs"):
                assert re.search(r"stopped after step \d+ of 20, which is saved; the same command continues\n$", text)
            processes = start("dmcl_tf.train", train, workers, place / "logs")
        finish(processes, place / "logs")
        evaluate = [f"--run_dir={run_folder(place)}", f"--records={records.directory}"]
        finish(start("dmcl_tf.evaluate", evaluate, workers, place / "logs"), place / "logs")
    assert losses(tmp_path / "many").shape == (LONG, 7)
    np.testing.assert_allclose(losses(tmp_path / "many"), losses(tmp_path / "one"), rtol=1e-4, atol=1e-4)
    one, many = (pd.read_csv(run_folder(tmp_path / name) / "predictions.csv") for name in ("one", "many"))
    assert one.iloc[:, 0].tolist() == many.iloc[:, 0].tolist()
    numbers = one.select_dtypes("number").columns
    np.testing.assert_allclose(many[numbers], one[numbers], rtol=1e-3, atol=1e-3)
