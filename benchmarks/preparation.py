"""Where the time of preparation goes: decoding, resizing, optical flow, encoding and writing.

    python -m benchmarks.preparation --size=256
    python -m benchmarks.preparation --size=256 --video=S001C001P001R001A001_rgb.avi

Makes the records of clips rendered in the layout of NW-UCLA, or of one video file, in this process, and measures the
processor time of each part, without that of the parts that it calls: frames are decoded as they are asked for.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import cv2
from absl import flags

from benchmarks.parallel import render
from benchmarks.turns import Ratios, machine
from data_prep.flow.settings import preset_settings
from data_prep.raw.base import RawVideo
from data_prep.video import record
from data_prep.video.sources import VideoFile
from dmcl_tf.errors import InputError, run_script

DECODE, RESIZE, FLOW, ENCODE, WRITE, REST = "decode", "resize", "flow", "encode as JPEG", "write", "rest"


class Clock:
    """Processor seconds of each part, those of parts within it left out."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._parts, self._since = [REST], time.process_time()

    def _charge(self) -> None:
        now = time.process_time()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now

    @contextmanager
    def _within(self, part: str) -> Iterator[None]:
        self._charge()
        self._parts.append(part)
        try:
            yield
        finally:
            self._charge()
            self._parts.pop()

    def function(self, part: str, function: Callable) -> Callable:
        """The same function, on the clock."""

        def timed(*args, **kwargs):
            with self._within(part):
                return function(*args, **kwargs)

        return timed

    def iterator(self, part: str, iterable: Iterable) -> Iterator:
        """The same elements; what it takes to get each is on the clock."""
        take, elements, end = self.function(part, next), iter(iterable), object()
        while (element := take(elements, end)) is not end:
            yield element


@contextmanager
def on_the_clock(clock: Clock) -> Iterator[None]:
    """The parts of `data_prep.video.record`, on a clock."""
    reader, compute = record.AlignedReader, record.compute_flow

    class TimedReader(reader):
        def __iter__(self):
            return clock.iterator(DECODE, super().__iter__())

    parts = {
        "encode_depth": RESIZE,
        "resize": RESIZE,
        "encode_flow": FLOW,
        "encode_jpeg": ENCODE,
        "fingerprint": WRITE,
        "encode_video": WRITE,
        "write_record": WRITE,
        "_read_row": WRITE,
    }
    with ExitStack() as stack:
        for name, part in parts.items():
            function = clock.function(part, getattr(record, name))
            stack.enter_context(mock.patch.object(record, name, function))
        stack.enter_context(mock.patch.object(record, "AlignedReader", TimedReader))
        stack.enter_context(
            mock.patch.object(record, "compute_flow", lambda *args: clock.iterator(FLOW, compute(*args)))
        )
        yield


def measure(videos: list[RawVideo], settings: record.VideoSettings, directory: Path) -> tuple[Clock, int]:
    """Makes all records; returns the clock, and how many frames of one modality they hold."""
    directory.mkdir()
    clock, frames = Clock(), 0
    with on_the_clock(clock):
        for video in videos:
            made = clock.function(REST, record.make_record)(video, settings=settings, directory=directory)
            if not isinstance(made, record.Video):
                raise InputError(made.reason)
            frames += made.frames
    shutil.rmtree(directory)
    return clock, frames


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("size", 80, "Height and width of the frames.", 16, flag_values=flag_values)
    flags.DEFINE_integer("clips", 6, "Rendered clips.", 1, flag_values=flag_values)
    flags.DEFINE_string("video", None, "A video file instead of them.", flag_values=flag_values)
    flags.DEFINE_enum("preset", "default", ["default", "fast"], "Of optical flow.", flag_values=flag_values)
    flags.DEFINE_integer("rounds", 3, "How often; the median counts.", 1, flag_values=flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns the share of decoding and encoding."""
    cv2.setNumThreads(1)
    root = Path(tempfile.mkdtemp(prefix="preparation-"))
    try:
        if values.video:
            videos, modalities = [RawVideo("video", "", {"rgb": VideoFile(Path(values.video))})], ("rgb", "flow")
        else:
            videos = render(root / "raw", size=values.size, clips=values.clips, count=values.clips)
            modalities = ("rgb", "depth", "flow")
        settings = record.VideoSettings(modalities, values.size, flow=preset_settings("tvl1", values.preset))
        measure(videos[:1], settings, root / "records")  # compiles or loads what it needs
        runs = [measure(videos, settings, root / "records") for _ in range(values.rounds)]
    finally:
        shutil.rmtree(root)
    clock, frames = sorted(runs, key=lambda run: sum(run[0].seconds.values()))[len(runs) // 2]
    total = sum(clock.seconds.values())
    print(machine())
    print(f"{len(videos)} videos of {frames} frames, {', '.join(modalities)}, {values.size}², tvl1 {values.preset}")
    for part in (DECODE, RESIZE, FLOW, ENCODE, WRITE, REST):
        taken = clock.seconds[part]
        print(f"{part:16}{1000 * taken / frames:8.2f} processor ms per frame{100 * taken / total:8.1f} %")
    print(f"{'all':16}{1000 * total / frames:8.2f} processor ms per frame")
    share = (clock.seconds[DECODE] + clock.seconds[ENCODE]) / total
    print(f"decoding and encoding: {100 * share:.1f} % of all")
    return {f"{DECODE}, {ENCODE} / all": share}


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
