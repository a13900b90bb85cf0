"""How much disk space records will take, predicted from the first of them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from dmcl_tf.errors import InputError

SAMPLE = 8  # videos


def sample_first(items: Sequence) -> list:
    """Returns all items, a sample that is spread evenly over them first."""
    chosen = {index * len(items) // SAMPLE for index in range(SAMPLE)} if len(items) > SAMPLE else set()
    return [items[index] for index in chosen] + [item for i, item in enumerate(items) if i not in chosen]


def check_space(directory: Path, needed: float, *, ignore: bool) -> None:
    """Compares the bytes that are still to be written with what is free.

    Args:
        directory: where they are written.
        needed: bytes.
        ignore: whether to go on where they do not fit.

    Raises:
        InputError: they do not fit.
    """
    free = shutil.disk_usage(directory).free
    if needed > free and not ignore:
        raise InputError(
            f"{directory}: about {readable(needed)} are needed there and {readable(free)} are free: free some, choose "
            "another --records, or go on all the same with --ignore_disk_space; what is made is kept"
        )


def readable(count: float) -> str:
    """Returns bytes as text, e.g. `1.5 GB`."""
    units = ("bytes", "kB", "MB", "GB", "TB")
    power = min(int(math.log10(max(float(f"{count:.3g}"), 1)) // 3), len(units) - 1)
    return f"{count / 1000**power:.3g} {units[power]}"
