"""A folder of records: `dataset.json` says what they are made of, `videos.csv` lists them, `skipped.csv` what is not.

    records/80/dataset.json
    records/80/videos.csv               video_id, label, subject, view, …, frames, length, bytes, checksum, …
    records/80/skipped.csv              video_id, reason
    records/80/videos/3f/<video_id>.tfrecord

`videos.csv` is written last, so that it is there only when every record is. Neither file says which videos are for
training: that is a protocol's choice, see `dmcl_tf.datasets`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Optional

import msgspec

from dmcl_tf.data.records import REMAKE, masked_checksum, read_record, record_path
from dmcl_tf.errors import InputError
from dmcl_tf.files import check_component, read_bytes, read_json, write_json, write_text

_REMEDY = "make the records with data_prep/make_tfrecords.py"


@dataclass(frozen=True)
class Video:
    """One line of `videos.csv`.

    Attributes:
        video_id: unique in the table.
        label: name of its class.
        frames: moments of the raw video.
        length: frames of each modality in the record; more than `frames` where a short video was padded.
        bytes: size of the record's file.
        checksum: of the record's example, CRC-32C in hexadecimal digits.
        fingerprint: of the raw files and settings that the record was made from.
        grey: the modalities whose every frame has one channel, separated by spaces.
        warnings: what is peculiar about it, separated by " | ".
        attributes: what protocols ask for: subject, view, setup; of own videos also split. Columns of their own.
    """

    video_id: str
    label: str
    frames: int
    length: int
    bytes: int
    checksum: str
    fingerprint: str
    grey: str = ""
    warnings: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


_COLUMNS = tuple(name for name in Video.__dataclass_fields__ if name != "attributes")
_SKIPPED = ("video_id", "reason")


@dataclass(frozen=True)
class Description:
    """`dataset.json`: what all records of a folder have in common.

    Attributes:
        dataset: name of the data set, or of the family of data sets that share the records.
        title: its name in prose.
        origin: where the raw frames came from, in prose.
        class_names: in the order of the labels.
        modalities: the feature lists of every record.
        frame_size: height and width of every frame in pixels.
        jpeg_quality: of every frame.
        depth: the modalities that hold distances, and how these became 8 bits; None without depth.
        flow: algorithm, preset, parameters, bound and encoding of the optical flow; for flow that came with the data
            set the algorithm "given" and its encoding where it is known; None without flow.
        crop: how frames were cut to the person; None where they are whole.
        settings: all else that shapes the records.
        versions: of the packages that made them.
    """

    dataset: str
    title: str
    origin: str
    class_names: tuple[str, ...]
    modalities: tuple[str, ...]
    frame_size: int
    jpeg_quality: int
    depth: Optional[dict[str, object]] = None
    flow: Optional[dict[str, object]] = None
    crop: Optional[dict[str, object]] = None
    settings: dict[str, object] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        check_component(self.dataset, "the data set")
        for kind, names in (("class", self.class_names), ("modality", self.modalities)):
            if not names or len(set(names)) < len(names):
                raise ValueError(f"expected one or more different {kind} names")

    def made_with(self) -> dict[str, object]:
        """What must be equal for records of two preparations to be the same."""
        names = ("modalities", "frame_size", "jpeg_quality", "depth", "flow", "crop", "settings")
        return msgspec.to_builtins({name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Records:
    """A folder of records that is complete.

    Attributes:
        directory: the folder.
        description: `dataset.json`.
        videos: `videos.csv`, in the order of the names.
    """

    directory: Path
    description: Description
    videos: tuple[Video, ...]

    @classmethod
    def load(cls, directory: Path | str) -> Records:
        """Reads `dataset.json` and `videos.csv`; no record is opened.

        Raises:
            InputError: one of them is missing, unreadable or not of this format.
        """
        directory = Path(directory)
        description = read_description(directory)
        return cls(directory, description, read_videos(directory / "videos.csv", description))

    @cached_property
    def by_id(self) -> dict[str, Video]:
        """The videos by name."""
        return {video.video_id: video for video in self.videos}

    @cached_property
    def grey_modalities(self) -> frozenset[str]:
        """The modalities whose every frame has one channel, in all videos."""
        return frozenset(self.description.modalities).intersection(*(video.grey.split() for video in self.videos))

    def path(self, video: Video) -> Path:
        """The file of a video's record."""
        return record_path(self.directory, video.video_id)

    def check(self, modalities: Sequence[str], frame_size: int) -> None:
        """Checks that the records hold all of `modalities` in frames of `frame_size` pixels.

        Raises:
            InputError: they do not; it names what is there, what was asked for and the command that makes it.
        """
        there = self.description
        if set(modalities) <= set(there.modalities) and frame_size == there.frame_size:
            return
        from dmcl_tf.datasets import DATASETS  # which read tables themselves

        names = [dataset.name for dataset in DATASETS.values() if dataset.folder == there.dataset]
        name = "|".join(names) or there.dataset
        own = " --videos=videos.csv" if name == "custom" else ""
        raise InputError(
            f"{self.directory}: records of {','.join(there.modalities)} at {there.frame_size} pixels, but "
            f"{','.join(modalities)} at {frame_size} pixels are asked for; make them with python "
            f"data_prep/make_tfrecords.py --dataset={name}{own} --modalities={','.join(modalities)} "
            f"--frame_size={frame_size} and another --records"
        )

    def check_files(self, videos: Sequence[Video]) -> None:
        """Checks that the records of some videos are there, each of its size; opens none.

        Raises:
            InputError: naming the first that is not.
        """
        for video in videos:
            path = self.path(video)
            try:
                size = path.stat().st_size
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}; run data_prep/make_tfrecords.py again") from None
            if size != video.bytes:
                raise InputError(
                    f"{path} has {size} bytes instead of {video.bytes}: delete it and run data_prep/make_tfrecords.py "
                    "again"
                )

    def find_damage(self, videos: Sequence[Video]) -> InputError | None:
        """Reads the records of some videos to the last byte; returns what is wrong with the first that is damaged."""
        for video in videos:
            path = self.path(video)
            try:
                serialized = read_record(path)
            except InputError as error:
                return error
            if checksum(serialized) != video.checksum:
                return InputError(f"{path} is another record than {self.directory / 'videos.csv'} says: {REMAKE}")
        return None


def read_description(directory: Path) -> Description:
    """Reads `dataset.json`.

    Raises:
        InputError: it is missing, unreadable or not of this format.
    """
    return read_json(directory / "dataset.json", Description, _REMEDY)


def checksum(serialized: bytes) -> str:
    """The checksum of an example as `videos.csv` holds it."""
    return masked_checksum(serialized)[::-1].hex()


def read_videos(path: Path, description: Description) -> tuple[Video, ...]:
    """Reads `videos.csv`.

    Raises:
        InputError: it is missing, no table of ours, names a video twice, or a class that `dataset.json` does not.
    """
    columns, rows = _read(path, _COLUMNS)
    others = [name for name in columns if name not in _COLUMNS]
    videos, known = [], set(description.class_names)
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InputError(f"{path}, line {line}: expected {len(columns)} values; {_REMEDY}")
        attributes = {name: row.pop(name) for name in others}
        try:
            video = msgspec.convert({**row, "attributes": attributes}, Video, strict=False)
            check_component(video.video_id, "the video_id")
        except (msgspec.ValidationError, InputError) as error:
            raise InputError(f"{path}, line {line}: {error}; {_REMEDY}") from None
        if video.label not in known:
            raise InputError(f"{path}, line {line}: {video.label!r} is no class of dataset.json; {_REMEDY}")
        videos.append(video)
    if len({video.video_id for video in videos}) < len(videos):
        raise InputError(f"{path}: a video is listed twice; {_REMEDY}")
    return tuple(sorted(videos, key=lambda video: video.video_id))


def read_skipped(directory: Path) -> dict[str, str]:
    """Reads `skipped.csv`: the reasons by video id.

    Raises:
        InputError: it is missing, or no table of ours.
    """
    return {row["video_id"]: row["reason"] for row in _read(directory / "skipped.csv", _SKIPPED)[1]}


def _read(path: Path, expected: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and rows of a table of ours, which has some columns at least."""
    try:
        reader = csv.DictReader(io.StringIO(read_bytes(path).decode(), newline=""), strict=True)
        columns, rows = list(reader.fieldnames or ()), list(reader)
    except FileNotFoundError:
        raise InputError(f"{path}: the records are not complete; {_REMEDY}") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} is not a table of videos ({error}); {_REMEDY}") from None
    missing = [name for name in expected if name not in columns]
    if missing:
        raise InputError(f"{path}: it has no column {missing[0]!r}; {_REMEDY}")
    return columns, rows


def write_table(records: Records, skipped: Mapping[str, str]) -> None:
    """Writes `dataset.json`, `skipped.csv` and, last, `videos.csv`.

    Args:
        records: what to write.
        skipped: reasons by video id.
    """
    write_json(records.directory / "dataset.json", records.description)
    write_text(records.directory / "skipped.csv", _csv(_SKIPPED, sorted(skipped.items())))
    names = list(dict.fromkeys(name for video in records.videos for name in video.attributes))
    rows = [
        [video.video_id, video.label]
        + [video.attributes.get(name, "") for name in names]
        + [getattr(video, name) for name in _COLUMNS[2:]]
        for video in sorted(records.videos, key=lambda video: video.video_id)
    ]
    write_text(records.directory / "videos.csv", _csv([*_COLUMNS[:2], *names, *_COLUMNS[2:]], rows))


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()
