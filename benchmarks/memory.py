"""Memory and time of a training step with and without `--recompute`.

    python -m benchmarks.memory --size=224 --width=64 --batch=8

Each measurement is a process of its own, whose largest resident memory counts; the two take turns. Without arguments
the networks are compact, where there is little to gain.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from absl import flags
from tqdm import tqdm

from benchmarks.train_step import random_batch, training_step
from benchmarks.turns import machine
from dmcl_tf.config import VARIANTS, Config, resolve
from dmcl_tf.errors import run_script
from dmcl_tf.networks.ensemble import make_ensemble


class Measured(NamedTuple):
    """Largest memory of a process in MB, and its processor seconds for each training step."""

    megabytes: float
    processor_seconds: float


def measure(config: Config, steps: int) -> Measured:
    """Takes some steps, of which the first is not timed."""
    batch, step = random_batch(config), training_step(make_ensemble(config, 10), config)
    float(step(batch)["loss"])
    start = time.process_time()
    for _ in range(steps):
        float(step(batch)["loss"])
    taken = time.process_time() - start
    return Measured(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, taken / steps)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("size", 64, "Height and width of the clips: 64, 112, 224, …", 16, flag_values=flag_values)
    flags.DEFINE_integer("width", 16, "Channels of the first stage; 64 is full size.", 1, flag_values=flag_values)
    flags.DEFINE_integer("batch", 16, "Clips per step.", 1, flag_values=flag_values)
    flags.DEFINE_enum("variant", "authors", VARIANTS, "The network.", flag_values=flag_values)
    flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Arithmetic.", flag_values=flag_values)
    flags.DEFINE_integer("steps", 3, "Timed steps of each turn.", 1, flag_values=flag_values)
    flags.DEFINE_integer("rounds", 3, "Turns of each.", 1, flag_values=flag_values)


def main() -> None:
    """Prints the table."""
    values = flags.FLAGS
    size = {"crop_size": values.size, "frame_size": values.size, "width": values.width, "batch_size": values.batch}
    size |= {"variant": values.variant, "precision": values.precision}
    spawn, turns = multiprocessing.get_context("spawn"), {False: [], True: []}
    for recompute in tqdm([False, True] * values.rounds, desc="measure", unit="turn", dynamic_ncols=True):
        config = resolve("authors", "compact", {**size, "recompute": recompute})
        with ProcessPoolExecutor(1, mp_context=spawn) as executor:
            turns[recompute].append(executor.submit(measure, config, values.steps).result())
    print(machine())
    print(f"clips of {config.clip_frames}×{values.size}², width {values.width}, batches of {values.batch}")
    print(f"{'':12}{'MB':>8}{'processor s/step':>20}")
    for recompute, name in ((False, "kept"), (True, "recomputed")):
        megabytes, seconds = np.median(turns[recompute], axis=0)
        print(f"{name:12}{megabytes:8.0f}{seconds:20.3f}")
    memory, taken = np.median(np.array(turns[True]) / np.array(turns[False]), axis=0)
    print(f"recomputed / kept: {memory:.2f} × the memory, {taken:.2f} × the time")


if __name__ == "__main__":
    define_flags()
    run_script(main)
