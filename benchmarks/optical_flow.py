"""Speed and accuracy of the optical-flow algorithms on rendered clips, whose true flow is known from their geometry.

    python -m benchmarks.optical_flow --size=80

Algorithms and presets take turns within one process on one core; the time is the median over the rounds. The end-point
error is the mean distance in pixels between computed and true flow: on the body, where things move, and over the whole
frame. Below the table stands what storing the flow as JPEG adds to the error.
"""

from __future__ import annotations

import time
from dataclasses import asdict

import cv2
import numpy as np
from absl import flags

from data_prep.flow.algorithms import ALGORITHMS
from data_prep.flow.encoding import ENCODINGS, bound_in_pixels, decode_flow, encode_flow
from data_prep.flow.settings import FlowSettings
from data_prep.synthetic.demo_skeletons import demo_clips
from data_prep.synthetic.rendering.clip import render, stage, true_flow
from data_prep.video.frames import encode_jpeg
from dmcl_tf.errors import run_script

Pair = tuple[np.ndarray, np.ndarray, np.ndarray]  # two grey frames and the true flow between them


def rendered_pairs(*, clips: int, pairs_per_clip: int, size: int) -> list[Pair]:
    """Renders clips of the demo data set, of as many actions and views as fit, and takes frame pairs from each."""
    available = list(demo_clips(subjects=2))
    pairs = []
    for clip_id, skeletons in available[:: max(1, len(available) // clips)][:clips]:
        clip = stage(skeletons, size, clip_id)
        frames = [cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY) for colour, _ in render(clip)]
        for i in np.linspace(1, len(frames) - 2, pairs_per_clip).astype(int):
            pairs.append((frames[i], frames[i + 1], true_flow(skeletons, int(i), size, clip_id)))
    return pairs


def end_point_errors(flows: list[np.ndarray], references: list[np.ndarray], bodies: list[np.ndarray]) -> list[float]:
    """Returns the mean end-point error in pixels on the body and over the whole frame."""
    distances = [np.linalg.norm(flow - reference, axis=-1) for flow, reference in zip(flows, references)]
    on_body = np.mean([distance[body].mean() for distance, body in zip(distances, bodies) if body.any()])
    return [float(on_body), float(np.mean(distances))]


def storage_error(flows: list[np.ndarray], encoding: str, *, size: int, full_chroma: bool) -> float:
    """Returns the mean distance in pixels between flow and what a decoder gives back from its JPEG."""
    bound = bound_in_pixels(FlowSettings.bound, size, size)
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
    flags.DEFINE_integer("clips", 10, "Rendered clips.", 1, flag_values=flag_values)
    flags.DEFINE_integer("pairs_per_clip", 3, "Frame pairs of each clip.", 1, flag_values=flag_values)
    flags.DEFINE_integer("rounds", 3, "Turns of each algorithm.", 1, flag_values=flag_values)


def main() -> None:
    """Runs the algorithms in turn and prints the table."""
    values = flags.FLAGS
    cv2.setNumThreads(1)
    pairs = rendered_pairs(clips=values.clips, pairs_per_clip=values.pairs_per_clip, size=values.size)
    algorithms = {
        f"{name} {preset}": algorithm.make(asdict(parameters))
        for name, algorithm in ALGORITHMS.items()
        for preset, parameters in algorithm.presets.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in algorithms}
    flows: dict[str, list[np.ndarray]] = {}
    for _ in range(values.rounds):
        for name, algorithm in algorithms.items():
            start = time.process_time()
            flows[name] = [algorithm(first, second) for first, second, _ in pairs]
            seconds[name].append((time.process_time() - start) / len(pairs))
    truth = [true for _, _, true in pairs]
    bodies = [np.any(true != 0, axis=-1) for true in truth]
    print(
        f"{len(pairs)} frame pairs of {values.clips} rendered clips at {values.size}², one core, {values.rounds} rounds"
    )
    print("end-point errors in pixels, on the body and over the whole frame")
    print(f"{'':20}{'pairs/s':>10}   to the truth: body, frame   to tvl1 default: body, frame")
    for name in algorithms:
        rate = 1 / float(np.median(seconds[name]))
        to_truth = end_point_errors(flows[name], truth, bodies)
        to_default = end_point_errors(flows[name], flows["tvl1 default"], bodies)
        print(f"{name:20}{rate:10.1f}{to_truth[0]:21.3f}{to_truth[1]:7.3f}{to_default[0]:24.3f}{to_default[1]:7.3f}")
    still = end_point_errors([np.zeros_like(true) for true in truth], truth, bodies)
    print(f"{'no flow':20}{'':10}{still[0]:21.3f}{still[1]:7.3f}")
    print("what storing true flow as JPEG adds, in pixels, with full chroma (used) and with halved chroma")
    for encoding in ENCODINGS:
        full, halved = (
            storage_error(truth, encoding, size=values.size, full_chroma=full_chroma) for full_chroma in (True, False)
        )
        print(f"{encoding:20}{full:10.3f}{halved:10.3f}")


if __name__ == "__main__":
    define_flags()
    run_script(main)
