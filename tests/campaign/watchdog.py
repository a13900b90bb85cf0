"""Trials in a process of their own, which is watched: how long each takes, how much memory, and what it touches."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import time
import traceback
import zlib
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dmcl_tf.files import remove

from . import originals
from .trials import TRIALS, Outcome, Place, Trial

TRACEBACK, HANG, MEMORY, OUTSIDE = "traceback", "hang", "over 2 GB", "outside"
FAULTS = (TRACEBACK, HANG, MEMORY, OUTSIDE)
_MOST_MEMORY = 2 * 2**30  # bytes above what the process has
_START = 600  # seconds in which TensorFlow is imported and the sound inputs are made


class Finished(NamedTuple):
    """What became of a trial that came to its end, the most memory above that before in bytes, and what it touched."""

    outcome: Outcome
    memory: int
    touched: list[str]


class Watchdog:
    """Runs trials, one after the other, in a process that is started anew when one hangs or ends it.

    Args:
        root: an empty folder for everything.
        seed: of all damage.
        patience: seconds that a trial may take.
        trials: by kind of input; functions of a module, so that the process finds them.
    """

    def __init__(self, root: Path, seed: int, patience: float, trials: Mapping[str, Trial] = TRIALS):
        root.mkdir(parents=True, exist_ok=True)
        self._root, self._seed, self.patience, self._trials = root, seed, patience, dict(trials)
        self._process: multiprocessing.process.BaseProcess | None = None

    def run(self, kind: str, index: int) -> Outcome:
        """What became of the damaged input of some kind and number; of a sound one where the number is below 0."""
        if self._process is None:
            self._start()
        self._connection.send((kind, index))
        if not self._wait(self.patience):
            self.close()
            return Outcome(HANG, f"not done after {self.patience:g} seconds")
        try:
            finished: Finished = self._connection.recv()
        except EOFError:
            self.close()
            return Outcome(TRACEBACK, "the process was ended, by a signal or a crash")
        if finished.touched:
            return Outcome(OUTSIDE, ", ".join(finished.touched))
        if finished.memory > _MOST_MEMORY and finished.outcome.ending not in FAULTS:
            return Outcome(MEMORY, f"{finished.memory / 2**30:.1f} GiB; {finished.outcome.said}")
        return finished.outcome

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._root, self._seed, self._trials), daemon=True)
        self._process.start()
        theirs.close()
        try:
            assert self._wait(_START), "it takes too long"
            self._connection.recv()
        except (EOFError, AssertionError):
            log = (self._root / "log").read_text(errors="replace")
            raise RuntimeError(f"the sound inputs cannot be made: {log[-2000:]}") from None

    def _wait(self, seconds: float) -> bool:
        """Waits for a word; a process that takes much too much memory is not waited for."""
        assert self._process is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._connection.poll(0.2):
                return True
            if _memory("VmRSS", self._process.pid or 0) > 4 * _MOST_MEMORY:
                return False
        return False


def _work(connection: Connection, root: Path, seed: int, trials: Mapping[str, Trial]) -> None:
    log = os.open(root / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    originals.make(root)
    os.chdir(root / "cwd")
    connection.send("ready")
    before = _state(root)
    while True:
        kind, index = connection.recv()
        case = root / "cases" / "case"
        remove(case)  # of one that hung
        case.mkdir()
        random = np.random.RandomState(zlib.crc32(f"{seed} {kind} {index}".encode()))
        usual = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the highest memory counts from now
        try:
            outcome = trials[kind](Place(root / "sound", case, damages=index >= 0), random)
        except Exception as error:
            traceback.print_exc()
            where = traceback.extract_tb(sys.exc_info()[2])[-1]
            outcome = Outcome(
                TRACEBACK, f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
            )
        memory = _memory("VmHWM") - usual
        shutil.rmtree(case)
        after = _state(root)
        connection.send(Finished(outcome, memory, sorted({name for name, _ in before.items() ^ after.items()})))
        before = after


def _state(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of all that no trial may touch."""
    own = (root / "log", root / "cases" / "records")
    paths = (path for path in root.rglob("*") if not path.is_dir() and not any(p in own for p in (path, *path.parents)))
    return {str(path.relative_to(root)): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths}


def resident_memory(process: int) -> int:
    """Bytes of memory of a process; 0 where it has ended."""
    return _memory("VmRSS", process)


def _memory(name: str, process: int | str = "self") -> int:
    """Bytes of memory of a process, now (`VmRSS`) or at most (`VmHWM`); 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), 0)
