"""A part of the campaign, some damaged inputs of every kind; and that it sees what goes wrong. Kills have their own."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from campaign import report
from campaign.__main__ import QUICK, try_all
from campaign.mutations import damage_bytes, damage_json, damage_table
from campaign.trials import REFUSED, TAKEN, TRIALS, Outcome, one_line
from campaign.watchdog import FAULTS, HANG, MEMORY, OUTSIDE, TRACEBACK, Watchdog


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("campaign")


def test_damaged_inputs_end_in_one_line_and_touch_nothing_else(root):
    watchdog = Watchdog(root, seed=7, patience=120)
    try:
        outcomes = try_all(watchdog, QUICK)
    finally:
        watchdog.close()
    assert list(outcomes) == list(TRIALS)
    faults = [f"{kind}:{n} {o}" for kind, ended in outcomes.items() for n, o in enumerate(ended) if o.ending in FAULTS]
    assert not faults, "\n".join([*faults, (root / "log").read_text()[-5000:]])
    for kind, ended in outcomes.items():
        assert any(outcome.ending != TAKEN and outcome.said for outcome in ended), f"no damage to {kind} is seen"
    lines = report.table(outcomes).splitlines()
    assert len(lines) == 2 + len(TRIALS) + 1
    assert lines[-1].startswith(f"| all | {sum(map(len, outcomes.values()))} | ")


def fails(place, random):
    raise KeyError("odd")


def says_two_lines(place, random):
    return Outcome(REFUSED, one_line("one\ntwo"))


def dies(place, random):
    import os

    os.abort()


def sleeps(place, random):
    time.sleep(600)


def takes_memory(place, random):
    return Outcome(TAKEN, str(np.ones(9 * 2**25).sum()))  # 2.25 GiB


def deletes(place, random):
    next((place.case.parents[1] / "victims").iterdir()).unlink()
    return Outcome(TAKEN)


def behaves(place, random):
    return Outcome(TAKEN)


def test_what_goes_wrong_is_seen_and_the_next_one_is_tried(root):
    trials = {trial.__name__: trial for trial in (fails, says_two_lines, dies, sleeps, deletes, takes_memory, behaves)}
    watchdog, endings = Watchdog(root, seed=7, patience=120, trials=trials), {}
    try:
        for name in trials:
            watchdog.patience = 3 if name == "sleeps" else 120
            endings[name] = watchdog.run(name, 0).ending
    finally:
        watchdog.close()
    assert endings == {
        **dict.fromkeys(("fails", "says_two_lines", "dies"), TRACEBACK),
        "sleeps": HANG,
        "deletes": OUTSIDE,
        "takes_memory": MEMORY,
        "behaves": TAKEN,
    }


def test_the_same_seed_does_the_same_damage():
    content, text = bytes(range(256)) * 9, '{"a": [1, {"b": 2}], "c": "x"}'
    for damage, value in ((damage_bytes, content), (damage_json, text), (damage_table, "a,b\n1,2\n")):
        results = [[damage(value, np.random.RandomState(seed)) for seed in range(40)] for _ in range(2)]
        assert results[0] == results[1]
        assert len({how for _, how in results[0]}) > 5
        assert sum(changed != value for changed, _ in results[0]) > 30


def test_the_document_is_that_of_the_script():
    text = report.DOCUMENT.read_text(encoding="utf-8")
    written = re.sub(r"(?m)^\|.*\n", "", report.document({}, "@", seed="@", python="@", patience=120.0))
    parts = written.split("@")
    assert len(parts) == 4
    for part in parts:
        for paragraph in part.split("\n\n"):
            assert paragraph.strip() in text
    for kind in TRIALS:
        assert f"| {kind} |" in text
    assert max(map(len, text.splitlines())) <= 120
    assert Path(report.DOCUMENT).name in (report.DOCUMENT.parents[1] / "README.md").read_text(encoding="utf-8")
