"""What a cluster's scheduler does to parts of a preparation: any order, two at a time, some killed, some run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SLOTS = 2  # processes at a time


def run_parts(
    command: Callable[[str], list[str]], parts: int, *, kills: int, twice: int, longest: float, seed: int, log: Path
) -> int:
    """Runs all parts, some of them twice, until each has come to its end; returns how many were killed: `kills`.

    Args:
        command: the command line of `--part=k/n`.
        parts: n.
        kills: how many processes are killed, with all that they started, and queued again.
        twice: how many parts are queued a second time, right behind the first.
        longest: seconds within which a process is killed.
        seed: of the order, and of what is killed when.
        log: a file that takes what all say.

    Raises:
        RuntimeError: a part did not end well.
    """
    random = np.random.RandomState(seed)
    queue = [f"{k + 1}/{parts}" for k in random.permutation(parts)]
    for part in random.choice(queue, twice, replace=False):
        queue.insert(queue.index(part), str(part))
    running: dict[subprocess.Popen, tuple[str, float]] = {}  # the part, and when it is killed
    killed = 0
    with log.open("w") as said:
        while queue or running:
            while queue and len(running) < SLOTS:
                part = queue.pop(0)
                process = subprocess.Popen(command(part), cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
                kill = killed + sum(end < np.inf for _, end in running.values()) < kills
                running[process] = part, time.monotonic() + random.uniform(0.2, longest) if kill else np.inf
            for process, (part, end) in list(running.items()):
                if process.poll() is None and time.monotonic() < end:
                    continue
                del running[process]
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    killed += 1
                    queue.insert(random.randint(len(queue) + 1), part)
                elif process.returncode:
                    raise RuntimeError(f"part {part} ended with {process.returncode}: {log.read_text()[-500:]}")
                elif end < np.inf:  # was to be killed, and came to its end before
                    longest *= 0.8
                    if not queue:
                        queue.append(part)
            time.sleep(0.02)
    return killed
