"""Reads every record and says what is wrong with it.

    python data_prep/check_records.py --records=data/demo/records/56

Every byte is read and every JPEG decoded; checksums, counts, sizes and modalities are compared with `videos.csv` and
`dataset.json`, and no modality may be blank. A damaged record is named, and the rest is checked. Prints a table, writes
a contact sheet for each class (look at them), and ends with status 1 where anything is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
from absl import flags

from data_prep.inspection.contact_sheets import file_name, sheet
from data_prep.inspection.record_checks import CheckedRecord, check_record
from data_prep.running.processes import default_workers, run_parallel
from data_prep.summary import print_summary
from dmcl_tf.data.table import Records, Video
from dmcl_tf.datasets import DATASETS, find_dataset
from dmcl_tf.errors import InputError, run_script
from dmcl_tf.files import atomic_path
from dmcl_tf.flag_groups import dataset_flags, define, records_flags

_WORTH_A_PROCESS = 50_000_000  # bytes of records; fewer are read while a process starts


def choose_pictured(records: Records) -> dict[str, dict[str, Video]]:
    """The videos that contact sheets show: by class, and by split or view, the first one."""
    chosen: dict[str, dict[str, Video]] = {}
    for video in records.videos:
        view = video.attributes.get("view")
        side = video.attributes.get("split") or (f"view {view}" if view else "")
        chosen.setdefault(video.label, {}).setdefault(side, video)
    return chosen


def check_records(records: Records, *, workers: int) -> list[CheckedRecord]:
    """Checks all records of a folder, in the order of their names."""
    pictured = {video.video_id for sides in choose_pictured(records).values() for video in sides.values()}
    processes = workers if sum(video.bytes for video in records.videos) > _WORTH_A_PROCESS * workers else 1
    work = partial(check_record, directory=records.directory, description=records.description, pictured=pictured)
    results = run_parallel(work, records.videos, workers=processes, description="checking", killed=_killed)
    return sorted(results, key=lambda record: record.video_id)


def _killed(video: Video) -> CheckedRecord:
    return CheckedRecord(video.video_id, [f"{video.video_id}: the process that read it was killed"])


def write_sheets(records: Records, checked: Mapping[str, CheckedRecord], folder: Path) -> int:
    """Writes a contact sheet for each class that has a video; returns how many."""
    description, chosen = records.description, choose_pictured(records)
    for label, name in enumerate(description.class_names):
        if name not in chosen:
            continue
        strips = {
            f"{side}: {video.video_id}" if side else video.video_id: checked[video.video_id].strip
            for side, video in chosen[name].items()
        }
        image = sheet(f"{description.title}: {name}", description.modalities, strips)
        with atomic_path(folder / file_name(label, name)) as unfinished:
            unfinished.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return len(chosen)


def own_flags(values: flags.FlagValues) -> None:
    """Where the contact sheets go, and how many processes read."""
    text = "folder of the contact sheets; default: <records>/contact_sheets"
    flags.DEFINE_string("sheets", None, text, flag_values=values)
    flags.DEFINE_integer("workers", None, "parallel processes; default: one for each core", 1, flag_values=values)


FLAG_GROUPS = (dataset_flags, records_flags, own_flags)


def check(records: Records, sheets: Path, *, workers: int, class_names: Sequence[str] = ()) -> int:
    """Checks records and prints what was found, as `print_summary` does; returns how many things are wrong."""
    checked = check_records(records, workers=workers)
    print_summary(records, {}, class_names)
    lengths = [video.length for video in records.videos]
    print(f"frames per video: {min(lengths)}–{max(lengths)}")
    count = write_sheets(records, {record.video_id: record for record in checked}, sheets)
    print(f"{count} contact sheets in {sheets}")
    problems = [line for record in checked for line in record.problems]
    for line in (line for record in checked for line in record.known):
        print(f"known: {line}")
    for line in problems:
        print(f"wrong: {line}")
    print(f"{len(checked)} records of {records.directory} read: {len(problems)} problems")
    return len(problems)


def main(values: flags.FlagValues = flags.FLAGS, *, data_root: Path = Path("data")) -> None:
    """Checks the records; exits with status 1 where something is wrong."""
    records = Records.load(_folder(values, data_root))
    if not records.videos:
        raise InputError(f"{records.directory}: there is no video in these records")
    sheets = Path(values.sheets or records.directory / "contact_sheets")
    class_names = find_dataset(values.dataset).class_names if values.dataset else ()
    if check(records, sheets, workers=values.workers or default_workers(), class_names=class_names):
        sys.exit(1)


def _folder(values: flags.FlagValues, data_root: Path) -> Path:
    """The folder of records that the flags name, or the only one that the data set has."""
    if values.records:
        return Path(values.records)
    parent = data_root / find_dataset(values.dataset or next(iter(DATASETS))).folder / "records"
    found = sorted(path.parent for path in parent.glob("*/dataset.json"))
    if len(found) != 1:
        there = f"there are {', '.join(map(str, found))}" if found else f"there are none in {parent}"
        raise InputError(f"--records is missing: give the folder of the records; {there}")
    return found[0]


if __name__ == "__main__":
    define(FLAG_GROUPS, flags.FLAGS)
    run_script(main)
