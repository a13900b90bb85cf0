"""Outputs appear under their final name only when complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dmcl_tf.errors import InputError

_PARTIAL = ".partial"


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yields a temporary sibling of `final`, a file or folder to be made, and renames it when the block succeeds.

    What an interrupted process left under the temporary name is removed first.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(final.name + _PARTIAL)
    remove(partial)
    try:
        yield partial
        os.replace(partial, final)
    except BaseException as error:
        remove(partial)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(final)  # writing to an open file fails without saying which
        raise


def remove(path: Path) -> None:
    """Removes a file or a folder with all it holds; a path that does not exist is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Removes a folder; where that is interrupted, what is left of it does not bear its name."""
    if folder.is_dir():
        partial = folder.with_name(folder.name + _PARTIAL)
        remove(partial)
        os.replace(folder, partial)
        remove(partial)


def is_partial(path: Path) -> bool:
    """Whether `path` is the temporary name of an output that was never completed."""
    return path.name.endswith(_PARTIAL)


def write_json(path: Path, value: object) -> None:
    """Writes `value` as indented JSON, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def record_settings(path: Path, settings: Mapping[str, object], remedy: str) -> None:
    """Writes the settings that a folder's contents are made with, or checks that they are those written before.

    Args:
        path: the JSON file.
        settings: JSON values by name.
        remedy: what to do when they differ.

    Raises:
        InputError: the file holds other settings, or cannot be read.
    """
    if not path.exists():
        write_json(path, settings)
        return
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); {remedy}") from error
    check_settings(path.parent, before, settings, remedy)


def check_settings(folder: Path, before: Mapping[str, object], now: Mapping[str, object], remedy: str) -> None:
    """Checks that the settings a folder was made with, as read from JSON, are those asked for now.

    Raises:
        InputError: they are not; it names those that differ.
    """
    now = json.loads(json.dumps(now))  # tuples become lists, as they are in files
    differing = list(_differences(before, now))
    if differing:
        old, new = (", ".join(f"{name}={_shorten(pair[i])}" for name, *pair in differing) for i in (0, 1))
        raise InputError(f"{folder} was made with {old}, but {new} is asked for: {remedy}")


def _differences(before: object, now: object, name: str = "") -> Iterator[tuple[str, object, object]]:
    """Yields (dotted name, value before, value now) of each setting that differs."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif before != now:
        yield name, before, now


def _shorten(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:60]}…"
