"""The table of an earlier preparation: which of its rows stay, and whether it is that of the CSV file of own videos."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.raw.base import Listed, RawVideo
from dmcl_tf.data.table import Records, Video, read_skipped
from dmcl_tf.errors import InputError

AWAY = "its raw files are away; the record that was made of them before is kept"


def of_other_data_sets(old: Records | None, videos: Sequence[RawVideo]) -> list[Video]:
    """Rows of videos that are not asked for now, but for other data sets of the family, and whose records are there."""
    asked = {video.video_id for video in videos}
    return [row for row in old.videos if row.video_id not in asked and _is_there(old, row)] if old else []


def of_files_that_are_away(old: Records | None, away: Collection[str], listed: Mapping[str, Listed]) -> list[Video]:
    """Rows of own videos whose raw files are not there and whose records are, as the CSV file describes them today.

    Args:
        old: the table; None where there is none.
        away: the videos whose files are not there.
        listed: what the CSV file says of each video.
    """
    rows = [row for row in old.videos if row.video_id in away and _is_there(old, row)] if old else []
    said = [row.warnings if AWAY in row.warnings else " | ".join(filter(None, [row.warnings, AWAY])) for row in rows]
    return [replace(row, **listed[row.video_id]._asdict(), warnings=text) for row, text in zip(rows, said)]


def _is_there(records: Records, row: Video) -> bool:
    try:
        records.check_files([row])
    except InputError:
        return False
    return True


def check_listed(records: Records, listed: Mapping[str, Listed], where: Path, *, whole: bool) -> None:
    """Checks that a table of own videos is the one that their CSV file makes.

    Args:
        records: with the table.
        listed: what the CSV file says of each video.
        where: the CSV file.
        whole: whether every video of the file must be in the table, or skipped.

    Raises:
        InputError: naming the first video that differs.
    """
    there = {video.video_id: Listed(video.label, video.attributes) for video in records.videos}
    skipped = read_skipped(records.directory)
    wrong = next((name for name, said in there.items() if listed.get(name) != said), None)
    wrong = wrong or next((name for name in listed if whole and name not in {*there, *skipped}), None)
    if wrong:
        raise InputError(
            f"{records.directory}: its table is of another CSV file than {where}, or of an earlier state of it "
            f"({wrong}: {_words(there.get(wrong))} there, {_words(listed.get(wrong))} now): run the stage prepare, or "
            "give another --records"
        )


def _words(said: Listed | None) -> str:
    return ", ".join(filter(None, [repr(said.label), *said.attributes.values()])) if said else "not listed"
