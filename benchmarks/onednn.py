"""The training step with and without oneDNN, which TensorFlow leaves off on processors without AVX512-VNNI.

    python -m benchmarks.onednn

The choice is made when TensorFlow is loaded, so that each contestant is a process of its own, with one thread; they
take turns. The figures are processor seconds of a compact step of `dmcl` in float32: 16 clips of each modality.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time

from absl import flags

from dmcl_tf.errors import run_script


def _contestant(connection) -> None:
    from benchmarks.train_step import random_batch, training_step
    from dmcl_tf.config import resolve
    from dmcl_tf.networks.ensemble import make_ensemble

    config = resolve("authors", "compact", {"method": "dmcl"})
    batch = random_batch(config)
    step = training_step(make_ensemble(config, 10), config)
    float(step(batch)["loss"])  # compiles
    while True:
        connection.send("ready")
        try:
            steps = connection.recv()
        except EOFError:
            return
        start = time.process_time()
        for _ in range(steps):
            float(step(batch)["loss"])  # waits for the end
        connection.send((time.process_time() - start) / steps)


def _start(value: str):
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    os.environ.update(threads, TF_ENABLE_ONEDNN_OPTS=value, TF_CPP_MIN_LOG_LEVEL="3")
    context = multiprocessing.get_context("spawn")
    connection, other_end = context.Pipe()
    context.Process(target=_contestant, args=(other_end,), daemon=True).start()
    other_end.close()
    connection.recv()  # ready
    return connection


def compare(rounds: int, steps: int) -> dict[str, list[float]]:
    """Processor seconds per step of each round, without ("off") and with ("on") oneDNN."""
    contestants = {"off": _start("0"), "on": _start("1")}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, connection in contestants.items():
            connection.send(steps)
            seconds[name].append(connection.recv())
            connection.recv()  # ready
    return seconds


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("rounds", 5, "Turns of each contestant.", 1, flag_values=flag_values)
    flags.DEFINE_integer("steps", 3, "Training steps in a turn.", 1, flag_values=flag_values)


def main() -> None:
    """Runs the benchmark and prints the table."""
    values = flags.FLAGS
    seconds = compare(values.rounds, values.steps)
    from benchmarks.turns import machine  # loads TensorFlow

    print(machine())
    for name, turns in seconds.items():
        spread = f"{min(turns):.3f} to {max(turns):.3f}"
        print(f"oneDNN {name:3}  {statistics.median(turns):.3f} processor seconds per step ({spread})")
    ratio = statistics.median(off / on for off, on in zip(seconds["off"], seconds["on"]))
    print(f"off / on: {ratio:.2f}")


if __name__ == "__main__":
    define_flags()
    run_script(main)
