"""How well the preparation of records uses several cores, on rendered clips.

    python -m benchmarks.parallel

The same records are made with one process and with several, in turn; the efficiency is the ratio of their videos per
second divided by the number of processes. Starting the processes, which a long run does once, is left out: the first
quarter of the videos is not counted; how long the first took is printed. So is the largest memory of a process, at a
quarter of the videos and at all of them, as it must not grow with the data set.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags

from benchmarks.turns import Ratios, peak_megabytes
from data_prep.flow.settings import preset_settings
from data_prep.raw.base import RawVideo
from data_prep.raw.nwucla import list_videos
from data_prep.running.processes import default_workers, run_parallel
from data_prep.synthetic.clip_id import parse_clip_id
from data_prep.synthetic.demo_skeletons import demo_clip_ids, demo_skeletons
from data_prep.synthetic.rendering.clip import write_clip
from data_prep.video.record import VideoSettings, make_record
from dmcl_tf.errors import run_script
from dmcl_tf.files import remove


class Done(NamedTuple):
    """When a record was done, and the largest memory of its process until then."""

    seconds: float
    megabytes: float


def timed(video: RawVideo, *, settings: VideoSettings, directory: Path) -> Done:
    """Makes one record."""
    make_record(video, settings=settings, directory=directory)
    return Done(time.monotonic(), peak_megabytes())


def measure(
    videos: Sequence[RawVideo], settings: VideoSettings, directory: Path, *, workers: int
) -> tuple[float, float, float]:
    """Returns seconds of steady work per video, seconds until the first was done, and the largest memory in MB.

    The first videos, as many as keep all processes busy while they start, are not counted.
    """
    remove(directory)
    begin = time.monotonic()
    work = partial(timed, settings=settings, directory=directory)
    done = list(run_parallel(work, videos, workers=workers, description=""))
    moments = np.sort([entry.seconds for entry in done])
    head = len(videos) // 4
    seconds = (moments[-1] - moments[head - 1]) / (len(videos) - head)
    return seconds, moments[0] - begin, max(entry.megabytes for entry in done)


def render(folder: Path, *, size: int, clips: int, count: int) -> list[RawVideo]:
    """Renders some clips and returns `count` videos of them, the same over and over under other names."""
    for clip_id in demo_clip_ids(subjects=1)[:clips]:
        write_clip(demo_skeletons(clip_id), clip_id, folder / parse_clip_id(clip_id).folder, size=size)
    videos = list_videos(folder).videos
    return [dataclasses.replace(videos[index % len(videos)], video_id=f"{index:06d}") for index in range(count)]


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("size", 80, "Height and width of the frames.", 16, flag_values=flag_values)
    flags.DEFINE_integer("clips", 10, "Rendered clips, which are worked on over and over.", 1, flag_values=flag_values)
    flags.DEFINE_integer("items", 48, "Records to make.", 4, flag_values=flag_values)
    flags.DEFINE_integer("rounds", 3, "Turns of each number of processes.", 1, flag_values=flag_values)
    flags.DEFINE_integer("processes", 2, "Processes to compare with one.", 2, flag_values=flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns the efficiency."""
    root = Path(tempfile.mkdtemp(prefix="parallel-"))
    settings = VideoSettings(("rgb", "depth", "flow"), values.size, flow=preset_settings("tvl1", "fast"))
    print(f"{values.items} records at {values.size}², {values.rounds} rounds, {default_workers()} cores")
    print(f"{'':10}{'videos/s: 1':>12}{values.processes:>8}   efficiency: median, best   first item   MB: quarter, all")
    try:
        videos = render(root / "raw", size=values.size, clips=values.clips, count=values.items)
        _, _, little = measure(videos[: len(videos) // 4], settings, root / "records", workers=values.processes)
        seconds: dict[int, list[float]] = {1: [], values.processes: []}
        for _ in range(values.rounds):
            for workers in seconds:
                taken, first, memory = measure(videos, settings, root / "records", workers=workers)
                seconds[workers].append(taken)
        ones, many = (np.array(own) for own in seconds.values())
        efficiency = ones / many / values.processes
        best = ones.min() / many.min() / values.processes
        print(
            f"{'records':10}{1 / np.median(ones):12.2f}{1 / np.median(many):8.2f}{np.median(efficiency):21.2f}"
            f"{best:8.2f}{first:10.1f} s{little:10.0f}{memory:6.0f}"
        )
        return {f"speed of {values.processes} processes / {values.processes} × the speed of one": float(best)}
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
