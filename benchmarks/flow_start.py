"""What compiled flow costs a process: time to compile or to load the code, and memory.

    python -m benchmarks.flow_start

Each line is a process of its own. The first finds an empty cache and compiles, the second loads what the first has
kept; both compute the flow of a pair. Memory is the largest resident one, after imports and after two pairs of a size;
the import alone is that of NumPy, OpenCV and Numba with its compiler, which no process that computes flow can do
without.
"""

from __future__ import annotations

import tempfile
import time
from typing import NamedTuple

from absl import flags

from benchmarks.turns import Ratios, machine, own_process, peak_megabytes
from dmcl_tf.errors import run_script


class Start(NamedTuple):
    """Processor seconds from the first import of Numba on, and the largest memory of the process in MB."""

    seconds: float
    megabytes: float


def _start(began: float) -> Start:
    return Start(time.process_time() - began, peak_megabytes())


def imports() -> Start:
    """Loads the libraries alone."""
    began = time.process_time()
    import cv2  # noqa: F401
    import llvmlite.binding
    import numba.core.registry
    import numpy as np  # noqa: F401

    numba.core.registry.cpu_target.target_context.refresh()  # the compiler's own libraries
    llvmlite.binding.initialize_native_target()
    return _start(began)


def flow(algorithm: str, height: int, width: int) -> Start:
    """Computes the flow of two pairs."""
    began = time.process_time()
    import numpy as np

    from data_prep.flow.algorithms import compute_flow
    from data_prep.flow.settings import ALGORITHMS, preset_settings

    frames = np.random.default_rng(0).integers(0, 256, (3, height, width), np.uint8)
    list(compute_flow(frames, ALGORITHMS[algorithm].make(preset_settings(algorithm, "default").parameters)))
    return _start(began)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_list("algorithms", ["tvl1", "brox_liu"], "Compiled ones.", flag_values=flag_values)
    flags.DEFINE_list("sizes", ["64x64", "256x256", "1920x1080"], "Of the frames.", flag_values=flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns how many times as fast loading is as compiling."""
    sizes = [tuple(map(int, reversed(size.split("x")))) for size in values.sizes]
    ratios = {}
    print(machine())
    print(f"{'':34}{'processor s':>12}{'MB':>8}")

    def measured(name, cache, function, *arguments):
        with own_process(NUMBA_CACHE_DIR=cache, OMP_NUM_THREADS="1") as process:
            start = process.submit(function, *arguments).result()
        print(f"{name:34}{start.seconds:12.2f}{start.megabytes:8.0f}", flush=True)
        return start.seconds

    with tempfile.TemporaryDirectory() as cache:
        measured("NumPy, OpenCV and Numba alone", cache, imports)
        for algorithm in values.algorithms:
            compiled = measured(f"{algorithm}: compiled, {values.sizes[0]}", cache, flow, algorithm, *sizes[0])
            loaded = [
                measured(f"{algorithm}: loaded, {name}", cache, flow, algorithm, *size)
                for name, size in zip(values.sizes, sizes)
            ]
            ratios[f"{algorithm}: loaded / compiled"] = compiled / loaded[0]
    return ratios


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
