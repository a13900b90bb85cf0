"""Ways to damage a file, each drawn from a seeded generator and described in a few words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Random = np.random.RandomState
_HEAD = 256  # bytes in which headers are, and half of all changes
_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 7, 1.5, 1e308, 10**30, "", "x", "../../evil", "/etc", "x" * 300, "a\nb", "a\0b", "é\u2028"),
    *([], {}, [None], [[[]]], {"x": 1}, ["../evil"]),
)
_TEXTS = ("[" * 5000, '{"a":' * 3000, "NaN", "\ufeff{}", "[1, 2", '"\\ud800"', "{}", "[]", "null", "1e999")


def damage_file(path: Path, random: Random) -> str:
    """Damages a file, most often its bytes, now and then what it is; says how."""
    if random.rand() < 0.12:
        names = list(_REPLACEMENTS)
        name = names[random.randint(len(names))]
        path.unlink()
        _REPLACEMENTS[name](path)
        return f"{path.name}: {name}"
    if random.rand() < 0.6 and path.suffix in (".json", ".csv"):
        text = path.read_text(encoding="utf-8")
        changed, how = damage_json(text, random) if path.suffix == ".json" else damage_table(text, random)
        path.write_text(changed, encoding="utf-8", errors="surrogatepass")
        return f"{path.name}: {how}"
    content, how = damage_bytes(path.read_bytes(), random)
    path.write_bytes(content)
    return f"{path.name}: {how}"


def damage_bytes(content: bytes, random: Random) -> tuple[bytes, str]:
    """Returns other bytes, and what was done."""
    size, changed = len(content), bytearray(content)
    kind = random.randint(9)
    start = random.randint(max(1, min(size, _HEAD) if random.rand() < 0.5 else size))
    if kind == 0:
        return content[: random.randint(size + 1)], "cut off"
    if kind == 1:
        return content + random.bytes(random.randint(1, 2000)), "something appended"
    if kind == 2:
        return b"", "empty"
    if kind == 3:
        length = random.randint(1, 64)
        return content[:start] + content[start + length :], f"{length} bytes left out at {start}"
    if kind == 4:
        return content[:start] + random.bytes(random.randint(1, 64)) + content[start:], f"bytes put in at {start}"
    if kind == 5:
        length = random.randint(1, 4096)
        changed[start : start + length] = bytes(len(changed[start : start + length]))
        return bytes(changed), f"{length} zeros at {start}"
    if kind == 6:
        changed[start : start + 4] = b"\xff" * len(changed[start : start + 4])
        return bytes(changed), f"the largest number at {start}"
    for _ in range(1 if kind == 7 else 16):
        changed[random.randint(max(1, min(size, _HEAD)) if random.rand() < 0.3 else size)] ^= 1 << random.randint(8)
    return bytes(changed), "a bit turned" if kind == 7 else "sixteen bits turned"


def damage_json(text: str, random: Random) -> tuple[str, str]:
    """Puts a value of another type or meaning somewhere into a JSON text, or leaves one out."""
    if random.rand() < 0.1:
        other = _TEXTS[random.randint(len(_TEXTS))]
        return other, f"{other[:12]!r} instead of all"
    places: list[tuple[Any, Any]] = []
    root = [json.loads(text)]
    _collect(root, places)
    holder, key = places[random.randint(len(places))]
    if isinstance(holder, dict) and random.rand() < 0.25:
        del holder[key]
        return json.dumps(root[0] if root else None), f"{key} left out"
    value = _VALUES[random.randint(len(_VALUES))]
    holder[key] = value
    return json.dumps(root[0]), f"{key} = {str(value)[:12]!r}"


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        places.append((value, key))
        _collect(inner, places)


def damage_table(text: str, random: Random) -> tuple[str, str]:
    """Changes cells, lines or columns of a CSV text."""
    rows = [line.split(",") for line in text.splitlines()]
    row, kind = random.randint(len(rows)), random.randint(8)
    column = random.randint(len(rows[row]))
    if kind == 0:
        rows.insert(row, list(rows[row]))
        how = f"line {row + 1} twice"
    elif kind == 1:
        del rows[row]
        how = f"line {row + 1} left out"
    elif kind == 2:
        rows = [line[:column] + line[column + 1 :] for line in rows]
        how = f"column {column + 1} left out"
    elif kind == 3:
        rows[row] = rows[row][:column]
        how = f"line {row + 1} cut off"
    elif kind == 4:
        other = rows[random.randint(len(rows))]
        rows[row][column] = other[random.randint(len(other))]
        how = f"line {row + 1}, column {column + 1} from elsewhere"
    else:
        value = ("", '"', "-1", "nan", "1e400", "../../evil", "/dev/zero", "é\udc80", "a\0b", "9" * 40, "=1+1", " ")
        rows[row][column] = value[random.randint(len(value))]
        how = f"line {row + 1}, column {column + 1} = {rows[row][column][:12]!r}"
    end = ("\n", "\n", "\r\n")[random.randint(3)]
    return end.join(",".join(line) for line in rows) + end, how


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 * 2**30)


# What may be in a file's place
_REPLACEMENTS: dict[str, Callable[[Path], object]] = {
    "a named pipe": lambda path: os.mkfifo(path),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link that leaves the folder": lambda path: path.symlink_to("../../victims/secret.txt"),
    "a folder": lambda path: path.mkdir(),
    "missing": lambda path: None,
    "eight gigabytes of nothing": _sparse,
}
