"""Reads every record and says what is wrong with it.

    python data_prep/check_records.py --records=data/demo/records/80

Every JPEG is decoded; counts, sizes and modalities are compared with `dataset.json`; no video may be in two splits,
nor a subject or view where the protocol keeps them apart; the fixed clips of validation and test must be in range, and
no modality may be blank. A damaged shard is named, and the rest is checked. Prints a table, writes a contact sheet for
each class (look at them), and ends with status 1 where anything is wrong.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.inspection.contact_sheets import file_name, sheet
from data_prep.inspection.record_checks import Blank, CheckedShard, Expected, check_across, check_files, check_shard
from data_prep.running.processes import default_workers, run_parallel
from dmcl_tf.data.records import SPLITS, DatasetInfo
from dmcl_tf.errors import InputError, run_script
from dmcl_tf.files import atomic_path

_WORTH_A_PROCESS = 200_000_000  # bytes of records; fewer are read while a process imports TensorFlow


def check_records(info: DatasetInfo, *, workers: int) -> tuple[list[CheckedShard], list[str], list[str]]:
    """Checks all records of a folder.

    Returns:
        The shards in order, what is wrong, and what is peculiar but known to `dataset.json`; a line for each thing.
    """
    present, problems = check_files(info)
    size = sum((info.directory / name).stat().st_size for _, name in present)
    processes = workers if size > _WORTH_A_PROCESS * workers else 1
    work = partial(check_shard, expected=Expected.of(info))
    shards = list(run_parallel(work, present, workers=processes, description="checking", unit="shard"))
    shards.sort(key=lambda shard: shard.name)
    known = []
    for shard in shards:
        problems += shard.problems
        for blank in shard.blank:
            line = f"{shard.name}: {blank.video_id}: {blank.reason}"
            (known if _is_known(info, blank) else problems).append(line)
    return shards, problems + check_across(info, shards), known


def _is_known(info: DatasetInfo, blank: Blank) -> bool:
    """Whether `dataset.json` warns of it, as of raw videos that show nothing."""
    return any(
        entry["video_id"] == blank.video_id and entry["reason"].startswith(f"{blank.modality} is blank")
        for entry in info.warnings
    )


def write_sheets(info: DatasetInfo, shards: Sequence[CheckedShard], folder: Path) -> int:
    """Writes a contact sheet for each class that has a video, one video of each split; returns how many."""
    count = 0
    for label, name in enumerate(info.class_names):
        strips = {}
        for split in SPLITS:
            for shard in shards:
                if shard.split == split and label in shard.strips:
                    video_id, content = shard.strips[label]
                    strips[f"{split}: {video_id}"] = content
                    break
        if strips:
            image = sheet(f"{info.title}: {name}", info.modalities, strips)
            with atomic_path(folder / file_name(label, name)) as unfinished:
                unfinished.write_bytes(cv2.imencode(".png", image)[1].tobytes())
            count += 1
    return count


def print_table(info: DatasetInfo, shards: Sequence[CheckedShard]) -> None:
    """Prints the videos found of each class and split, and the range of their lengths."""
    found = {
        split: Counter(video.label for shard in shards if shard.split == split for video in shard.videos)
        for split in SPLITS
    }
    width = max(len(name) for name in (*info.class_names, "frames per video"))
    print(f"{'':{width}}" + "".join(f"{split:>12}" for split in SPLITS))
    for label, name in enumerate(info.class_names):
        print(f"{name:{width}}" + "".join(f"{found[split][label]:12d}" for split in SPLITS))
    print(f"{'all':{width}}" + "".join(f"{sum(found[split].values()):12d}" for split in SPLITS))
    ranges = []
    for split in SPLITS:
        lengths = [video.length for shard in shards if shard.split == split for video in shard.videos]
        ranges.append(f"{min(lengths)}–{max(lengths)}" if lengths else "–")
    print(f"{'frames per video':{width}}" + "".join(f"{text:>12}" for text in ranges))


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_string(
        "records", "data/demo/records/80", "The folder of records, with its dataset.json.", flag_values=flag_values
    )
    flags.DEFINE_string(
        "sheets", None, "Where the contact sheets go [<records>/contact_sheets].", flag_values=flag_values
    )
    flags.DEFINE_integer("workers", None, "Parallel processes [one per core].", 1, flag_values=flag_values)


def main() -> None:
    """Checks the records; exits with status 1 where something is wrong."""
    values = flags.FLAGS
    info = DatasetInfo.load(values.records)
    shards, problems, known = check_records(info, workers=values.workers or default_workers())
    print_table(info, shards)
    sheets = Path(values.sheets or info.directory / "contact_sheets")
    print(f"{write_sheets(info, shards, sheets)} contact sheets in {sheets}")
    for line in known:
        print(f"known: {line}")
    for line in problems:
        print(f"wrong: {line}")
    videos = sum(len(shard.videos) for shard in shards)
    print(f"{videos} videos in {len(shards)} shards of {info.directory} read: {len(problems)} problems")
    if problems:
        sys.exit(1)
    if not videos:
        raise InputError(f"{info.directory}: there is no video in these records")


if __name__ == "__main__":
    define_flags()
    run_script(main)
