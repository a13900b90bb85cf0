"""Contestants take turns within one process, so that a drifting machine treats them alike."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from data_prep.parallel import default_workers


def rates(contestants: Mapping[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Samples per second of each contestant in each round.

    Args:
        contestants: name → function that does some work and returns the number of samples in it; called once more
            beforehand, to warm up.
        rounds: turns of each.
    """
    measured = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            samples = run()
            measured[name].append(samples / (time.perf_counter() - start))
    return measured


def ratio(measured: Mapping[str, list[float]], name: str, other: str) -> float:
    """Median over the rounds of the rate of `name` divided by that of `other`."""
    return float(np.median(np.divide(measured[name], measured[other])))


def print_rates(measured: Mapping[str, list[float]], unit: str) -> None:
    """Prints median, lowest and highest rate of each contestant."""
    width = max(map(len, measured))
    print(f"{'':{width}}  {'median':>8} {'min':>8} {'max':>8}  {unit}")
    for name, values in measured.items():
        print(f"{name:{width}}  {np.median(values):8.2f} {min(values):8.2f} {max(values):8.2f}")


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
