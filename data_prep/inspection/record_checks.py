"""What is wrong with records: each record by itself, and all of them against `dataset.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from data_prep.inspection.contact_sheets import strip
from data_prep.video.frames import decode_image
from dmcl_tf.data.records import DatasetInfo
from dmcl_tf.errors import InputError

_BLANK_LEVELS = 2  # an image of no more grey levels than decoding noise shows nothing
_MOVING = 3  # so many different frames, and the other modalities cannot all be the same: of two, flow has one


@dataclass(frozen=True)
class Expected:
    """What every record of a data set has to be like."""

    directory: Path
    modalities: tuple[str, ...]
    frame_size: int
    num_classes: int

    @classmethod
    def of(cls, info: DatasetInfo) -> Expected:
        """Reads it from the description of the records."""
        return cls(info.directory, info.modalities, info.frame_size, len(info.class_names))


@dataclass(frozen=True)
class CheckedVideo:
    """One record: what the checks across records need of it."""

    video_id: str
    label: int
    length: int


@dataclass(frozen=True)
class Blank:
    """A modality of a video that shows nothing; `reason` begins with its name, as the warnings of `dataset.json` do."""

    video_id: str
    modality: str
    reason: str


@dataclass(frozen=True)
class CheckedShard:
    """What a shard holds, up to where it can be read.

    Attributes:
        split: which it belongs to.
        name: of the file.
        videos: in order.
        problems: what is wrong, each a line that names the shard and the video.
        blank: modalities that show nothing.
        strips: by label, for the first video of each class: its id and pictures, see `contact_sheets.strip`.
    """

    split: str
    name: str
    videos: list[CheckedVideo] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    blank: list[Blank] = field(default_factory=list)
    strips: dict[int, tuple[str, bytes]] = field(default_factory=dict)


def check_shard(shard: tuple[str, str], *, expected: Expected) -> CheckedShard:
    """Reads a shard, given by split and name, to its end and checks each record by itself."""
    result = CheckedShard(*shard)
    try:
        for position, serialized in enumerate(_read(expected.directory / result.name)):
            where = f"{result.name}: record {position}"
            try:
                example = tf.train.SequenceExample.FromString(serialized)
                _check_record(example, where, expected, result)
            except (DecodeError, InputError) as error:
                result.problems.append(f"{where}: {error}")
    except InputError as error:
        result.problems.append(f"{result.name}: {error}; the {len(result.videos)} videos before that are checked")
    return result


def _read(path: Path) -> Iterator[bytes]:
    try:
        for serialized in tf.data.TFRecordDataset(str(path)):
            yield serialized.numpy()
    except tf.errors.DataLossError:
        raise InputError("it is corrupt or cut off: delete it and run make_tfrecords.py again") from None
    except tf.errors.OpError as error:
        raise InputError(f"it cannot be read ({error.message})") from None


def _check_record(example: tf.train.SequenceExample, where: str, expected: Expected, result: CheckedShard) -> None:
    context = example.context.feature
    missing = [name for name in ("video_id", "label", "length", "height", "width") if name not in context]
    if missing:
        raise InputError(f"it has no {', '.join(missing)}")
    video_id = context["video_id"].bytes_list.value[0].decode(errors="replace")
    label, length, *sides = (context[name].int64_list.value[0] for name in ("label", "length", "height", "width"))
    result.videos.append(CheckedVideo(video_id, label, length))

    def report(problem: str) -> None:
        result.problems.append(f"{result.name}: {video_id}: {problem}")

    if not 0 <= label < expected.num_classes:
        report(f"the label {label} is none of the {expected.num_classes} classes")
    if sides != 2 * [expected.frame_size]:
        report(f"it is said to be {sides[1]}×{sides[0]} pixels, but dataset.json says {expected.frame_size}²")
    lists = example.feature_lists.feature_list
    if set(lists) != set(expected.modalities):
        report(f"it has the modalities {', '.join(sorted(lists))}, expected {', '.join(sorted(expected.modalities))}")
    contents: dict[str, list[bytes]] = {}
    for modality in expected.modalities:
        if modality not in lists:
            continue
        contents[modality] = [feature.bytes_list.value[0] for feature in lists[modality].feature]
        if len(contents[modality]) != length:
            report(f"{modality} has {len(contents[modality])} frames, but its length is {length}")
    blank = {modality: _check_frames(modality, frames, expected, report) for modality, frames in contents.items()}
    result.blank.extend(_shows_nothing(video_id, contents, blank))
    if label not in result.strips:
        result.strips[label] = (video_id, strip(contents))


def _check_frames(modality: str, contents: Sequence[bytes], expected: Expected, report) -> bool:
    """Decodes every frame; returns whether all that can be decoded are of one level."""
    blank = True
    for index, content in enumerate(contents):
        try:
            image = decode_image(content)
            if not content.startswith(b"\xff\xd8"):
                raise InputError("not a JPEG image")
        except InputError as error:
            report(f"{modality}, frame {index}: {error}")
            continue
        if image.shape[:2] != (expected.frame_size, expected.frame_size):
            report(f"{modality}, frame {index}: {image.shape[1]}×{image.shape[0]} pixels, not {expected.frame_size}²")
        blank = blank and int(np.ptp(image, axis=(0, 1)).max()) <= _BLANK_LEVELS
    return blank


def _shows_nothing(video_id: str, contents: Mapping[str, Sequence[bytes]], blank: Mapping[str, bool]) -> list[Blank]:
    """The modalities that are blank, or stand still while another moves; a video of one frame has no flow to show."""
    different = {modality: len(set(frames)) for modality, frames in contents.items()}
    result = []
    for modality in contents:
        others = max((count for other, count in different.items() if other not in (modality, "flow")), default=0)
        if blank[modality] and not (modality == "flow" and others == 1):
            result.append(Blank(video_id, modality, f"{modality} is blank: every frame is of one grey level"))
        elif different[modality] == 1 and others >= _MOVING:
            result.append(Blank(video_id, modality, f"{modality} is constant: every frame is the same"))
    return result


def check_files(info: DatasetInfo) -> tuple[list[tuple[str, str]], list[str]]:
    """Returns split and name of the shards that are there, and what is wrong with the folder."""
    present, problems = [], []
    for split, shards in info.shards.items():
        for shard in shards:
            path = info.directory / shard.name
            if not path.is_file():
                problems.append(f"{shard.name}: missing; run make_tfrecords.py again")
                continue
            present.append((split, shard.name))
            size = path.stat().st_size
            if size != shard.bytes:
                problems.append(f"{shard.name}: it has {size} bytes, but dataset.json says {shard.bytes}")
    listed = {shard.name for shards in info.shards.values() for shard in shards}
    for path in sorted(info.directory.glob("*.tfrecord")):
        if path.name not in listed:
            problems.append(f"{path.name}: dataset.json does not list it; delete it")
    return present, problems


def check_across(info: DatasetInfo, shards: Iterable[CheckedShard]) -> list[str]:
    """What is wrong with the records as a whole: counts, videos in two places, splits that share, clips."""
    shards = sorted(shards, key=lambda shard: shard.name)
    problems = []
    promised = {shard.name: shard.videos for members in info.shards.values() for shard in members}
    for shard in shards:
        if len(shard.videos) != promised[shard.name]:
            problems.append(f"{shard.name}: {len(shard.videos)} videos, but dataset.json says {promised[shard.name]}")
    places: dict[str, str] = {}
    for shard in shards:
        for video in shard.videos:
            if video.video_id in places:
                problems.append(f"{shard.name}: {video.video_id} is in {places[video.video_id]} already")
            places.setdefault(video.video_id, shard.name)
    videos = {
        split: {video.video_id: video for shard in shards if shard.split == split for video in shard.videos}
        for split in info.shards
    }
    problems += [*_count_problems(info, videos), *_clip_problems(info, videos), *_apart_problems(info, videos)]
    return problems


Videos = Mapping[str, Mapping[str, CheckedVideo]]  # by split and video id


def _count_problems(info: DatasetInfo, videos: Videos) -> Iterator[str]:
    for split, promised in info.counts.items():
        found = Counter(video.label for video in videos.get(split, {}).values())
        for label, name in enumerate(info.class_names):
            if found[label] != promised.get(name, 0):
                yield f"{split}: {found[label]} videos of {name!r}, but dataset.json says {promised.get(name, 0)}"


def _clip_problems(info: DatasetInfo, videos: Videos) -> Iterator[str]:
    for split in ("validation", "test"):
        clips = info.clips.get(split, {})
        for video_id in sorted(clips.keys() ^ videos[split].keys()):
            reason = "has no record" if video_id in clips else "has no fixed clips"
            yield f"{split}: {video_id} {reason}"
        for video_id in sorted(clips.keys() & videos[split].keys()):
            length, indices = videos[split][video_id].length, np.asarray(clips[video_id])
            if indices.ndim != 2 or not indices.size:
                yield f"{split}: the clips of {video_id} are no lists of frame indices"
            elif indices.min() < 0 or indices.max() >= length:
                yield (
                    f"{split}: the clips of {video_id} ask for frames {indices.min()} … {indices.max()} of {length}, "
                    "counted from 0"
                )
            elif (np.diff(indices, axis=1) < 0).any():
                yield f"{split}: a clip of {video_id} goes back in time"


def _apart_problems(info: DatasetInfo, videos: Videos) -> Iterator[str]:
    if not info.apart:
        return
    seen: dict[str, str] = {}
    for split in ("train", "validation"):
        for video_id in sorted(videos[split]):
            seen.setdefault(info.apart.get(split, {}).get(video_id, ""), f"{split}: {video_id}")
    for video_id in sorted(videos["test"]):
        value = info.apart.get("test", {}).get(video_id, "")
        if value in seen:
            shared = f"shares {value} with" if value else "has no view or subject in dataset.json, nor has"
            yield f"test: {video_id} {shared} {seen[value]}, which the protocol keeps apart"
