"""Outputs appear under their final name only when complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    except BaseException:
        remove(partial)
        raise


def remove(path: Path) -> None:
    """Removes a file or a folder with all it holds; a path that does not exist is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Whether `path` is the temporary name of an output that was never completed."""
    return path.name.endswith(_PARTIAL)


def write_json(path: Path, value: object) -> None:
    """Writes `value` as indented JSON, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
