"""Command lines of absl flags that are not the process's own: parsed, explained, with paths as the user means them."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from dmcl_tf.config import parse_start
from dmcl_tf.errors import InputError
from dmcl_tf.files import expand_home

# flags that name files and folders
_PATHS = (
    *("videos", "data_dir", "records", "checkpoints", "run_dir", "teacher_run", "export_dir", "model", "sheets"),
    *("annotate", "runs", "output", "results", "docs", "random_features"),
)


def parse(values: flags.FlagValues, arguments: Sequence[str]) -> flags.FlagValues:
    """Parses arguments, all of which must be flags; paths are made relative to where the command was given.

    Args:
        values: where the flags are defined.
        arguments: the command line.

    Raises:
        InputError: an unknown flag, an impossible value, or an argument that is no flag.
    """
    try:
        rest = values(["command", *arguments])[1:]
    except flags.Error as error:
        raise InputError(f"{' '.join(str(error).split())}; --help lists the flags") from None
    if rest:
        raise InputError(
            f"unexpected argument {rest[0]!r}: every setting is a flag, --name=value, and a stage goes right after the "
            "data set"
        )
    for name in values:
        value = values[name].value
        if isinstance(value, float) and values[name].present and not math.isfinite(value):
            raise InputError(f"--{name}={value}: expected a finite number")
    for name in _PATHS:
        if name == "output" and "records" in values:  # another name of the same flag
            continue
        if name in values and values[name].present and values[name].value:
            given = values[name].value
            values[name].value = [user_path(path) for path in given] if isinstance(given, list) else user_path(given)
    if "initial_weights" in values and values["initial_weights"].value:
        starts = map(parse_start, values["initial_weights"].value)
        values["initial_weights"].value = [str(start._replace(path=user_path(start.path))) for start in starts]
    return values


def user_path(text: str) -> str:
    """A path as the user means it: `~` is the home folder, and it starts where the command was given."""
    path, called_from = expand_home(text), os.environ.get("CALLED_FROM")
    if path.is_absolute() or not called_from:
        return str(path)
    absolute = Path(called_from) / path
    # below the working directory it stays short, as folders are recorded with runs
    return os.path.relpath(absolute) if not os.path.relpath(absolute).startswith("..") else str(absolute)


def data_root() -> Path:
    """The folder that holds the data sets."""
    return Path(os.environ.get("DATA_ROOT") or "data")


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether the arguments ask for help."""
    return bool({"-h", "--help", "--helpfull"} & set(arguments))


def print_help(text: str, values: flags.FlagValues) -> None:
    """Prints what a command does, and its flags."""
    print(text.strip() + "\n")
    for name in sorted(values):
        flag = values[name]
        if flag.name != name:
            continue  # another name of the same flag
        default = ",".join(flag.default) if isinstance(flag.default, list) else flag.default
        line = f"--{name}: {flag.help}" + (f" [{default}]" if default not in (None, "") else "")
        print(textwrap.fill(line, 118, initial_indent="  ", subsequent_indent="      "))
