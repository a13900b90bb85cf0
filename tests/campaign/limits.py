"""Commands on a disk that is full or protected, and with too little memory, and then the same commands without that.

`python -m tests.campaign.limits --stage=train` prints what is wrong. It needs the right to mount: every stage works on
a small file system of its own.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from absl import app, flags

from .kills import ROOT, STAGES, command, contents, try_stages

SHARES = (0.02, 0.2, 0.4, 0.6, 0.8, 0.95)  # of what a stage writes, for which there is space
GIBIBYTES = (1, 1.5, 2, 2.5, 3, 4, 6)  # of address space
ALONE = ("train_workers", "report")  # which no process of ours starts, that could tell of their end
FULL, PROTECTED = "the disk is full", "Read-only file system"
_LARGE = "size=1g"
_PATIENCE = 600  # seconds


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Callable[[str], object]]:
    """A file system in memory at `place`; yields a function that changes its options."""
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", _LARGE, "tmpfs", str(place)], check=True)
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def run(stage: str, sound: Path, root: Path) -> list[str]:
    """Disturbs a stage in every way, each time on a disk of its own; returns what is wrong."""
    disk = root / f"{stage} whole"
    with small_disk(disk):
        line, before = command(stage, sound, disk), _used(disk)
        status, said = _end(line)
        written, expected = _used(disk) - before, contents(disk)
        if status:
            return [f"{stage}, undisturbed: {said[-500:]}"]
    faults = []
    for share in SHARES:
        disk = root / f"{stage} {share}"
        with small_disk(disk) as change:
            line = command(stage, sound, disk)
            change(f"size={int(_used(disk) + share * written)}")
            faults += _disturbed(f"{stage} with space for {share:.0%}", line, FULL, expected, disk, change)
    disk = root / f"{stage} protected"
    with small_disk(disk) as change:
        line = command(stage, sound, disk)
        change("ro")
        faults += _disturbed(f"{stage} on a protected disk", line, PROTECTED, expected, disk, change)
    for size in GIBIBYTES if stage not in ALONE else ():
        disk = root / f"{stage} {size} GiB"
        with small_disk(disk) as change:
            line = _as_a_stage(stage, command(stage, sound, disk), sound)
            faults += _disturbed(f"{stage} in {size} GiB", line, "memory", expected, disk, change, size)
    return faults


def _as_a_stage(stage: str, line: Sequence[str], sound: Path) -> list[str]:
    """The same work as a process of the one command, which tells how it ended; TensorFlow aborts without memory."""
    if stage == "experiments":
        return list(line)
    settings = [setting for setting in line[3:] if not setting.startswith(("--dataset", "--videos"))]
    small = ["--crop_size=24"] if stage == "prepare" else []  # the frames are
    return [*line[:2], "workflow", "custom", stage, f"--videos={sound}/own/videos.csv", *settings, *small]


def _disturbed(
    what: str,
    line: Sequence[str],
    reason: str,
    expected: dict[str, bytes],
    disk: Path,
    change: Callable[[str], object],
    gibibytes: float | None = None,
) -> list[str]:
    """Runs a command that cannot end well, or ends as undisturbed, and the same again with all it needs."""
    status, said = _end(line, gibibytes)
    errors = [text for text in said.replace("\r", "\n").splitlines() if text.startswith(("error:", "Traceback"))]
    print(f"{what}: status {status}; {' / '.join(errors)[:300]}", flush=True)
    faults = []
    if status and not any(text.startswith("error:") and reason in text for text in errors):
        faults.append(f"{what}: no line of an error that tells of {reason!r}, but {said[-300:]!r}")
    if "Traceback" in said and not gibibytes:  # an interpreter that ends for lack of memory may say anything before
        faults.append(f"{what}: a traceback")
    change(f"rw,{_LARGE}")
    if list(disk.rglob("*.partial")):
        faults.append(f"{what}: half-written files are left")
    status, said = _end(line)
    if status:
        faults.append(f"{what}, then with all it needs: {said[-300:]}")
    elif contents(disk) != expected:
        faults.append(f"{what}: the same command does not come to the end of an undisturbed one")
    return faults


def _used(disk: Path) -> int:
    figures = os.statvfs(disk)
    return (figures.f_blocks - figures.f_bfree) * figures.f_frsize


def _end(line: Sequence[str], gibibytes: float | None = None) -> tuple[int, str]:
    def limit() -> None:
        if gibibytes:
            resource.setrlimit(resource.RLIMIT_AS, (int(gibibytes * 2**30),) * 2)

    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with subprocess.Popen(
        line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=limit
    ) as process:
        try:
            said = process.communicate(timeout=_PATIENCE)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            process.kill()
            said = f"it did not end within {_PATIENCE} seconds"
    return process.returncode, said


def main(arguments: list[str]) -> None:
    """Disturbs one stage, or all of them."""
    try_stages(flags.FLAGS.stage, run, "one line each, and the same end as undisturbed")


if __name__ == "__main__":
    flags.DEFINE_enum("stage", None, STAGES, "what is disturbed; default: every stage in turn")
    app.run(main)
