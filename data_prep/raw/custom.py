"""Own videos, listed in a CSV file.

    video_id,label,split,rgb,depth
    anna_wave_1,wave,train,clips/anna_1.mp4,clips/anna_1_depth/
    ben_wave_1,wave,test,clips/ben_1.mp4,clips/ben_1_depth/

`split` is train, validation or test; where no video is for validation, some are drawn from the training videos. Columns
`subject` and `view` may be there too. Every other column is a modality of the user's naming: a video file, a folder of
JPEG or PNG frames, or a MATLAB volume, relative to the CSV file. Labels become classes in alphabetical order.

A row that cannot be used is skipped with its reason; the others go on.
"""

from __future__ import annotations

import csv
import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from data_prep.raw.base import Listing, RawVideo, Reader, Skipped
from data_prep.video.sources import open_source
from dmcl_tf.datasets.base import Setting
from dmcl_tf.errors import InputError

REQUIRED = ("video_id", "label", "split")
OPTIONAL = ("subject", "view")
SPLITS = ("train", "validation", "test")
_TAKEN = ("sum", "sum_probabilities", "oracle", "loss")  # names that results and histories have already
_MODALITY = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LONGEST_ID = 200  # bytes; file systems allow 255 for a name with its endings

HOW_TO_GET = (
    "list your videos in a CSV file with the columns video_id, label, split (train, validation or test) and one for "
    "each modality, such as rgb and depth, that holds a video file or a folder of frames relative to the CSV file"
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A usable line of the CSV file; `paths` by modality."""

    video_id: str
    label: str
    split: str
    paths: Mapping[str, Path]
    subject: str | None
    view: str | None


def configure(*, videos: str | None, allow_outside: bool) -> Reader:
    """The data set that a CSV file describes.

    Args:
        videos: the CSV file.
        allow_outside: whether its paths may leave its folder.

    Raises:
        InputError: the file cannot be read, lacks a column, or has no usable row for training.
    """
    if not videos:
        raise InputError(f"--videos is missing: {HOW_TO_GET}")
    path = Path(videos)
    modalities, rows, skipped = read_csv(path, allow_outside=allow_outside)
    names = sorted({row.label for row in rows if row.split == "train"})
    for row in rows:
        if row.label not in names:
            reason = f"the label {row.label!r} is not in the train split: training cannot learn it"
            skipped.append(Skipped(row.video_id, f"{path}: {row.video_id}: {reason}"))
    rows = [row for row in rows if row.label in names]
    if len(names) < 2:
        found = f"only the label {names[0]!r}" if names else "no usable video"
        first = f"; the first of {len(skipped)} that cannot be used: {skipped[0].reason}" if skipped else ""
        raise InputError(f"{path}: {found} in the train split; training needs two or more labels{first}")
    return dataclasses.replace(
        READER,
        class_names=tuple(names),
        list_videos=partial(_list_videos, rows=rows, skipped=tuple(skipped)),
        recorded=modalities,
        modalities=modalities,
    )


def read_csv(path: Path, *, allow_outside: bool) -> tuple[tuple[str, ...], list[Row], list[Skipped]]:
    """Reads the file: its modalities, its usable rows, and why the others are not.

    Raises:
        InputError: the file cannot be read, or its columns are not those expected.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = [name.strip() for name in reader.fieldnames or []]
            lines = [(reader.line_num, dict(zip(columns, line.values()))) for line in _without_extras(reader)]
    except OSError as error:
        raise InputError(f"--videos={path}: {error.strerror}; expected a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--videos={path}: not a CSV file in UTF-8 ({error})") from error
    modalities = _modalities(path, columns)
    rows, skipped, first_lines = [], [], {}
    for number, values in lines:
        values = {name: (value or "").strip() for name, value in values.items()}
        video_id = values["video_id"]
        try:
            row = _read_row(path.parent, values, modalities, allow_outside=allow_outside)
            if video_id in first_lines:
                raise InputError(f"the video_id {video_id!r} is that of line {first_lines[video_id]} already")
        except InputError as error:
            skipped.append(Skipped(video_id or f"line {number}", f"{path}, line {number}: {error}"))
        else:
            first_lines[video_id] = number
            rows.append(row)
    return modalities, rows, skipped


def _without_extras(reader: csv.DictReader):
    """The lines without the values beyond the last column, which the reader collects under None."""
    for line in reader:
        line.pop(None, None)
        yield line


def _modalities(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    missing = [name for name in REQUIRED if name not in columns]
    modalities = tuple(name for name in columns if name not in (*REQUIRED, *OPTIONAL))
    if missing or not modalities:
        lacking = f"the column {missing[0]!r}" if missing else "a column for a modality, such as rgb"
        raise InputError(f"{path}: it lacks {lacking}; it has {', '.join(columns) or 'none'}")
    for name in columns:
        if columns.count(name) > 1:
            raise InputError(f"{path}: the column {name!r} is there {columns.count(name)} times")
    for name in modalities:
        if not _MODALITY.fullmatch(name) or name in _TAKEN:
            raise InputError(f"{path}: the column {name!r} cannot name a modality; expected letters, digits and _")
    return modalities


def _read_row(folder: Path, values: Mapping[str, str], modalities: Sequence[str], *, allow_outside: bool) -> Row:
    video_id, split = values["video_id"], values["split"].lower()
    if not video_id:
        raise InputError("the video_id is empty")
    if re.search(r'[/\\:*?"<>|\x00-\x1f]', video_id) or video_id.startswith(".") or video_id.endswith(".partial"):
        raise InputError(f"the video_id {video_id!r} cannot name a folder; expected letters, digits, spaces, _ and -")
    if len(video_id.encode()) > _LONGEST_ID:
        raise InputError(f"the video_id {video_id!r} is too long; expected at most {_LONGEST_ID} bytes")
    if not values["label"]:
        raise InputError(f"{video_id}: the label is empty")
    if split not in SPLITS:
        raise InputError(f"{video_id}: the split is {values['split']!r}; expected one of {', '.join(SPLITS)}")
    paths = {}
    for modality in modalities:
        if not values[modality]:
            raise InputError(f"{video_id}: there is no {modality}")
        path = folder / values[modality]
        if not allow_outside and Path(os.path.abspath(folder)) not in Path(os.path.abspath(path)).parents:
            raise InputError(
                f"{video_id}: {values[modality]} leaves the folder of the CSV file; --allow_outside permits it"
            )
        paths[modality] = path
    return Row(video_id, values["label"], split, paths, values.get("subject") or None, values.get("view") or None)


def _list_videos(data_dir: Path, *, rows: Sequence[Row], skipped: tuple[Skipped, ...]) -> Listing:
    """Opens what the rows name; `data_dir` is for outputs alone."""
    videos, unusable = [], list(skipped)
    for row in rows:
        try:
            sources = {modality: open_source(path) for modality, path in row.paths.items()}
        except InputError as error:
            unusable.append(Skipped(row.video_id, str(error)))
            continue
        attributes = {"split": row.split, "subject": row.subject or "", "view": row.view or ""}
        videos.append(RawVideo(row.video_id, row.label, sources, attributes))
    return Listing(tuple(videos), tuple(unusable))


def _unconfigured(*_, **__):
    raise InputError(f"--videos is missing: {HOW_TO_GET}")


READER = Reader(
    list_videos=_unconfigured,
    options={
        "videos": Setting(None, "Own data: the CSV file that lists the videos."),
        "allow_outside": Setting(False, "Own data: let paths in the CSV file leave its folder."),
    },
    configure=configure,
    how_to_get=HOW_TO_GET,
    recorded=(),
    modalities=(),
)
