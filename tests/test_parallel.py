"""Work in several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from data_prep.running.processes import run_parallel
from dmcl_tf.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # ended, but nobody has asked how


def _square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_is_done_once(workers):
    results = list(run_parallel(_square, range(40), workers=workers, description="squares"))
    assert sorted(results) == [number * number for number in range(40)]


def _die(number: int, deadly: int) -> int:
    if number == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_what_kills_its_process_is_found_and_all_else_is_done():
    work = partial(_die, deadly=5)
    results = run_parallel(work, range(12), workers=2, description="work", killed=lambda number: -number)
    assert sorted(results) == [-5, *(number for number in range(12) if number != 5)]


def test_without_a_name_for_it_the_work_ends():
    with pytest.raises(InputError, match="killed twice at the same work, perhaps for lack of memory: run the same"):
        list(run_parallel(partial(_die, deadly=0), range(2), workers=2, description="work"))


def _die_once(path: str) -> str:
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path


def test_what_was_killed_by_chance_is_done_again(tmp_path):
    paths = [str(tmp_path / name) for name in "abcd"]
    for path in paths[1:]:
        Path(path).touch()
    assert sorted(run_parallel(_die_once, paths, workers=2, description="work")) == paths


def _fail(number: int) -> int:
    if number == 3:
        raise OSError(28, "No space left on device", "file")
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_ends_the_work(workers):
    with pytest.raises(OSError, match="No space left on device: 'file'"):
        list(run_parallel(_fail, range(100), workers=workers, description="work"))


def test_the_first_process_started_within_holds_signals_back_as_well():
    """It is started together with the standard library's tracker of resources, whose start lets signals through."""
    program = (
        "import signal\n"
        "from functools import partial\n"
        "from data_prep.running.processes import run_parallel\n"
        "if __name__ == '__main__':\n"
        "    mask = partial(signal.pthread_sigmask, signal.SIG_BLOCK)\n"
        "    masks = run_parallel(mask, [()] * 2, workers=2, description='')\n"
        "    print([signal.SIGINT in mask for mask in masks])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[True, True]\n"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes under /proc")
def test_workers_end_with_a_killed_parent(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from data_prep.running.processes import run_parallel\n"
        "def work(item):\n"
        "    time.sleep(0.05)\n"
        "    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    for worker in run_parallel(work, range(10_000), workers=2, description='sleep'):\n"
        "        print(worker, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        workers = {int(process.stdout.readline()) for _ in range(20)}
        os.kill(process.pid, signal.SIGKILL)
    assert workers
    for _ in range(200):
        if not any(map(_runs, workers)):
            return
        time.sleep(0.05)
    pytest.fail(f"workers {sorted(workers)} outlive their parent")
