"""The training step under the settings of TensorFlow that dmcl_tf chooses, and under TensorFlow's own.

    python -m benchmarks.environment

- oneDNN, which TensorFlow leaves off on processors without AVX512-VNNI. One thread, processor seconds of a step.
- Threads: operations side by side on one thread each, against operations that spread over all cores. All cores, seconds
  of a step.

TensorFlow reads these once, when it is loaded or computes first, so that each contestant is a process of its own; they
take turns. The step is a compact one of `dmcl` in float32: 16 clips of each modality.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping

from absl import flags

from benchmarks.turns import Ratios, machine, own_process
from dmcl_tf.errors import run_script

_ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
_CONTESTANTS: Mapping[str, Mapping[str, str]] = {
    "oneDNN off": {**_ONE_THREAD, "TF_ENABLE_ONEDNN_OPTS": "0"},
    "oneDNN on": {**_ONE_THREAD, "TF_ENABLE_ONEDNN_OPTS": "1"},
    "threads within operations": {"TF_NUM_INTRAOP_THREADS": "0"},  # 0: as many as there are cores
    "operations side by side": {"TF_NUM_INTRAOP_THREADS": "1"},
}


def measure(batch_size: int, steps: int) -> tuple[float, float]:
    """Processor seconds and seconds of a step."""
    from benchmarks import memory  # loads TensorFlow
    from dmcl_tf.config import resolve

    config = resolve("authors", "compact", {"method": "dmcl", "batch_size": batch_size})
    measured = memory.measure(config, steps)
    return measured.processor_seconds, measured.seconds


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("rounds", 5, "Turns of each contestant.", 1, flag_values=flag_values)
    flags.DEFINE_integer("steps", 3, "Training steps in a turn.", 1, flag_values=flag_values)
    flags.DEFINE_integer("batch", 16, "Clips per step.", 1, flag_values=flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns its ratios."""
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in _CONTESTANTS}
    with contextlib.ExitStack() as stack:
        processes = {
            name: stack.enter_context(own_process(**settings, TF_CPP_MIN_LOG_LEVEL="3"))
            for name, settings in _CONTESTANTS.items()
        }
        for _ in range(values.rounds):
            for name, process in processes.items():
                turns[name].append(process.submit(measure, values.batch, values.steps).result())
    print(machine())
    for name, own in turns.items():
        processor, seconds = (statistics.median(column) for column in zip(*own))
        print(f"{name:26}{processor:7.3f} processor seconds per step, {seconds:.3f} seconds")
    return {
        **_ratio(turns, "oneDNN on", "oneDNN off", column=0),
        **_ratio(turns, "operations side by side", "threads within operations", column=1),
    }


def _ratio(turns: Mapping[str, list[tuple[float, float]]], name: str, other: str, *, column: int) -> Ratios:
    """How many times as fast one is as another, the median over the rounds."""
    ratio = statistics.median(theirs[column] / ours[column] for ours, theirs in zip(turns[name], turns[other]))
    print(f"{name} / {other}: {ratio:.2f} × the speed")
    return {f"{name} / {other}": ratio}


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
