"""The workers of a cluster, from `TF_CONFIG` or Slurm's variables, and who of them is lost."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dmcl_tf.errors import InputError

LOST = os.EX_TEMPFAIL  # exit status of those whose peer is lost: the same commands continue
_INTERVAL, _TIMEOUT = 2.0, 5.0  # seconds between two looks at a peer, and that it has to answer
_ATTEMPTS = 3  # looks in a row that find nobody
_PORTS, _STRIDE = 20000, 20  # Slurm's jobs have this many ports each from there on, so that two share a machine


@dataclass(frozen=True)
class Cluster:
    """The processes that train together.

    Attributes:
        addresses: `host:port` of every worker.
        index: of this one among them; 0 is the chief, which alone writes.
    """

    addresses: tuple[str, ...]
    index: int


def find_cluster() -> Cluster | None:
    """The cluster that `TF_CONFIG` or, within `srun`, Slurm's variables describe; None where there is neither.

    Raises:
        InputError: they describe none in which this process is a worker.
    """
    if os.environ.get("TF_CONFIG"):
        return _from_tf_config(os.environ["TF_CONFIG"])
    return _from_slurm() if "SLURM_STEP_NODELIST" in os.environ and "SLURM_PROCID" in os.environ else None


def is_chief() -> bool:
    """Whether this process writes what is kept: it works alone, or as the first worker of a cluster."""
    cluster = find_cluster()
    return cluster is None or cluster.index == 0


def _from_tf_config(text: str) -> Cluster | None:
    expected = 'expected {"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}'
    try:
        described = json.loads(text)
        jobs, task = described.get("cluster") or {}, described.get("task") or {}
        if not jobs:
            return None
        chiefs, workers = (tuple(map(str, jobs.get(name) or ())) for name in ("chief", "worker"))
        kind, index = task["type"], int(task["index"])
        of_kind = {"chief": chiefs, "worker": workers}[kind]
        if set(jobs) - {"chief", "worker"} or not 0 <= index < len(of_kind):
            raise ValueError("its task is none of its workers")
        for address in chiefs + workers:
            host, _, port = address.rpartition(":")
            if not host or not 0 < int(port) < 2**16:
                raise ValueError(f"{address} is no host:port")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"TF_CONFIG={text} describes no worker of a cluster ({error!r}): {expected}") from None
    return Cluster(chiefs + workers, index + (len(chiefs) if kind == "worker" else 0))


def _from_slurm() -> Cluster:
    """One worker per task of the step, on its machine in Slurm's order.

    TensorFlow's own `SlurmClusterResolver` sorts the names of the machines as text, n10 before n9, and then asks a
    worker to listen on a machine that is not its own; here its functions only read the lists.
    """
    from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver as slurm

    environment = {name: os.environ.get(f"SLURM_{name}", "") for name in ("STEP_NODELIST", "STEP_TASKS_PER_NODE")}
    first = _PORTS + _STRIDE * (int(os.environ.get("SLURM_JOB_ID") or 0) % 500)
    try:
        hosts = slurm.expand_hostlist(environment["STEP_NODELIST"])
        tasks = slurm.expand_tasks_per_node(environment["STEP_TASKS_PER_NODE"])
        addresses = [f"{host}:{first + k}" for host, count in zip(hosts, tasks) for k in range(count)]
        index = int(os.environ["SLURM_PROCID"])
        if len(hosts) != len(tasks) or not 0 <= index < len(addresses):
            raise ValueError(f"task {index} of {len(addresses)} on {len(hosts)} machines")
    except ValueError as error:
        named = ", ".join(f"SLURM_{name}={value}" for name, value in environment.items())
        raise InputError(f"{named}: no worker of a cluster ({error}); start the workers with srun") from None
    return Cluster(tuple(addresses), index)


class Watch:
    """Looks at the other workers now and then, and ends this process where one that was there is gone.

    A worker that is lost leaves the others inside a collective operation that TensorFlow may wait in for ever. A peer
    counts as lost when nobody listens at its address any more.
    """

    def __init__(self, cluster: Cluster):
        self._peers = [address for i, address in enumerate(cluster.addresses) if i != cluster.index]
        self._indices = {address: i for i, address in enumerate(cluster.addresses)}
        self._missed: dict[str, int] = {}  # only of those that were there
        self._stop = threading.Event()
        self._leaving = threading.Lock()

    def __enter__(self) -> Watch:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(_INTERVAL):
            lost = self._look()
            if lost and not self._stop.is_set():
                self.leave(lost)

    def _look(self) -> list[str]:
        for peer in self._peers:
            if listens(peer):
                self._missed[peer] = 0
            elif peer in self._missed:
                self._missed[peer] += 1
        return [peer for peer, missed in self._missed.items() if missed >= _ATTEMPTS]

    def leave_if_lost(self) -> None:
        """Ends the process if a peer turns out to be gone within the time that it takes to know."""
        for _ in range(_ATTEMPTS + 1):
            gone = [peer for peer in self._peers if not listens(peer)]
            if gone:
                time.sleep(_INTERVAL)
                gone = [peer for peer in gone if not listens(peer)]
            if gone:
                self.leave(gone)
            time.sleep(_INTERVAL / 2)

    def leave(self, lost: Sequence[str]) -> None:
        """Says who is lost and ends the process, whatever its other threads are in."""
        if not self._leaving.acquire(blocking=False):
            threading.Event().wait()
        names = ", ".join(f"worker {self._indices[peer]} at {peer}" for peer in lost)
        print(
            f"\nerror: {names} is lost: start all workers again with the same commands, they continue",
            file=sys.stderr,
            flush=True,
        )
        os._exit(LOST)


def listens(address: str) -> bool:
    """Whether somebody accepts connections at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT):
            return True
    except OSError:
        return False
