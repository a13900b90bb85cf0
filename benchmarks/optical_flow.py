"""Speed and accuracy of the optical-flow algorithms on rendered clips, whose true flow is known from their geometry.

    python -m benchmarks.optical_flow --size=80
    python -m benchmarks.optical_flow --size=1080 --width=1920 --clips=1 --pairs_per_clip=1 --algorithms=tvl1
    python -m benchmarks.optical_flow --pairs=FOLDER

Algorithms and presets take turns within one process on one core; the time is processor time, the median over the
rounds, of a frame pair of a video, whose frames are prepared once. The end-point error is the mean distance in pixels
between computed and true flow: on the body, where things move, and over the whole frame. With `--pairs`, the same for
each image pair `NAME-frame10.png`, `NAME-frame11.png` of a folder, whose true flow is `NAME-flow10.flo` in the format
of Middlebury. Below the table of rendered clips stands what storing the flow as JPEG adds to the error.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from benchmarks.turns import Ratios, machine
from data_prep.flow.algorithms import ALGORITHMS, FlowAlgorithm
from data_prep.flow.encoding import ENCODINGS, bound_in_pixels, decode_flow, encode_flow
from data_prep.flow.settings import FlowSettings
from data_prep.synthetic.demo_skeletons import demo_clip_ids, demo_skeletons
from data_prep.synthetic.rendering.clip import render, stage, true_flow
from data_prep.video.frames import encode_jpeg
from dmcl_tf.errors import InputError, run_script

Pair = tuple[np.ndarray, np.ndarray, np.ndarray]  # two grey frames and the true flow between them, NaN: unknown
REFERENCE = "tvl1_opencv default"


def rendered_pairs(*, clips: int, pairs_per_clip: int, size: int, stride: int = 1) -> list[Pair]:
    """Renders clips of the demo data set, of as many actions and views as fit, and takes frame pairs from each.

    With a stride, people move that many times as fast.
    """
    available = demo_clip_ids(subjects=2)
    pairs = []
    for clip_id in available[:: max(1, len(available) // clips)][:clips]:
        skeletons = demo_skeletons(clip_id)[::stride]
        frames = [cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY) for colour, _ in render(stage(skeletons, size, clip_id))]
        for i in np.linspace(1, len(frames) - 2, pairs_per_clip).astype(int):
            pairs.append((frames[i], frames[i + 1], true_flow(skeletons, int(i), size, clip_id)))
    return pairs


def stretched(pair: Pair, width: int) -> Pair:
    """A pair of another width."""
    first, second, truth = (cv2.resize(part, (width, len(part)), interpolation=cv2.INTER_LINEAR) for part in pair)
    return first, second, truth * np.float32((width / pair[0].shape[1], 1))


def photographed_pairs(folder: Path) -> Iterator[tuple[str, Pair]]:
    """Yields name and frame pair, in the names and the format of the Middlebury benchmark."""
    paths = sorted(folder.glob("*-flow10.flo"))
    if not paths:
        raise InputError(f"--pairs={folder}: no NAME-flow10.flo there")
    for path in paths:
        name = path.name.split("-")[0]
        data = np.fromfile(path, np.float32)
        width, height = data[1:3].view(np.int32)
        truth = data[3:].reshape(height, width, 2)
        first, second = (cv2.imread(str(folder / f"{name}-frame{i}.png"), cv2.IMREAD_GRAYSCALE) for i in (10, 11))
        yield name, (first, second, np.where(np.abs(truth) < 1e9, truth, np.nan))


def take_turns(algorithms: dict[str, FlowAlgorithm], pairs: list[Pair], rounds: int) -> dict[str, tuple[float, list]]:
    """Returns each algorithm's processor milliseconds per pair, and its flows."""
    milliseconds: dict[str, list[float]] = {name: [] for name in algorithms}
    flows = {}
    for algorithm in algorithms.values():  # compiles or loads what it needs
        algorithm.between(*(algorithm.prepare(frame[:64, :64].copy()) for frame in pairs[0][:2]))
    for _ in range(rounds):
        for name, algorithm in algorithms.items():
            seconds, flows[name] = 0.0, []
            for first, second, _ in pairs:
                prepared = algorithm.prepare(first)  # for the pair before it
                start = time.process_time()
                flows[name].append(algorithm.between(prepared, algorithm.prepare(second)))
                seconds += time.process_time() - start
            milliseconds[name].append(1000 * seconds / len(pairs))
    return {name: (float(np.median(milliseconds[name])), flows[name]) for name in algorithms}


def end_point_errors(flows: list[np.ndarray], pairs: list[Pair]) -> tuple[float, float]:
    """Returns the mean end-point error in pixels where things move, and over the whole frame."""
    moving, everywhere = [], []
    for flow, (_, _, truth) in zip(flows, pairs):
        distance = np.linalg.norm(flow - truth, axis=-1)
        body = np.any(np.nan_to_num(truth) != 0, axis=-1)
        everywhere.append(np.nanmean(distance))
        if body.any():
            moving.append(np.nanmean(distance[body]))
    return float(np.mean(moving)), float(np.mean(everywhere))


def print_table(algorithms: dict[str, FlowAlgorithm], pairs: list[Pair], rounds: int) -> Ratios:
    """Prints a line per algorithm, and returns how much faster than the reference each is."""
    results, ratios = take_turns(algorithms, pairs, rounds), {}
    print(f"{'':20}{'ms/pair':>10}{'ratio':>8}{'body':>8}{'frame':>8}")
    for name, (milliseconds, flows) in results.items():
        body, frame = end_point_errors(flows, pairs)
        ratio = ratios[f"{name} / {REFERENCE}"] = results[REFERENCE][0] / milliseconds
        print(f"{name:20}{milliseconds:10.2f}{ratio:8.1f}{body:8.3f}{frame:8.3f}", flush=True)
    body, frame = end_point_errors([np.zeros_like(truth) for _, _, truth in pairs], pairs)
    print(f"{'no flow':20}{'':18}{body:8.3f}{frame:8.3f}")
    del ratios[f"{REFERENCE} / {REFERENCE}"]
    return ratios


def storage_error(flows: list[np.ndarray], encoding: str, *, full_chroma: bool) -> float:
    """Returns the mean distance in pixels between flow and what a decoder gives back from its JPEG."""
    bound = bound_in_pixels(FlowSettings.bound, *flows[0].shape[:2])
    errors = []
    for flow in flows:
        picture = encode_flow(flow, bound, encoding)[..., ::-1].copy()
        content = encode_jpeg(picture, FlowSettings.quality, full_chroma=full_chroma)
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        decoded = decode_flow(image, bound, encoding)
        errors.append(np.linalg.norm(decoded - np.clip(flow, -bound, bound), axis=-1).mean())
    return float(np.mean(errors))


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("size", 80, "Height and width of the frames.", 16, flag_values=flag_values)
    flags.DEFINE_integer("width", None, "Another width, to which they are stretched.", 16, flag_values=flag_values)
    flags.DEFINE_integer("clips", 10, "Rendered clips.", 1, flag_values=flag_values)
    flags.DEFINE_integer("pairs_per_clip", 3, "Frame pairs of each clip.", 1, flag_values=flag_values)
    flags.DEFINE_integer("stride", 1, "People move that many times as fast.", 1, flag_values=flag_values)
    flags.DEFINE_integer("rounds", 3, "Turns of each algorithm.", 1, flag_values=flag_values)
    flags.DEFINE_multi_enum("algorithms", list(ALGORITHMS), ALGORITHMS, "Which.", flag_values=flag_values)
    flags.DEFINE_string("pairs", None, "A folder of image pairs instead of rendered clips.", flag_values=flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Runs the algorithms in turn, prints the tables, and returns the ratios."""
    cv2.setNumThreads(1)
    algorithms = {
        f"{name} {preset}": algorithm.make(asdict(parameters))
        for name, algorithm in ALGORITHMS.items()
        for preset, parameters in algorithm.presets.items()
        if name in values.algorithms or f"{name} {preset}" == REFERENCE
    }
    print(f"{machine()}; one thread, {values.rounds} rounds")
    if values.pairs:
        ratios = {}
        for name, pair in photographed_pairs(Path(values.pairs)):
            print(f"{name}, {pair[0].shape[1]} × {pair[0].shape[0]}")
            own = print_table(algorithms, [pair], values.rounds)
            ratios.update({f"{name}: {key}": ratio for key, ratio in own.items()})
        return ratios
    pairs = rendered_pairs(
        clips=values.clips, pairs_per_clip=values.pairs_per_clip, size=values.size, stride=values.stride
    )
    if values.width:
        pairs = [stretched(pair, values.width) for pair in pairs]
    size = f"{values.width or values.size} × {values.size}"
    print(f"{len(pairs)} frame pairs of {values.clips} rendered clips, {size}")
    ratios = print_table(algorithms, pairs, values.rounds)
    print("what storing true flow as JPEG adds, in pixels, with full chroma (used) and with halved chroma")
    for encoding in ENCODINGS:
        full, halved = (
            storage_error([truth for _, _, truth in pairs], encoding, full_chroma=full_chroma)
            for full_chroma in (True, False)
        )
        print(f"{encoding:20}{full:10.3f}{halved:10.3f}")
    return ratios


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
