"""The lines of a CSV file, whichever spreadsheet wrote it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.video.opening import read_file, shown
from dmcl_tf.errors import InputError

_SEPARATORS = ",;\t"
_SEPARATOR_LINE = re.compile(r'"?sep=([,;|\t])"?', re.IGNORECASE)  # as spreadsheets write it before the header


def read_table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Reads a CSV file as spreadsheets write it: any separator, blank lines and columns, a byte order mark.

    Returns:
        The names of the columns in lower case; and for each line that is not blank its number and its values by column.
        A value below no name is there under the number of its place.

    Raises:
        InputError: it cannot be read, or is no CSV file in UTF-8.
    """
    try:
        text = read_file(path, remedy="expected a CSV file").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"not a CSV file in UTF-8 ({error}); save it as one"
        raise InputError(f"--videos={shown(path)}: {reason}") from error
    except InputError as error:
        raise InputError(f"--videos={error}") from None
    try:
        lines = [(number, [value.strip() for value in line]) for number, line in _split(text)]
    except InputError as error:
        raise InputError(f"--videos={shown(path)}, {error}") from None
    filled = [(number, line) for number, line in lines if any(line)]
    columns = [name.lower() for name in filled[0][1]] if filled else []
    table = []
    for number, line in filled[1:]:
        named = [name or str(place) for place, name in enumerate(columns)]
        named += [str(place) for place in range(len(named), len(line))]
        table.append((number, dict(zip(named, [*line, *[""] * (len(named) - len(line))]))))
    return [name for name in columns if name], table


def _split(text: str) -> Iterator[tuple[int, list[str]]]:
    """The values of each line and the number at which it begins; the separator parts the header most often."""
    skipped, separator = 0, ""
    for line in text.splitlines():
        given = _SEPARATOR_LINE.fullmatch(line.strip())
        if given:
            separator = given[1]
        elif line.strip(f" {_SEPARATORS}"):
            separator = separator or max(_SEPARATORS, key=line.count)
            break
        skipped += 1
    rest = text if not skipped else "".join(text.splitlines(keepends=True)[skipped:])
    reader = csv.reader(io.StringIO(rest, newline=""), delimiter=separator or ",", strict=True)
    begin = skipped + 1
    try:
        for values in reader:
            yield begin, values
            begin = skipped + reader.line_num + 1
    except csv.Error as error:
        reason = f'{error}; is there a quote (") that is not closed, or text behind one that is?'
        raise InputError(f"line {begin}: {reason}") from None
