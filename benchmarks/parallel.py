"""How well frames, optical flow and records use several cores, on rendered clips.

    python -m benchmarks.parallel

Each stage does the same work with one process and with several, in turn; the efficiency is the ratio of their items per
second divided by the number of processes. An item is all the clips (frames), one clip (flow), or a shard of 64 videos
(records). Starting the processes, which a long run does once, is left out: the first quarter of the items is not
counted; how long the first took is printed. So is the largest memory of a process, at a quarter of the items and at all
of them, as it must not grow with the data set.
"""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from data_prep.video.extract_video import ExtractedVideo, FrameSettings, extract_video

from data_prep.extract_flow import extract_video_flow
from data_prep.flow.settings import preset_settings
from data_prep.raw.base import Video
from data_prep.raw.nwucla import list_videos
from data_prep.running.processes import default_workers, run_parallel
from data_prep.synthetic.clip_id import parse_clip_id
from data_prep.synthetic.demo_skeletons import demo_clips
from data_prep.synthetic.rendering.clip import write_clip
from dmcl_tf.errors import run_script
from dmcl_tf.files import remove

_MODALITIES = ("rgb", "depth", "flow")
_STAGES = ("frames", "flow", "records")


class Done(NamedTuple):
    """When an item was done, and the largest memory of its process until then."""

    seconds: float
    kilobytes: int


def timed(work: Callable[[Path], None], item: Path) -> Done:
    """Does the work on one item."""
    work(item)
    return Done(time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def make_frames(folder: Path, *, videos: Sequence[Video], size: int) -> None:
    """Extracts all the videos into the folder."""
    for video in videos:
        extract_video(video, frames_dir=folder, settings=FrameSettings("demo", size))


def make_flow(folder: Path, *, videos: Sequence[Video]) -> None:
    """Computes the flow of one of them."""
    extract_video_flow(
        folder / videos[int(folder.name) % len(videos)].video_id, settings=preset_settings("tvl1", "fast")
    )


def make_records(folder: Path, *, videos: Sequence[Video], size: int) -> None:
    """Writes a shard of that one, many times over."""
    from data_prep.shards import write_shard

    video = videos[int(folder.name) % len(videos)]
    length = len(list((folder / video.video_id / "rgb").iterdir()))
    members = [ExtractedVideo(video.video_id, 0, length, length, "")] * 64
    write_shard(("shard", members), frames_dir=folder, output=folder, modalities=_MODALITIES, size=size)


def measure(work: Callable[[Path], None], folders: Sequence[Path], *, workers: int) -> tuple[float, float, int]:
    """Returns seconds of steady work, seconds until the first item was done, and the largest memory in kB.

    The first items, as many as keep all processes busy while they start, are not counted.
    """
    begin = time.monotonic()
    done = list(run_parallel(partial(timed, work), folders, workers=workers, description="", unit="item"))
    moments = np.sort([entry.seconds for entry in done])
    first = moments[0] - begin
    head = len(folders) // 4
    seconds = (moments[-1] - moments[head - 1]) / (len(folders) - head)
    return seconds, first, max(entry.kilobytes for entry in done)


def prepare(root: Path, *, size: int, clips: int, items: int) -> Iterator[tuple[str, Callable, list[Path]]]:
    """Renders the clips and yields name, work and items of each stage; a stage needs the one before."""
    for clip_id, skeletons in islice(demo_clips(subjects=1), clips):
        write_clip(skeletons, clip_id, root / "raw" / parse_clip_id(clip_id).folder, size=size)
    videos = list_videos(root / "raw").videos
    folders = [root / "frames" / str(index) for index in range(items)]
    yield "frames", partial(make_frames, videos=videos, size=size), folders
    yield "flow", partial(make_flow, videos=videos), folders
    yield "records", partial(make_records, videos=videos, size=size), folders


def forget(stage: str, folders: Sequence[Path]) -> None:
    """Removes what a stage made, so that it can be made again."""
    for folder in folders:
        for path in {"frames": [folder], "flow": list(folder.glob("*/flow")), "records": [folder / "shard"]}[stage]:
            remove(path)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("size", 80, "Height and width of the frames.", 16, flag_values=flag_values)
    flags.DEFINE_integer("clips", 10, "Rendered clips, which are worked on over and over.", 1, flag_values=flag_values)
    flags.DEFINE_integer("items", 48, "Pieces of work of each stage: clips, or shards.", 4, flag_values=flag_values)
    flags.DEFINE_integer("rounds", 3, "Turns of each number of processes.", 1, flag_values=flag_values)
    flags.DEFINE_enum("last", "records", _STAGES, "The stage to end with.", flag_values=flag_values)
    flags.DEFINE_integer("processes", 2, "Processes to compare with one.", 2, flag_values=flag_values)


def main() -> None:
    """Measures each stage and prints the table."""
    values = flags.FLAGS
    root = Path(tempfile.mkdtemp(prefix="parallel-"))
    print(f"{values.items} items of each stage at {values.size}², {values.rounds} rounds, {default_workers()} cores")
    print(f"{'':10}{'items/s: 1':>12}{values.processes:>8}   efficiency: median, best   first item   MB: quarter, all")
    try:
        stages = prepare(root, size=values.size, clips=values.clips, items=values.items)
        for stage, work, folders in islice(stages, 1 + _STAGES.index(values.last)):
            seconds: dict[int, list[float]] = {1: [], values.processes: []}
            forget(stage, folders)
            _, _, little = measure(work, folders[: len(folders) // 4], workers=values.processes)
            for _ in range(values.rounds):
                for workers in seconds:
                    forget(stage, folders)
                    taken, first, memory = measure(work, folders, workers=workers)
                    seconds[workers].append(taken)
            ones, many = (np.array(own) for own in seconds.values())
            efficiency = ones / many / values.processes
            best = ones.min() / many.min() / values.processes
            print(
                f"{stage:10}{1 / np.median(ones):12.2f}{1 / np.median(many):8.2f}{np.median(efficiency):21.2f}"
                f"{best:8.2f}{first:10.1f} s{little / 1000:10.0f}{memory / 1000:6.0f}"
            )
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    define_flags()
    run_script(main)
