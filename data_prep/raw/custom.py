"""Own videos, listed in a CSV file.

    video_id,label,split,rgb,depth
    anna_wave_1,wave,train,clips/anna_1.mp4,clips/anna_1_depth/
    ben_wave_1,wave,test,clips/ben_1.mp4,clips/ben_1_depth/

`split` is train, validation or test; where no video is for validation, some are drawn from the training videos. Columns
`subject` and `view` may be there too. Every other column is a modality of the user's naming: a video file, a folder of
images, or a volume (`.mat`, `.npy`), relative to the CSV file. Labels become classes in alphabetical order. Separators
may be commas, semicolons or tabs; names of columns are read in lower case, so that `RGB` is rgb.

A row that cannot be used is skipped with its reason; the others go on.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from data_prep.raw.base import Listed, Listing, RawVideo, Reader, Skipped
from data_prep.raw.csv_file import read_table
from data_prep.video.images import inside
from data_prep.video.opening import shown
from data_prep.video.sources import open_sources
from dmcl_tf.datasets.base import Setting
from dmcl_tf.datasets.custom import check_modalities, split_of
from dmcl_tf.errors import InputError
from dmcl_tf.files import LONGEST_NAME, expand_home

REQUIRED = ("video_id", "label", "split")
OPTIONAL = ("subject", "view")

HOW_TO_GET = (
    "list your videos in a CSV file with the columns video_id, label, split (train, validation or test) and one for "
    "each modality, such as rgb and depth, that holds a video file or a folder of frames relative to the CSV file"
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A usable line of the CSV file; `paths` by modality, `attributes` as in `RawVideo`."""

    video_id: str
    label: str
    paths: Mapping[str, Path]
    attributes: Mapping[str, str]


def configure(
    *,
    videos: str | None,
    allow_outside: bool = False,
    mat_variable: str | None = None,
    modalities: Sequence[str] | None = None,
) -> Reader:
    """The reader of what a CSV file lists.

    Args:
        videos: the CSV file.
        allow_outside: whether its paths may leave its folder, links followed.
        mat_variable: the name of the volume in MATLAB files; None for the only one.
        modalities: which columns to read as modalities, where there are others; None for all that are not known.

    Raises:
        InputError: the file cannot be read, lacks a column, has one that is no modality, a split of another name, or no
            usable row for training.
    """
    if not videos:
        raise InputError(f"--videos is missing: {HOW_TO_GET}")
    path = expand_home(videos)
    columns, rows, skipped = read_csv(path, allow_outside=allow_outside, modalities=modalities)
    names = sorted({row.label for row in rows if row.attributes["split"] == "train"})
    for row in rows:
        if row.label not in names:
            reason = f"the label {row.label!r} is not in the train split: training cannot learn it"
            skipped.append(Skipped(row.video_id, f"{shown(path)}: {row.video_id}: {reason}"))
    rows = [row for row in rows if row.label in names]
    if len(names) < 2:
        found = f"only the label {names[0]!r}" if names else "no usable video"
        first = f"; the first of {len(skipped)} that cannot be used: {skipped[0].reason}" if skipped else ""
        raise InputError(f"{shown(path)}: {found} in the train split; training needs two or more labels{first}")
    root = None if allow_outside else path.parent
    return dataclasses.replace(
        READER,
        class_names=tuple(names),
        listed={row.video_id: Listed(row.label, row.attributes) for row in rows},
        list_videos=partial(_list_videos, rows=rows, skipped=tuple(skipped), mat_variable=mat_variable, root=root),
        recorded=columns,
        modalities=columns,
    )


def read_csv(
    path: Path, *, allow_outside: bool = False, modalities: Sequence[str] | None = None
) -> tuple[tuple[str, ...], list[Row], list[Skipped]]:
    """Reads the file: its modalities, its usable rows, and why the others are not.

    Raises:
        InputError: the file cannot be read, its columns are not those expected, or a split has another name.
    """
    columns, lines = read_table(path)
    try:
        names = _modalities(columns, modalities)
        _check_paths(path, names, lines)
        rows, skipped = [], []
        first_lines: dict[str, int] = {}
        for number, values in lines:
            video_id = values.get("video_id", "")
            if values.get("split"):
                try:
                    values["split"] = split_of(values["split"])
                except InputError as error:
                    raise InputError(f"line {number}: {error}") from None
            try:
                row = _read_row(path, values, names, allow_outside=allow_outside)
                if video_id in first_lines:
                    raise InputError(f"the video_id {video_id!r} is that of line {first_lines[video_id]} already")
            except InputError as error:
                skipped.append(Skipped(video_id or f"line {number}", f"{shown(path)}, line {number}: {error}"))
            else:
                first_lines[video_id] = number
                rows.append(row)
    except InputError as error:
        raise InputError(f"{shown(path)}: {error}") from None
    return names, rows, skipped


def _modalities(columns: Sequence[str], chosen: Sequence[str] | None) -> tuple[str, ...]:
    for name in columns:
        if columns.count(name) > 1:
            raise InputError(f"the column {name!r} is there {columns.count(name)} times")
    missing = [name for name in REQUIRED if name not in columns]
    names = tuple(name for name in columns if name not in (*REQUIRED, *OPTIONAL))
    if chosen is not None:
        names = tuple(name for name in names if name in [choice.strip().lower() for choice in chosen])
    if chosen is not None and not missing and not names:
        raise InputError(f"--modalities={','.join(chosen)}: it has no such column, only {', '.join(columns)}")
    if missing or not names:
        lacking = f"the column {missing[0]!r}" if missing else "a column for a modality, such as rgb"
        raise InputError(f"it lacks {lacking}; it has {', '.join(columns) or 'none'}")
    check_modalities(names)
    return names


def _check_paths(path: Path, names: Sequence[str], lines: Sequence[tuple[int, Mapping[str, str]]]) -> None:
    """Raises `InputError` for a column that names no file at all, and so is no modality."""
    found = dict.fromkeys(names, False)
    for _, values in lines:
        for name in names:
            found[name] = found[name] or (bool(values[name]) and _exists(path.parent / expand_home(values[name])))
    wrong = [name for name in names if not found[name]]
    if not wrong or not lines:
        return
    number, example = next(((number, values[wrong[0]]) for number, values in lines if values[wrong[0]]), (0, ""))
    if not example:
        raise InputError(f"the column {wrong[0]!r} is empty; {_leave_out(names, wrong)}")
    if len(wrong) < len(names):
        text = f"the column {wrong[0]!r} names no file that is there (line {number}: {example!r})"
        raise InputError(f"{text}: if it is no modality, {_leave_out(names, wrong)}")


def _leave_out(names: Sequence[str], wrong: Sequence[str]) -> str:
    return f"leave it out with --modalities={','.join(name for name in names if name not in wrong) or 'rgb'}"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _read_row(path: Path, values: Mapping[str, str], modalities: Sequence[str], *, allow_outside: bool) -> Row:
    video_id, folder = values["video_id"], path.parent
    if not video_id:
        raise InputError("the video_id is empty")
    if re.search(r'[/\\:*?"<>|\x00-\x1f]', video_id) or video_id.startswith(".") or video_id.endswith(".partial"):
        raise InputError(f"the video_id {video_id!r} cannot name a folder; expected letters, digits, spaces, _ and -")
    if len(video_id.encode()) > LONGEST_NAME:
        raise InputError(f"the video_id {video_id!r} is too long; expected at most {LONGEST_NAME} bytes")
    extra = next((value for name, value in values.items() if name.isdecimal() and value), None)
    if extra:
        raise InputError(f"{video_id}: the value {extra!r} has no column; put values with a separator in quotes")
    for name in ("label", "split"):
        if not values[name]:
            raise InputError(f"{video_id}: the {name} is empty")
    paths = {}
    for modality in modalities:
        if not values[modality]:
            raise InputError(f"{video_id}: there is no {modality}")
        paths[modality] = folder / expand_home(values[modality])
        if not allow_outside and not inside(paths[modality], folder):
            raise InputError(
                f"{video_id}: {shown(values[modality])} leaves the folder of the CSV file; --allow_outside permits it"
            )
    attributes = {name: values.get(name, "") for name in ("split", *OPTIONAL) if name in values}
    return Row(video_id, values["label"], paths, attributes)


def _list_videos(
    data_dir: Path,
    *,
    rows: Sequence[Row] = (),
    skipped: tuple[Skipped, ...] = (),
    mat_variable: str | None = None,
    root: Path | None = None,
) -> Listing:
    """Opens what the rows name; `data_dir` is for outputs alone."""
    videos, unusable, warnings, away = [], list(skipped), [], []
    for row in rows:
        try:
            sources, lines = open_sources(row.paths, mat_variable=mat_variable, root=root)
        except InputError as error:
            unusable.append(Skipped(row.video_id, str(error)))
            away += [] if all(map(_exists, row.paths.values())) else [row.video_id]
            continue
        warnings += [Skipped(row.video_id, line) for line in lines]
        videos.append(RawVideo(row.video_id, row.label, sources, row.attributes))
    return Listing(tuple(videos), tuple(unusable), tuple(warnings), away=tuple(away))


READER = Reader(
    list_videos=_list_videos,
    recorded=(),
    modalities=(),
    options={
        "videos": Setting(None, "Own data: the CSV file that lists the videos."),
        "allow_outside": Setting(False, "Own data: let paths in the CSV file, or links, leave its folder."),
        "mat_variable": Setting(None, "Own data: the name of the volume in MATLAB files that hold several."),
    },
    configure=configure,
)
