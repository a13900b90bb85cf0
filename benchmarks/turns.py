"""Contestants take turns, so that a drifting machine treats them alike. Nothing here loads TensorFlow."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags

from data_prep.running.processes import default_workers

Step = Callable[[], int]  # does some work and returns the number of samples in it
Ratios = dict[str, float]  # what a benchmark returns, to be compared with other runs of it; more is better


def turn_flags(values: flags.FlagValues, seconds: float = 3.0) -> None:
    """How often contestants take turns, and for how long."""
    flags.DEFINE_integer("rounds", 5, "Turns of each contestant.", 1, flag_values=values)
    flags.DEFINE_float("seconds", seconds, "Length of a turn; half as long again to start up.", 0, flag_values=values)


class Turn(NamedTuple):
    """What a contestant did in one turn, in how much time and how much processor time (all threads)."""

    samples: int
    seconds: float
    processor_seconds: float


def take_turns(contestants: Mapping[str, Callable[[], Step]], *, rounds: int, seconds: float) -> dict[str, list[Turn]]:
    """Lets each contestant work for about `seconds`, in turn, `rounds` times.

    Args:
        contestants: name → function that gets ready and returns the step to repeat. What a step holds, such as the
            threads of an iterator, ends with the turn, so that nothing works ahead during another's.
        rounds: turns of each.
        seconds: of a turn; half as many come before it, uncounted: start-up, compilation, filling of buffers.
    """
    turns = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, make_step in contestants.items():
            step = make_step()
            _repeat(step, seconds / 2)
            turns[name].append(_repeat(step, seconds))
            del step
    return turns


def _repeat(step: Step, seconds: float) -> Turn:
    samples, start, processor_start = 0, time.perf_counter(), time.process_time()
    while True:
        samples += step()
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return Turn(samples, elapsed, time.process_time() - processor_start)


def rates(turns: list[Turn]) -> np.ndarray:
    """Samples per second of each turn."""
    return np.array([turn.samples / turn.seconds for turn in turns])


def processor_seconds(turns: list[Turn]) -> np.ndarray:
    """Processor seconds per sample of each turn: less at the mercy of other programs than `rates`."""
    return np.array([turn.processor_seconds / turn.samples for turn in turns])


def print_ratio(turns: Mapping[str, list[Turn]], name: str, other: str) -> Ratios:
    """Prints how much faster `name` is than `other`, the median over the rounds; returns it by processor time."""
    by_time = np.median(rates(turns[name]) / rates(turns[other]))
    by_processor = np.median(processor_seconds(turns[other]) / processor_seconds(turns[name]))
    print(f"{name} / {other}: {by_time:.2f} × the samples per second, {by_processor:.2f} per processor second")
    return {f"{name} / {other}": float(by_processor)}


def print_turns(turns: Mapping[str, list[Turn]]) -> None:
    """Prints median, lowest and highest rate of each contestant and what a sample costs the processor."""
    width = max(map(len, turns))
    print(f"{'':{width}}  samples/s: median      min      max   processor ms/sample")
    for name, own in turns.items():
        rate = rates(own)
        cost = 1000 * np.median(processor_seconds(own))
        print(f"{name:{width}}  {np.median(rate):17.2f} {rate.min():8.2f} {rate.max():8.2f} {cost:21.2f}")


def own_process(**environment: str) -> ProcessPoolExecutor:
    """A process that starts anew, with changes to its environment, and stays: what a function caches is there again."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_set, initargs=(environment,))


def _set(environment: Mapping[str, str]) -> None:
    os.environ.update(environment)


def peak_megabytes() -> float:
    """The largest resident memory of this process; `getrusage` counts that of the process that started it as well."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> str:
    """One line on what the figures were measured with."""
    software = f"TensorFlow {version('tensorflow')}, Python {platform.python_version()}, commit {_commit()}"
    return f"{_processor()}, {default_workers()} cores, {software}"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    have = set(facts.get("flags", "").split())
    extensions = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in have]
    return f"{facts.get('model name', 'unknown processor')} ({' '.join(extensions)})"
