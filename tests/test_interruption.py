"""Interruptions at any moment, then the same command: the records come out as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from campaign.scheduler import run_parts
from preparing import ROOT, command, contents

SEED = 20210105
SMALL = ("--dataset=nwucla", "--frame_size=24", "--flow_preset=fast", "--workers=2")


def start(arguments, **streams):
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
        **(streams or {"stdout": subprocess.DEVNULL, "stderr": -3}),
    )


def children(process: int) -> list[int]:
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in text.split()]


def runs(process: int) -> bool:
    """Whether a process is there and has not ended; the one that keeps resources of the others may take a moment."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        if state == "Z":  # nobody has asked how it ended
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def raw(tmp_path_factory, write_nwucla_tree):
    return write_nwucla_tree(tmp_path_factory.mktemp("raw"), frames=12)


@pytest.fixture(scope="module")
def undisturbed(raw, tmp_path_factory):
    """The records of an undisturbed run, and how many seconds it takes."""
    records = tmp_path_factory.mktemp("undisturbed") / "records"
    begin = time.monotonic()
    arguments = command(*SMALL, f"--data_dir={raw}", f"--records={records}")
    subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)
    return contents(records), time.monotonic() - begin


def test_killing_at_random_moments(tmp_path, raw, undisturbed, request):
    """Every second time the workers have to notice by themselves that all is over."""
    expected, longest = undisturbed
    records = tmp_path / "records"
    arguments = command(*SMALL, f"--data_dir={raw}", f"--records={records}")
    random = np.random.RandomState(SEED)
    kills = 0
    while kills < request.config.getoption("--kills"):
        process = start(arguments)
        while kills == 0 and process.poll() is None and not any(records.glob("videos/*/*")):
            time.sleep(0.005)  # the first kill meets work, however slow the start is
        try:
            process.wait(timeout=random.uniform(0, longest if kills else 0.2))
        except subprocess.TimeoutExpired:
            kills += 1
            if kills % 2:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        else:  # it came to its end before: the records are taken away, so that there is something to kill again
            assert process.returncode == 0
            assert contents(records) == expected
            shutil.rmtree(records)
            longest *= 0.8
    subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)
    assert contents(records) == expected


def test_parts_in_any_order_killed_and_run_twice_make_the_same_files(tmp_path, raw, undisturbed, request):
    expected, longest = undisturbed
    kills, small = request.config.getoption("--kills"), (*SMALL[:-1], "--workers=1", f"--data_dir={raw}")
    records = f"--records={tmp_path / 'records'}"
    parts = min(2 * kills, 8)  # eight, of which six are killed and two run twice, with --kills=6
    planned = kills // 2 if kills < 4 else kills
    killed = run_parts(
        lambda part: command(*small, records, f"--part={part}"),
        parts,
        kills=planned,
        twice=parts // 4,
        longest=longest,
        seed=SEED,
        log=tmp_path / "log",
    )
    assert killed == planned
    subprocess.run(command(*small, records), cwd=ROOT, check=True, capture_output=True)
    assert contents(tmp_path / "records") == expected


def test_two_preparations_of_a_folder_at_once_make_the_same_files(tmp_path, raw, undisturbed):
    arguments = command(*SMALL, f"--data_dir={raw}", f"--records={tmp_path / 'records'}")
    processes = [start(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    waited = [f"in use by process {other.pid} on " in out for other, (out, _) in zip(processes[::-1], said)]
    assert sorted(waited) == [False, True]
    assert contents(tmp_path / "records") == undisturbed[0]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes under /proc")
@pytest.mark.parametrize(
    ("number", "to_all", "status"),
    [(signal.SIGTERM, False, 143), (signal.SIGINT, True, 130), (signal.SIGTERM, True, 143)],
)
def test_signals_end_in_one_line_and_end_the_workers(tmp_path, raw, number, to_all, status):
    records = tmp_path / "records"
    arguments = command(*SMALL, f"--data_dir={raw}", f"--records={records}")
    process = start(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any(records.glob("videos/*/*.tfrecord")):
        time.sleep(0.005)
    workers = children(process.pid)
    os.killpg(process.pid, number) if to_all else process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    assert [line for line in errors.splitlines() if line and "records:" not in line] == [
        "stopped: the same command continues"
    ]
    assert len(workers) >= 2
    assert not any(runs(worker) for worker in workers)
    assert not list(records.rglob("*.partial"))
