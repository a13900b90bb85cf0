"""The table of a campaign, and docs/reliability.md, which shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from .trials import REFUSED, SKIPPED, TAKEN, Outcome
from .watchdog import FAULTS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
_COLUMNS = ("taken", "of these noticed", SKIPPED, REFUSED, *FAULTS)

_TEXT = """# What damaged files and kills do

This page was written by `python -m tests.campaign --full --seed={seed} --write` (Python {python}).

The command makes sound inputs of every kind and damages a copy of one: bits turned, bytes cut off, left out, put in or
set to zero, JSON values of another type, cells and lines of tables, and in a file's place a named pipe, a device, a
link that leads nowhere, elsewhere or to itself, a folder, or eight gigabytes of nothing. What would read it does so, in
a process whose time and memory are watched, beside files that nobody may touch.

{table}

`taken` is what is used as if it were sound; `noticed` of these are what the fingerprint of raw files, or `check
records`, tells from the sound input. `skipped` is a video, frame or row that is left out with its reason, `refused` a
command that ends in one line. A `traceback` is any other end, a crash included; a `hang` takes more than {patience:g}
seconds; `over 2 GB` is memory above what the process had before; `outside` is a file written, changed or deleted
anywhere but in the folder of the work. The command ends with status 1 where the last four columns hold anything. The
tests run a part of it (`tests/test_campaign.py`).

{kills}

## What cannot be seen

- `taken` are inputs whose damage is none that shows: a turned bit in the picture of a JPEG or a video decodes to other
  pixels without complaint, in a BMP, TIFF, PNM or NumPy file to another value, and a digit in a table to another
  number. No reader can know that. A CSV file whose label reads `wavy` has another label.
- A changed raw file is noticed by its fingerprint (name, size, beginning and end) when the same preparation runs again,
  and its record is made anew; of JPEG, PNG and WebP images only another name or size is noticed.
- A changed record is noticed by its checksum in `videos.csv`: an evaluation and `check records` read every byte,
  training only the frames it needs. Where a record was changed together with the table, only what contradicts itself
  is noticed.
- Checkpoints and exported models hold checksums of their own, and every accuracy in `results.json` must follow from
  `predictions.csv`.

## Kills, limits and the server

Three more commands disturb what runs, and compare what comes of it with an undisturbed run:

- `python -m tests.campaign.kills` ends the whole process group of each stage, of two workers and of the experiments at
  50 random moments each. The same command must come to the same bytes or history, with no process and no half-written
  file left.
- `python -m tests.campaign.limits` runs each on disks that become full at several moments or are protected, and in
  little memory: one line must say so, and the same command must end well once there is enough. It needs the right to
  mount. Commands that load TensorFlow refuse to begin below 2 GiB of addresses (`ulimit -v`), where libraries of
  TensorFlow crash or wait for ever while they are loaded; from there to what a run needs, TensorFlow may be ended by a
  signal, and the command that started it says so.
- `python -m tests.campaign.server` sends sound and hostile requests to a server from many clients at once. Sound ones
  must be answered as if they were alone, hostile ones in one line.
"""


def table(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """A line for each kind of input, and their sum."""
    rows = [("", "inputs", *_COLUMNS)]
    total: Counter[str] = Counter()
    for kind, ended in outcomes.items():
        counts = Counter(outcome.ending for outcome in ended)
        counts["of these noticed"] = sum(outcome.ending == TAKEN and outcome.noticed for outcome in ended)
        counts["inputs"] = len(ended)
        total += counts
        rows.append((kind, *(str(counts[name]) for name in rows[0][1:])))
    rows.append(("all", *(str(total[name]) for name in rows[0][1:])))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---|" + "---|" * (len(rows[0]) - 1), *lines[1:]])


def document(outcomes: Mapping[str, Sequence[Outcome]], kills: str, **facts: object) -> str:
    """The document."""
    return _TEXT.format(table=table(outcomes), kills=kills, **facts)
