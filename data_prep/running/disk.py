"""How much disk space frames and records will take, predicted from a sample, before the work begins."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.video.extract_video import ExtractedVideo
from dmcl_tf.errors import InputError

SAMPLE = 4  # videos


@dataclass(frozen=True)
class VideoSize:
    """Bytes of one video: on the disk as files of frames, and as a record."""

    frames: int
    record: int


def sample(items: Sequence, count: int = SAMPLE) -> list:
    """Returns up to `count` items, spread evenly over the sequence."""
    return [items[index * len(items) // count] for index in range(count)] if len(items) > count else list(items)


def measure(
    folder: Path, video: ExtractedVideo, modalities: Iterable[str], computed: Mapping[str, str] | None = None
) -> VideoSize:
    """Measures the extracted frames of a video.

    Args:
        folder: of its frames.
        video: what it holds.
        modalities: those that records hold.
        computed: modalities that are computed later → those they are computed from, whose size stands for theirs: flow
            images are smaller than the frames they come from.
    """
    frames = record = 0
    for modality in {*modalities, *(path.name for path in folder.iterdir() if path.is_dir())}:
        source = (computed or {}).get(modality, modality)
        sizes = [path.stat() for path in (folder / source).glob("*.jpg")]
        frames += sum(512 * size.st_blocks for size in sizes)
        record += sum(size.st_size for size in sizes) if modality in modalities else 0
    return VideoSize(frames, record)


def predict(sizes: Sequence[VideoSize], *, to_extract: int, to_record: int, at_once: int | None = None) -> VideoSize:
    """Returns the bytes of frames and records that are still to be written, taking the sample for all.

    Args:
        sizes: of the sample.
        to_extract: videos whose frames are not there.
        to_record: videos whose records are not there.
        at_once: where frames are removed shard by shard, the videos of the shards that are written at once: so many
            lie there twice. None: all do, as frames are kept.
    """
    frames = sum(size.frames for size in sizes) / len(sizes)
    record = sum(size.record for size in sizes) / len(sizes)
    twice = to_record if at_once is None else min(at_once, to_record)
    return VideoSize(int(frames * to_extract), int(record * twice))


def check_space(needs: Mapping[Path, int], *, ignore: bool) -> None:
    """Prints what is needed and what is free; folders on the same disk are added up.

    Args:
        needs: bytes by folder.
        ignore: whether to go on where it does not fit.

    Raises:
        InputError: it does not fit.
    """
    by_disk: dict[int, list[Path]] = {}
    for folder in needs:
        by_disk.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    for folders in by_disk.values():
        needed, free = sum(needs[folder] for folder in folders), shutil.disk_usage(_existing(folders[0])).free
        places = " and ".join(str(folder) for folder in folders)
        line = f"about {readable(needed)} are needed in {places}, {readable(free)} are free"
        print(f"disk: {line}")
        if needed > free and not ignore:
            raise InputError(
                f"{line}: free some, choose other folders with --frames_dir and --output, remove frames on the way "
                "with --keep_frames=false, or start all the same with --ignore_disk_space"
            )


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def readable(count: float) -> str:
    """Returns bytes as text, e.g. `1.5 GB`."""
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = min(int(math.log10(max(count, 1)) // 3), len(units) - 1)
    return f"{count / 1000**power:.3g} {units[power]}"
