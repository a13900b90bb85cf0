"""Speed and accuracy of the optical-flow presets on rendered clips, whose true flow is known from their geometry.

    python benchmarks/optical_flow.py --size=80

Presets take turns within one process on one core; a preset's time is the median over the rounds. The end-point error
is the mean distance in pixels between computed and true flow: on the body, where things move, and over the whole frame.
Below the table stands what storing the flow as JPEG adds to the error.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.demo_skeletons import demo_clips
from data_prep.frames import encode_jpeg
from data_prep.optical_flow import PRESETS, FlowSettings, bound_in_pixels, decode_flow, encode_flow, make_tvl1
from data_prep.rendering.clip import render, stage, true_flow
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


def storage_error(flows: list[np.ndarray], *, size: int, full_chroma: bool) -> float:
    """Returns the mean distance in pixels between flow and what a decoder gives back from its JPEG."""
    bound = bound_in_pixels(FlowSettings.bound, size, size)
    errors = []
    for flow in flows:
        content = encode_jpeg(encode_flow(flow, bound)[..., ::-1].copy(), FlowSettings.quality, full_chroma=full_chroma)
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        errors.append(np.linalg.norm(decode_flow(image, bound) - np.clip(flow, -bound, bound), axis=-1).mean())
    return float(np.mean(errors))


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("size", 80, "Height and width of the frames.", 16, flag_values=flag_values)
    flags.DEFINE_integer("clips", 10, "Rendered clips.", 1, flag_values=flag_values)
    flags.DEFINE_integer("pairs_per_clip", 3, "Frame pairs of each clip.", 1, flag_values=flag_values)
    flags.DEFINE_integer("rounds", 3, "Turns of each preset.", 1, flag_values=flag_values)


def main() -> None:
    """Runs the presets in turn and prints the table."""
    values = flags.FLAGS
    cv2.setNumThreads(1)
    pairs = rendered_pairs(clips=values.clips, pairs_per_clip=values.pairs_per_clip, size=values.size)
    algorithms = {name: make_tvl1(asdict(parameters)) for name, parameters in PRESETS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in algorithms}
    flows: dict[str, list[np.ndarray]] = {}
    for _ in range(values.rounds):
        for name, algorithm in algorithms.items():
            start = time.process_time()
            flows[name] = [algorithm(first, second) for first, second, _ in pairs]
            seconds[name].append((time.process_time() - start) / len(pairs))
    truth = [true for _, _, true in pairs]
    bodies = [np.any(true != 0, axis=-1) for true in truth]
    still = end_point_errors([np.zeros_like(true) for true in truth], truth, bodies)
    print(
        f"{len(pairs)} frame pairs of {values.clips} rendered clips at {values.size}², one core, {values.rounds} rounds"
    )
    print(f"{'':10}{'pairs/s':>10}{'ratio':>8}   end-point error in pixels: body, whole frame; to default: body, frame")
    for name in algorithms:
        median = float(np.median(seconds[name]))
        ratio = float(np.median(seconds["default"])) / median
        to_truth = end_point_errors(flows[name], truth, bodies)
        to_default = end_point_errors(flows[name], flows["default"], bodies)
        print(f"{name:10}{1 / median:10.1f}{ratio:8.1f}   " + "".join(f"{x:9.3f}" for x in to_truth + to_default))
    print(f"{'no flow':10}{'':21}" + "".join(f"{x:9.3f}" for x in still))
    full, halved = (storage_error(truth, size=values.size, full_chroma=chroma) for chroma in (True, False))
    print(f"storing true flow as JPEG adds {full:.3f} pixels with full chroma (used), {halved:.3f} with halved chroma")


if __name__ == "__main__":
    define_flags()
    run_script(main)
