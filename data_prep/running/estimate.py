"""What the preparation of a data set will cost, and reading it in training, projected from a sample of its videos."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from data_prep.raw.base import RawVideo
from data_prep.running.disk import readable
from data_prep.video.alignment import AlignedReader
from data_prep.video.given_flow import accept_given_flow
from data_prep.video.record import FLOW, VideoSettings, make_encoders, record_video
from dmcl_tf.errors import InputError

SAMPLE = 20  # videos
BANDWIDTH = 1e9  # bytes per second of a file server on a network of 10 Gbit/s, the example of the projection


@dataclass(frozen=True)
class Costs:
    """What a video costs, the mean over a sample.

    Attributes:
        videos: in the data set.
        sampled: of which the means are.
        frames: of a video.
        seconds: processor time of one core by work: `decode`, `resize`, `jpeg` and, where it is computed, `flow`.
        bytes: of a record.
    """

    videos: int
    sampled: int
    frames: float
    seconds: dict[str, float]
    bytes: float

    @property
    def core_hours(self) -> float:
        """Of the whole preparation."""
        return self.videos * sum(self.seconds.values()) / 3600

    def lines(self, batch_size: int) -> list[str]:
        """What a user should know, with the formulas."""
        seconds = sum(self.seconds.values())
        works = ", ".join(f"{work} {value:.3f}" for work, value in self.seconds.items())
        hours = self.core_hours
        return [
            f"sample: {self.sampled} of {self.videos} videos, {self.frames:.0f} frames each in the mean",
            f"processor seconds per video: {seconds:.3f} ({works})",
            f"preparation: {self.videos} × {seconds:.3f} s / 3600 = {hours:.3g} core-hours",
            f"disk: {self.videos} × {readable(self.bytes)} = {readable(self.videos * self.bytes)}",
            f"training: a step of {batch_size} videos reads {batch_size} × {readable(self.bytes)} = "
            f"{readable(batch_size * self.bytes)}, an epoch at most {readable(self.videos * self.bytes)}",
            f"reading is the limit from B / (v × {readable(self.bytes)}) workers on, where the storage gives B bytes/s "
            f"and a worker trains on v videos/s: {BANDWIDTH / (10 * self.bytes):.3g} workers for "
            f"{readable(BANDWIDTH)}/s and 10 videos/s",
        ]


def measure(videos: Sequence[RawVideo], settings: VideoSettings) -> Costs:
    """Makes the records of a sample, spread evenly over the videos, in this process, and writes none of them.

    Each kind of work is the difference of two passes, with it and without.

    Raises:
        InputError: no video of the sample can be used.
    """
    count = min(SAMPLE, len(videos))
    sample = [videos[index * len(videos) // count] for index in range(count)]
    cv2.setNumThreads(1)
    plain = replace(settings, modalities=settings.recorded, flow=None) if settings.computed_flow else settings
    rows, reason = [], ""
    for video in sample:
        try:
            frames, decode = _timed(lambda video=video: _pass(video, plain, resized=False))
            _, resize = _timed(lambda video=video: _pass(video, plain, resized=True))
            made, jpeg = _timed(lambda video=video: record_video(video, plain))
            flow = 0.0
            if settings.computed_flow:
                made, flow = _timed(lambda video=video: record_video(video, settings))
        except Exception as error:  # as the preparation skips it, whatever is wrong with it
            reason = reason or str(error)
            continue
        steps = np.maximum(np.diff([0.0, decode, resize, jpeg, max(flow, jpeg)]), 0)
        rows.append([frames, len(made), *steps])
    if not rows:
        raise InputError(f"no video of the sample can be used; the first: {reason}")
    frames, size, *seconds = np.mean(rows, axis=0)
    works = ("decode", "resize", "jpeg", *((FLOW,) if settings.computed_flow else ()))
    return Costs(len(videos), len(rows), frames, dict(zip(works, map(float, seconds))), size)


def _pass(video: RawVideo, settings: VideoSettings, *, resized: bool) -> int:
    """Reads all frames of a video, and perhaps brings them to their size; returns how many there are."""
    sources, count = accept_given_flow(settings.sources(video)), 0
    encoders = make_encoders(sources, settings)
    for moment in AlignedReader(sources, settings.length_tolerance, settings.limits):
        count += 1
        if resized:
            for modality, frame in moment.items():
                encoders[modality](frame)
    return count


def _timed(work: Callable):
    begin = time.process_time()
    result = work()
    return result, time.process_time() - begin
