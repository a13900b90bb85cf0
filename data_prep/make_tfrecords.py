"""A data set's raw folders → one TFRecord for each video, and the table of them: all that training needs.

    python data_prep/make_tfrecords.py                                               # the demo data set
    python data_prep/make_tfrecords.py --dataset=nwucla --data_dir=data/nwucla

Records that are complete are kept, so the same command continues an interrupted run and ends with the same bytes.
Splits and labels are no part of them: what changes there takes effect with the same command, or needs none. With
--estimate it makes none, and says from a sample of the videos what all will cost.
"""

from __future__ import annotations

import platform
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os.path import commonprefix
from pathlib import Path
from typing import Optional

import cv2
import numpy as np
from absl import flags

from data_prep import earlier
from data_prep.flow_flags import flow_flags
from data_prep.raw.base import Listing, RawVideo, Reader, Skipped
from data_prep.raw_settings import RawSettings, raw_flags, raw_settings_from_flags, video_flags
from data_prep.running import disk, estimate
from data_prep.running.beam import run_beam
from data_prep.running.processes import run_parallel
from data_prep.summary import print_skipped, print_summary
from data_prep.video.opening import shown
from data_prep.video.record import make_record
from dmcl_tf.config import Config
from dmcl_tf.data.records import record_path
from dmcl_tf.data.table import Description, Records, Video, write_table
from dmcl_tf.datasets import DATASETS, find_dataset
from dmcl_tf.datasets.base import Dataset, in_words
from dmcl_tf.errors import InputError, run_script
from dmcl_tf.files import lock, read_json, remove_stale, write_json
from dmcl_tf.flag_groups import dataset_flags, define, frame_flags, records_flags


@dataclass(frozen=True)
class RecordSettings:
    """What records are made of, where, and how the work is done.

    Attributes:
        raw: the raw data, and how frames and flow are made of them.
        records: the folder of the records.
        origin: where the raw frames come from, in words; None: as said before, or the title of the data set.
        limit: videos kept of each class and side of the protocols; 0: all.
        part: (k, n) makes the records of the k-th of n parts, and no table; None makes all.
        ignore_disk_space: whether to go on although the disk seems too small.
        beam_options: None runs in processes of this machine, a text as a Beam pipeline with these options.
    """

    raw: RawSettings
    records: Path
    origin: str | None
    limit: int = 0
    part: Optional[tuple[int, int]] = None
    ignore_disk_space: bool = False
    beam_options: Optional[str] = None

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.raw.dataset

    @property
    def modalities(self) -> tuple[str, ...]:
        """What every record holds."""
        return self.raw.videos.modalities


def make_records(settings: RecordSettings) -> Records | None:
    """Makes the records, or what is missing of them, and their table.

    Where another process works in the folder, waits for it to be done; parts of one folder are made side by side.

    Returns:
        The records; None where only a part was made.

    Raises:
        InputError: the raw data are missing or unusable, or the folder holds records of other settings.
    """
    directory, reader = settings.records, settings.raw.reader()
    class_names = find_dataset(settings.dataset).class_names
    description = describe(settings, reader)
    found = None if reader.generate else _list(settings, reader)
    if isinstance(found, InputError) and not directory.exists():
        raise found  # before a folder is made: it may be --data_dir that is wrong
    with lock(directory, shared=settings.part is not None, wait=True):
        remove_stale(directory)
        old = read_existing(settings, description)
        if settings.origin is None and (directory / "dataset.json").exists():  # what was said of the frames stays true
            description = replace(description, origin=read_json(directory / "dataset.json", Description, "").origin)
        found = found or _list(settings, reader)
        if isinstance(found, InputError):
            return _keep(old, found, class_names)
        videos = choose_videos(settings, found.videos)
        if settings.part is None or not (directory / "dataset.json").exists():
            write_json(directory / "dataset.json", description)
        try:
            rows, unusable = make_all(settings, videos)
        except BaseException:
            remove_stale(directory)  # of workers that were ended
            raise
        kept = kept_rows(settings, old, videos, found, reader)
        stay = {row.video_id for row in kept}
        left_out = [entry for entry in (*found.skipped, *found.excluded, *unusable) if entry.video_id not in stay]
        skipped = _reasons(settings, left_out)
        if settings.part is not None:
            print(f"part {settings.part[0]} of {settings.part[1]}: {len(rows)} records in {directory}")
            print_skipped(_reasons(settings, unusable))
            return None
        if not rows and not kept:
            raise InputError(f"{settings.raw.source}: no video can be used; the first: {left_out[0].reason}")
        rows = [*_with_warnings(rows, _reasons(settings, found.warnings, " | ")), *kept]
        write_table(Records(directory, description, tuple(rows)), skipped)
        records = Records.load(directory)
    print_summary(records, skipped, class_names)
    return records


def _list(settings: RecordSettings, reader: Reader) -> Listing | InputError:
    try:
        return settings.raw.list_videos(reader)
    except InputError as error:
        return error


def _keep(old: Records | None, error: InputError, class_names: Sequence[str]) -> Records:
    """Returns records that are complete, although their raw data cannot be read; raises `error` where they are not."""
    if old is None:
        raise error
    try:
        old.check_files(old.videos)
    except InputError:
        raise error from None
    print(f"the records are complete, so they are kept although the raw data cannot be read ({error})")
    print_summary(old, {}, class_names)
    return old


def describe(settings: RecordSettings, reader: Reader) -> Description:
    """What `dataset.json` says of these records."""
    dataset = find_dataset(settings.dataset)
    return Description(
        dataset=dataset.folder,
        title=commonprefix([member.title for member in _family(dataset)]).strip(),
        origin=settings.origin or dataset.title,
        class_names=reader.class_names,
        versions={"python": platform.python_version(), "numpy": np.__version__, "opencv": cv2.__version__},
        **settings.raw.videos.description,
    )


def _family(dataset: Dataset) -> list[Dataset]:
    """The data sets that share its records, itself included."""
    return [member for member in DATASETS.values() if member.folder == dataset.folder]


def read_existing(settings: RecordSettings, description: Description) -> Records | None:
    """Reads the table of records that are there already; None where there is none.

    Raises:
        InputError: they are of another data set, were made with other settings, or `dataset.json` is damaged.
    """
    directory = settings.records
    path = directory / "dataset.json"
    if not path.exists():
        return None
    there = read_json(path, Description, "delete it and run the same command again")
    if there.dataset != description.dataset:
        raise InputError(
            f"{directory} holds records of {there.dataset}, not of {description.dataset}: give another --records"
        )
    before, now = (dict(_flatten("", each.made_with())) for each in (there, description))
    different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if different and any((directory / "videos").glob("*/*.tfrecord")):
        shown = [name for name in different if "parameters" not in name] or different
        made, asked = (", ".join(f"{n}={in_words(each.get(n))}" for n in shown[:3]) for each in (before, now))
        raise InputError(
            f"{directory} holds records made with {made}, but {asked} is asked for: delete {directory} to make them "
            "again, or give another --records"
        )
    try:
        return Records.load(directory)
    except InputError:
        if len(_family(find_dataset(settings.dataset))) > 1 and (directory / "videos.csv").exists():
            raise  # it may list videos that are not asked for now
        return None


def choose_videos(settings: RecordSettings, videos: Sequence[RawVideo]) -> list[RawVideo]:
    """The videos to be made: with a limit the first ones of each class and side, and with a part those of that part."""
    counts: Counter = Counter()
    chosen = []
    for video in sorted(videos, key=lambda video: video.video_id):
        kind = _kind(find_dataset(settings.dataset), video)
        counts[kind] += 1
        if not settings.limit or counts[kind] <= settings.limit:
            chosen.append(video)
    if settings.part is not None:
        k, n = settings.part
        chosen = [video for video in chosen if zlib.crc32(video.video_id.encode()) % n == k - 1]
    return chosen


def _kind(dataset: Dataset, video: RawVideo) -> tuple[str, ...]:
    """What `--limit` counts by: the class and, so that no protocol lacks it on a side, split or view or all sides."""
    protocols = dataset.settings["protocol"].choices if "protocol" in dataset.settings else ()
    row = Video(video.video_id, video.label, 0, 0, 0, "", "", attributes=video.attributes)
    sides = [dataset.side(row, {"protocol": protocol}) for protocol in protocols]
    sides = sides or [video.attributes[name] for name in ("split", "view") if name in video.attributes]
    return (video.label, *(sides or [dataset.side(row, dataset.protocol())]))


def make_all(settings: RecordSettings, videos: Sequence[RawVideo]) -> tuple[list[Video], list[Skipped]]:
    """Makes the records of some videos; returns their lines of the table, and which videos cannot be used.

    Raises:
        InputError: the disk will be too small.
    """
    work = partial(make_record, settings=settings.raw.videos, directory=settings.records)
    rows: list[Video] = []
    unusable: list[Skipped] = []
    for result in _run(settings, work, disk.sample_first(videos)):
        if isinstance(result, Skipped):
            unusable.append(result)
            continue
        rows.append(result)
        if len(rows) == disk.SAMPLE:
            missing = sum(not record_path(settings.records, video.video_id).exists() for video in videos)
            needed = missing * sum(row.bytes for row in rows) / len(rows)
            disk.check_space(settings.records, needed, ignore=settings.ignore_disk_space)
    return rows, sorted(unusable, key=lambda entry: entry.video_id)


def _run(settings: RecordSettings, work: partial, videos: list[RawVideo]) -> Iterator[Video | Skipped]:
    local = partial(run_parallel, work, workers=settings.raw.workers, description="records", killed=_killed)
    if settings.beam_options is None:
        yield from local(videos)
        return
    yield from local(videos[: disk.SAMPLE])  # by which the disk is judged
    rest, exchange = videos[disk.SAMPLE :], settings.records
    yield from run_beam(work, rest, description="records", options=settings.beam_options, exchange=exchange)


def _killed(video: RawVideo) -> Skipped:
    reason = "the process that worked on it was killed, also when it worked on nothing else: is there enough memory?"
    return Skipped(video.video_id, reason)


def _reasons(settings: RecordSettings, entries: Iterable[Skipped], between: str = "; ") -> dict[str, str]:
    """What is said of each video, as text that can be written and does not depend on where the raw files are."""
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        reasons.setdefault(shown(entry.video_id), []).append(settings.raw.videos.relative(shown(entry.reason)))
    return {video_id: between.join(lines) for video_id, lines in reasons.items()}


def _with_warnings(rows: Iterable[Video], warnings: Mapping[str, str]) -> list[Video]:
    """The lines of the table with what the reader of the raw folders found peculiar."""
    return [replace(row, warnings=" | ".join(filter(None, [warnings.get(row.video_id), row.warnings]))) for row in rows]


def kept_rows(
    settings: RecordSettings, old: Records | None, videos: Sequence[RawVideo], found: Listing, reader: Reader
) -> list[Video]:
    """Rows of the old table that stay: of other data sets of the family, or of own videos whose files are away."""
    if len(_family(find_dataset(settings.dataset))) > 1:
        return earlier.of_other_data_sets(old, videos)
    return earlier.of_files_that_are_away(old, found.away, reader.listed)


def _flatten(prefix: str, value: object) -> Iterator[tuple[str, object]]:
    """Names and values of nested settings, such as `flow.parameters.tau`."""
    if not isinstance(value, Mapping) or not value:
        yield prefix, value
        return
    for name, inner in value.items():
        yield from _flatten(f"{prefix}.{name}" if prefix and prefix != "settings" else name, inner)


def preparation_flags(values: flags.FlagValues) -> None:
    """How the work is done."""
    flags.DEFINE_alias("output", "records", flag_values=values)
    flags.DEFINE_string(
        "origin",
        None,
        'where the raw frames come from, in words for the result tables, e.g. "rendered from skeletons"; default: what '
        "was said of these records before, else the title of the data set",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "limit",
        0,
        "keep at most this many videos of each class and split, view or side of the protocols, for a quick try; 0: all",
        0,
        flag_values=values,
    )
    flags.DEFINE_string(
        "part",
        None,
        "k/n: make the records of the k-th of n parts of the videos, on one of several machines that see the same "
        "folders; the same command without it makes what is missing and the table",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "ignore_disk_space", False, "go on although the disk seems to be too small", flag_values=values
    )
    flags.DEFINE_enum(
        "runner",
        "local",
        ["local", "beam"],
        "where records are made: in processes on this machine, or as an Apache Beam pipeline, whose workers must see "
        "the same folders (docs/cluster.md); needs pip install '.[beam]'",
        flag_values=values,
    )
    flags.DEFINE_string(
        "beam_options",
        "",
        "Beam's pipeline options, among them --runner, as in docs/cluster.md; default: run on this machine",
        flag_values=values,
    )


FLAG_GROUPS = (dataset_flags, records_flags, frame_flags, raw_flags, video_flags, flow_flags, preparation_flags)


def settings_from_flags(values: flags.FlagValues, *, data_root: Path = Path("data")) -> RecordSettings:
    """Reads the flags, with the defaults of the data set filled in.

    Raises:
        InputError: a value cannot be used, or is none of this data set's.
    """
    raw = raw_settings_from_flags(values, data_root=data_root)
    if values.beam_options and values.runner != "beam":
        raise InputError("--beam_options goes with --runner=beam alone")
    return RecordSettings(
        raw=raw,
        records=Path(values.records or raw.data_dir / "records" / str(raw.videos.size)),
        origin=values.origin,
        limit=values.limit,
        part=_part(values.part),
        ignore_disk_space=values.ignore_disk_space,
        beam_options=values.beam_options if values.runner == "beam" else None,
    )


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"--part={text}: expected k/n, with k from 1 to n")
    return int(match[1]), int(match[2])


def estimate_flags(values: flags.FlagValues) -> None:
    """What only the script has."""
    text = f"make no records, but try {estimate.SAMPLE} videos and print what time, disk and network all will take"
    flags.DEFINE_boolean("estimate", False, text, flag_values=values)


def print_estimate(settings: RecordSettings) -> None:
    """Prints what the preparation and reading of all videos will cost.

    Raises:
        InputError: the raw data are missing or unusable.
    """
    found = settings.raw.list_videos(settings.raw.reader())
    costs = estimate.measure(choose_videos(settings, found.videos), settings.raw.videos)
    print("\n".join(costs.lines(batch_size=Config.batch_size)))


def main() -> None:
    """Makes the records."""
    settings = settings_from_flags(flags.FLAGS)
    if flags.FLAGS.estimate:
        print_estimate(settings)
    else:
        make_records(settings)


if __name__ == "__main__":
    define((*FLAG_GROUPS, estimate_flags), flags.FLAGS)
    run_script(main)
