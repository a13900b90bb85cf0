"""Tries damaged inputs and kills: `python -m tests.campaign --quick`, about a minute, or `--full`, an hour or less.

Prints the table of docs/reliability.md, which `--full --write` writes, and every input that ended in a traceback, a
hang, more than 2 GB of memory or a change outside its folder, with the numbers that make it again:
`--only="records:17"`.
"""

from __future__ import annotations

import itertools
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from absl import app, flags
from tqdm import tqdm

from . import kills, report
from .trials import TAKEN, TRIALS, Outcome
from .watchdog import FAULTS, Watchdog

SHARES = {"images": 3, "videos": 2, "state files of a run": 3, "tables of records": 2, "CSV of own videos": 2}
QUICK, FULL = 6, 60  # inputs of each kind, several times as many of those above

flags.DEFINE_boolean("quick", False, "a hundred inputs, in about a minute")
flags.DEFINE_boolean("full", False, "a thousand inputs and many kills")
flags.DEFINE_boolean("write", False, f"write {report.DOCUMENT.name}")
flags.DEFINE_integer("seed", 11, "of all damage")
flags.DEFINE_float("patience", 120.0, "seconds that an input may take")
flags.DEFINE_string("only", None, "one input again, kind:number")


def try_all(watchdog: Watchdog, each: int) -> dict[str, list[Outcome]]:
    """Tries so many inputs of each kind, and some multiple of it of the cheap ones."""
    wanted = [(kind, index) for kind in TRIALS for index in range(each * SHARES.get(kind, 1))]
    outcomes: dict[str, list[Outcome]] = {}
    for kind, index in itertools.product(TRIALS, range(-2, 0)):
        sound = watchdog.run(kind, index)
        if sound.ending != TAKEN:
            raise RuntimeError(f"{kind}: a sound input is not taken, so that nothing follows for damaged ones: {sound}")
    for kind, index in tqdm(wanted, desc="damaged inputs", unit="input", dynamic_ncols=True):
        outcome = watchdog.run(kind, index)
        outcomes.setdefault(kind, []).append(outcome)
        if outcome.ending in FAULTS:
            tqdm.write(f"{kind}:{index}: {outcome.ending}: {outcome.said}")
    return outcomes


def main(arguments: list[str]) -> None:
    values = flags.FLAGS
    if len(arguments) > 1 or values.quick + values.full + bool(values.only) != 1:
        sys.exit("error: give --quick, --full or --only=kind:number")
    root = Path(tempfile.mkdtemp(prefix="campaign-"))
    watchdog = Watchdog(root / "inputs", values.seed, values.patience)
    try:
        if values.only:
            kind, _, index = values.only.rpartition(":")
            print(watchdog.run(kind, int(index)))
            print((root / "inputs" / "log").read_text())
            return
        outcomes = try_all(watchdog, QUICK if values.quick else FULL)
        watchdog.close()
        counts = {"prepare": 2, "train": 0} if values.quick else {"prepare": 12, "train": 6}
        broken = [
            fault
            for stage, count in counts.items()
            if count
            for fault in kills.run(stage, root / "inputs" / "sound", root, count, values.seed)
        ]
        said = (
            f"Kills (SIGKILL) at random moments: {counts['prepare']} of a preparation, {counts['train']} of a training."
        )
        said += "\nThe same command came to the end that undisturbed runs have, byte for byte." if not broken else ""
        print("\n".join([report.table(outcomes), "", said, *broken]))
        if values.write and values.full:
            facts = {"seed": values.seed, "python": platform.python_version(), "patience": values.patience}
            report.DOCUMENT.write_text(report.document(outcomes, said, **facts), encoding="utf-8")
        if broken or any(outcome.ending in FAULTS for ended in outcomes.values() for outcome in ended):
            sys.exit(1)
    finally:
        watchdog.close()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    app.run(main)
