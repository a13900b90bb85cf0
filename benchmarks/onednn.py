"""The training step with and without oneDNN, which TensorFlow leaves off on processors without AVX512-VNNI.

    python -m benchmarks.onednn

The choice is made when TensorFlow is loaded, so that each contestant is a process of its own, with one thread; they
take turns. The figures are processor seconds of a compact step of `dmcl` in float32: 16 clips of each modality.
"""

from __future__ import annotations

import statistics

from absl import flags

from benchmarks.turns import Ratios, machine, own_process
from dmcl_tf.errors import run_script

_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def measure(batch_size: int, steps: int) -> float:
    """Processor seconds of a step."""
    from benchmarks import memory  # loads TensorFlow
    from dmcl_tf.config import resolve

    config = resolve("authors", "compact", {"method": "dmcl", "batch_size": batch_size})
    return memory.measure(config, steps).processor_seconds


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("rounds", 5, "Turns of each contestant.", 1, flag_values=flag_values)
    flags.DEFINE_integer("steps", 3, "Training steps in a turn.", 1, flag_values=flag_values)
    flags.DEFINE_integer("batch", 16, "Clips per step.", 1, flag_values=flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns its ratio."""
    seconds: dict[str, list[float]] = {"off": [], "on": []}
    off, on = (own_process(**_ONE_THREAD, TF_ENABLE_ONEDNN_OPTS=value) for value in "01")
    with off, on:
        for _ in range(values.rounds):
            for process, own in zip((off, on), seconds.values()):
                own.append(process.submit(measure, values.batch, values.steps).result())
    print(machine())
    for name, own in seconds.items():
        spread = f"{min(own):.3f} to {max(own):.3f}"
        print(f"oneDNN {name:3}  {statistics.median(own):.3f} processor seconds per step ({spread})")
    ratio = statistics.median(off / on for off, on in zip(*seconds.values()))
    print(f"on / off: {ratio:.2f} × the speed")
    return {"on / off": ratio}


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
