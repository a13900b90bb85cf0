"""What each runtime says, how fast, and how large its file is: python -m benchmarks.runtimes --run_dir=…

Every format that is installed is exported, and its logits are compared with the ensemble's on the clips that the
evaluation takes of the test videos: the largest difference, and how often both name the same class. Latency is of one
clip of one modality, by one and by two threads; the runtimes take turns, and the lowest of their medians counts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.turns import Ratios, machine
from dmcl_tf import serving
from dmcl_tf.config import subset_names
from dmcl_tf.data import pipeline
from dmcl_tf.data.table import Records
from dmcl_tf.errors import run_script
from dmcl_tf.export import ExportSettings, export, read_exported
from dmcl_tf.flag_groups import given_run
from dmcl_tf.formats import FORMATS, missing_modules, open_model
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import RunFolder


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_string("run_dir", None, "folder of a trained run", flag_values=flag_values)
    flags.DEFINE_string("records", None, "folder of its records; default: where they were", flag_values=flag_values)
    flags.DEFINE_list("subsets", None, "subsets to export; default: each modality and all", flag_values=flag_values)
    flags.DEFINE_integer("clips", 2, "Clips of each test video, at most ten.", 1, flag_values=flag_values)
    flags.DEFINE_integer(
        "height", 240, "Height of the frames for latency; width 4/3 of it.", 1, flag_values=flag_values
    )
    flags.DEFINE_integer("rounds", 5, "Turns of each runtime.", 1, flag_values=flag_values)
    flags.DEFINE_integer("calls", 10, "Calls of a turn.", 1, flag_values=flag_values)


def read_clips(folder: RunFolder, records: Records, clips: int) -> dict[str, np.ndarray]:
    """Clips (N, T, H, W, 3) uint8 of the test videos by modality, cropped as in the evaluation."""
    config, parts = folder.load().config, []
    for batch in pipeline.evaluation_dataset(records, folder.splits(records), "test", config, 8).as_numpy_iterator():
        parts.append({name: clip[:, :clips].reshape(-1, *clip.shape[2:]) for name, clip in batch["clips"].items()})
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {name: np.broadcast_to(clip, (*clip.shape[:-1], 3)) for name, clip in joined.items()}


def framed(clips: np.ndarray, config) -> np.ndarray:
    """Clips in a frame of the records' size, whose central crop they are: what a model is given."""
    margin = (config.frame_size - config.crop_size) // 2
    rest = config.frame_size - config.crop_size - margin
    sides = (margin, rest)
    return np.pad(clips, [(0, 0), (0, 0), sides, sides, (0, 0)])


def compare(version: Path, clips: dict[str, np.ndarray], ensemble) -> None:
    """Prints how every file differs from the ensemble."""
    exported = read_exported(version)
    config = exported.config
    given = {name: framed(clip, config) for name, clip in clips.items()}
    said = {
        name: np.concatenate(
            [serving.clip_logits(net, config, part).numpy() for part in np.array_split(given[name], 10)]
        )
        for name, net in ensemble.networks.items()
    }
    print(f"\n{len(next(iter(clips.values())))} clips        largest difference   same class %     MiB")
    for subset in exported.subsets:
        names = subset_names(config.modalities)[subset]
        expected = np.mean([said[name] for name in names], axis=0)
        for path in files_of(version, exported.formats, subset):
            run, logits = open_model(path, 2), []
            for place in range(0, len(expected), 8):
                logits.append(run({name: given[name][place : place + 8] for name in names}))
            got = np.concatenate(logits)
            same = 100 * np.mean(got.argmax(axis=1) == expected.argmax(axis=1))
            parts = (path, path.with_suffix(".bin")) if path.suffix == ".xml" else (path,)
            size = sum(part.stat().st_size for part in parts) / 2**20
            print(f"{path.name:28} {np.abs(got - expected).max():12.1e} {same:14.2f} {size:7.2f}")


def files_of(version: Path, formats: tuple[str, ...], subset: str) -> list[Path]:
    """The files that runtimes are given for one subset."""
    name = subset.replace("+", "_")
    return [version / f"{name}{suffix}" for kind in formats for suffix in FORMATS[kind].files]


def measure(version: Path, clip: np.ndarray, modality: str, rounds: int, calls: int) -> Ratios:
    """Prints the latency of every runtime; returns how many times as fast as the SavedModel each is, by two threads."""
    model = tf.saved_model.load(str(version)).signatures[modality]
    given = {modality: clip}
    print(f"\none clip {clip.shape} of {modality}: milliseconds")
    for threads in (1, 2):
        runs: dict[str, Callable] = {
            path.name: open_model(path, threads) for path in files_of(version, read_exported(version).formats, modality)
        }
        if threads == 2:  # TensorFlow's own number is that of the cores
            runs["SavedModel"] = lambda clips: model(**{n: tf.constant(c) for n, c in clips.items()})["logits"].numpy()
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                run(given)
                turn = []
                for _ in range(calls):
                    start = time.perf_counter()
                    run(given)
                    turn.append(time.perf_counter() - start)
                times[name].append(float(np.median(turn)))
        for name, medians in times.items():
            print(f"{threads} threads  {name:20} {1000 * min(medians):8.2f}")
    best = {name: min(medians) for name, medians in times.items()}
    return {
        f"{name} / SavedModel": best["SavedModel"] / seconds for name, seconds in best.items() if name != "SavedModel"
    }


def main(values: flags.FlagValues) -> Ratios:
    """Prints the tables, and returns the ratios of the latencies."""
    folder = RunFolder(given_run(values))
    run = folder.load()
    formats = tuple(name for name in FORMATS if name != "weights" and not missing_modules(name))
    ensemble = restore_ensemble(folder, "best", precision="float32")
    with tempfile.TemporaryDirectory() as name:
        version = export(
            ExportSettings(folder.directory, Path(name), formats=formats, subsets=tuple(values.subsets or ()))
        )
        print(machine())
        compare(version, read_clips(folder, Records.load(Path(values.records or run.records)), values.clips), ensemble)
        height, frames = values.height, run.config.clip_frames
        clip = np.random.RandomState(0).randint(0, 256, (1, frames, height, height * 4 // 3, 3)).astype(np.uint8)
        return measure(version, clip, run.config.modalities[0], values.rounds, values.calls)


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
