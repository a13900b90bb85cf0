"""Contestants take turns within one process, so that a drifting machine treats them alike."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import flags

from data_prep.running.processes import default_workers

Step = Callable[[], int]  # does some work and returns the number of samples in it


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


def print_ratio(turns: Mapping[str, list[Turn]], name: str, other: str) -> None:
    """Prints how much faster `name` is than `other`, the median over the rounds."""
    by_time = np.median(rates(turns[name]) / rates(turns[other]))
    by_processor = np.median(processor_seconds(turns[other]) / processor_seconds(turns[name]))
    print(f"{name} / {other}: {by_time:.2f} × the samples per second, {by_processor:.2f} per processor second")


def print_turns(turns: Mapping[str, list[Turn]]) -> None:
    """Prints median, lowest and highest rate of each contestant and what a sample costs the processor."""
    width = max(map(len, turns))
    print(f"{'':{width}}  samples/s: median      min      max   processor ms/sample")
    for name, own in turns.items():
        rate = rates(own)
        cost = 1000 * np.median(processor_seconds(own))
        print(f"{name:{width}}  {np.median(rate):17.2f} {rate.min():8.2f} {rate.max():8.2f} {cost:21.2f}")


def machine() -> str:
    """One line on what the figures were measured with."""
    gpus = len(tf.config.list_physical_devices("GPU"))
    software = f"TensorFlow {tf.__version__}, Python {platform.python_version()}"
    return f"{_processor()}, {default_workers()} cores, {gpus} GPUs, {software}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
