"""Memory and time of a training step with and without `--recompute`.

    python -m benchmarks.memory --size=224 --width=64 --batch=8

Each contestant is a process of its own, whose largest resident memory counts; the two take turns. Without arguments
the networks are compact, where there is little to gain.
"""

from __future__ import annotations

import functools
import time
from typing import NamedTuple

import numpy as np
from absl import flags
from tqdm import tqdm

from benchmarks.train_step import network_flags, network_settings, random_batch, title, training_step
from benchmarks.turns import Ratios, machine, own_process, peak_megabytes
from dmcl_tf.config import Config, resolve
from dmcl_tf.errors import run_script
from dmcl_tf.networks.ensemble import make_ensemble


class Measured(NamedTuple):
    """Largest memory of a process in MB, and its processor seconds and seconds for each training step."""

    megabytes: float
    processor_seconds: float
    seconds: float


@functools.cache
def _step(config: Config):
    batch, step = random_batch(config), training_step(make_ensemble(config, 10), config)
    float(step(batch)["loss"])  # compiles
    return lambda: float(step(batch)["loss"])


def measure(config: Config, steps: int) -> Measured:
    """Takes some steps."""
    step = _step(config)
    start, processor_start = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    processor, taken = time.process_time() - processor_start, time.perf_counter() - start
    return Measured(peak_megabytes(), processor / steps, taken / steps)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    network_flags(flag_values)
    flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Arithmetic.", flag_values=flag_values)
    flags.DEFINE_integer("steps", 3, "Timed steps of each turn.", 1, flag_values=flag_values)
    flags.DEFINE_integer("rounds", 3, "Turns of each.", 1, flag_values=flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns its ratios."""
    settings = {**network_settings(values), "precision": values.precision}
    configs = [resolve("authors", "compact", {**settings, "recompute": recompute}) for recompute in (False, True)]
    turns: list[list[Measured]] = [[], []]
    with own_process() as first, own_process() as second:
        for _ in tqdm(range(values.rounds), desc="measure", unit="round", dynamic_ncols=True):
            for process, config, own in zip((first, second), configs, turns):
                own.append(process.submit(measure, config, values.steps).result())
    print(machine())
    print(title(configs[0]))
    print(f"{'':12}{'MB':>8}{'processor s/step':>20}")
    for name, own in zip(("kept", "recomputed"), turns):
        megabytes, seconds, _ = np.median(own, axis=0)
        print(f"{name:12}{megabytes:8.0f}{seconds:20.3f}")
    memory, taken, _ = np.median(np.array(turns[1]) / np.array(turns[0]), axis=0)
    print(f"recomputed / kept: {memory:.2f} × the memory, {taken:.2f} × the time")
    return {"memory: kept / recomputed": float(1 / memory), "speed: recomputed / kept": float(1 / taken)}


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
