"""Preparation of records in this process: settings by flags, and what a folder of records holds."""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from data_prep import make_tfrecords
from dmcl_tf.flag_groups import define

ROOT = Path(__file__).resolve().parents[1]


def settings(*arguments: str) -> make_tfrecords.RecordSettings:
    """The settings that flags mean; one process unless they say otherwise."""
    values = define(make_tfrecords.FLAG_GROUPS, flags.FlagValues())
    values(["make_tfrecords", "--workers=1", *arguments])
    return make_tfrecords.settings_from_flags(values)


def prepare(*arguments: str):
    """Makes the records and returns them."""
    return make_tfrecords.make_records(settings(*arguments))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder of records by its name there; its lock is none."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def command(*arguments: str) -> list[str]:
    """The script as a command line."""
    return [sys.executable, "-m", "data_prep.make_tfrecords", *arguments]
