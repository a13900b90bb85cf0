"""Where the time of `bash run.sh predict --window` goes, and whether it keeps up with a camera.

    python -m benchmarks.predicting

A video of 640×480 is decoded alone; decoded, with the frames that windows need prepared and their flow computed; and
predicted. All read the same file, in turn; a sample is one frame of the video. The networks are those of the samples.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from benchmarks.turns import Ratios, machine, print_turns, rates, take_turns, turn_flags
from data_prep.raw.base import RawVideo
from data_prep.video.sources import open_source
from dmcl_tf.errors import run_script
from workflow.footage import read_moments, video_settings
from workflow.predict import SAMPLES
from workflow.served import find_model, load
from workflow.timeline import read_windows, wanted_by_windows

RATE = 30.0
DECODE, PREPARE, PREDICT = "decode", "decode, prepare, flow", "all, with the networks"


def write_video(path: Path, frames: int) -> None:
    """A texture that moves, of the size and codec that cameras have."""
    random = np.random.RandomState(0)
    texture = cv2.GaussianBlur(random.randint(0, 256, (480, 640, 3)).astype(np.uint8), (0, 0), 3)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE, (640, 480))
    for index in range(frames):
        writer.write(np.roll(texture, 3 * index, axis=1))
    writer.release()


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_string("model", str(SAMPLES / "model"), "exported model", flag_values=flag_values)
    flags.DEFINE_integer("frames", 300, "Frames of the video.", 30, flag_values=flag_values)
    flags.DEFINE_float("window", 2.0, "Seconds of a window.", 0.1, flag_values=flag_values)
    flags.DEFINE_float("stride", 0.5, "Seconds from one window to the next.", 0.1, flag_values=flag_values)
    turn_flags(flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns how many times as fast as a camera's 30 frames per second all of it is."""
    model, exported = find_model(Path(values.model))
    modalities = tuple(name for name in exported.config.modalities if name in ("rgb", "flow"))
    settings, serve = video_settings(exported, modalities, given=("rgb",)), load(model, exported, modalities)
    frames = exported.config.clip_frames
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "video.mp4"
        write_video(path, values.frames)
        source = open_source(path)
        video = RawVideo("video", "", {"rgb": source})
        length, step = round(values.window * RATE), round(values.stride * RATE)
        wanted = wanted_by_windows(length, step, frames)

        def decode():
            return sum(1 for _ in source.frames())

        def prepare():
            for _ in read_moments(video, settings, lambda index: bool(wanted(index))):
                pass
            return values.frames

        def predict():
            windows = {"window": values.window, "stride": values.stride, "frames": frames}
            read_windows(video, settings, serve, rate=RATE, **windows)
            return values.frames

        steps = {DECODE: decode, PREPARE: prepare, PREDICT: predict}
        contestants = {name: (lambda step=step: step) for name, step in steps.items()}
        turns = take_turns(contestants, rounds=values.rounds, seconds=values.seconds)
    print(machine())
    print(f"{'+'.join(modalities)} of 640×480, a window of {values.window:g} s every {values.stride:g} s")
    print_turns(turns)
    seconds = {name: 1000 / np.median(rates(own)) for name, own in turns.items()}
    print(
        f"milliseconds of a frame: {seconds[DECODE]:.2f} decoding, {seconds[PREPARE] - seconds[DECODE]:.2f} preparing "
        f"and flow, {seconds[PREDICT] - seconds[PREPARE]:.2f} networks"
    )
    return {"frames per second of all / 30": float(np.median(rates(turns[PREDICT])) / RATE)}


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
