"""Commands that are killed at random moments, and started again until they come to their end.

`python -m tests.campaign.kills --stage=train_workers --kills=50` kills the whole process group of a stage, and prints
what is wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from absl import app, flags

ROOT = Path(__file__).resolve().parents[2]


STAGES = ("prepare", "train", "train_workers", "evaluate", "export", "report", "experiments")
_TINY = ["--frame_size=40", "--crop_size=32", "--variant=testing", "--batch_size=4", "--warmup_epochs=0"]
_TINY += ["--epochs=6", "--validate_every=1", "--save_every=2", "--save_every_steps=1", "--deterministic"]


def command(stage: str, sound: Path, place: Path) -> list[str]:
    """The command line of a stage that works in a folder of its own, which is made ready for it."""
    training = ["dmcl_tf.train", f"--records={sound}/records", *_TINY, f"--checkpoints={place}/checkpoints"]
    if stage == "prepare":
        own = [f"--videos={sound}/own/videos.csv", f"--data_dir={place}", "--frame_size=24", "--flow_from=rgb"]
        arguments = ["data_prep.make_tfrecords", "--dataset=custom", *own, "--workers=2", f"--records={place}/records"]
    elif stage == "experiments":
        matrix = ["--methods=dmcl,independent", "--seeds=0", "--train_fractions=1", f"--results={place}/results"]
        own = [f"--videos={sound}/own/videos.csv", f"--records={sound}/prepared", f"--checkpoints={place}/checkpoints"]
        arguments = ["workflow", "experiments", "--dataset=custom", "--modalities=rgb,depth", *matrix, *own, *_TINY]
        arguments += ["--batch_size=2"]  # there are but three videos to train on
    elif stage.startswith("train"):
        arguments = training
    else:
        run = place / "runs" / "method" / "run"
        if not run.exists():
            shutil.copytree(sound / "runs" / "run", run)
            if stage == "evaluate":
                for path in (*run.glob("*.csv"), *run.glob("results*")):
                    if path.name != "history.csv":
                        path.unlink()
        arguments = {
            "evaluate": ["dmcl_tf.evaluate", f"--run_dir={run}", f"--records={sound}/records"],
            "export": ["dmcl_tf.export", f"--run_dir={run}", f"--export_dir={place}/exported"],
            "report": ["dmcl_tf.report", f"--runs={place}/runs", f"--output={place}/report"],
        }[stage]
    line = [sys.executable, "-m", *arguments]
    return _two_workers(line) if stage == "train_workers" else line


def _two_workers(line: Sequence[str]) -> list[str]:
    """Two workers of one process group; it fails where one of them fails."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    starts = []
    for index in range(2):
        described = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        starts.append(f'TF_CONFIG={shlex.quote(json.dumps(described))} {shlex.join(line)} & pids="$pids $!"; ')
    return ["sh", "-c", "".join(starts) + 'for pid in $pids; do wait "$pid" || exit 1; done']


def contents(place: Path) -> dict[str, bytes]:
    """What a command leaves that must not depend on how often it was killed."""
    endings = ("*.tfrecord", "*.csv", "dataset.json", "results.json", "report.md")
    paths = [path for ending in endings for path in place.rglob(ending)]
    return {str(path.relative_to(place)): path.read_bytes() for path in paths}


def run(stage: str, sound: Path, root: Path, kills: int, seed: int) -> list[str]:
    """Kills a stage so often, and compares what it leaves with that of an undisturbed run; returns what is wrong."""
    faults, longest, whole = [], 0.0, root / f"{stage} undisturbed"
    for place in (root / f"{stage} first", whole):  # the first one may compile what later ones find
        begin = time.monotonic()
        faults += _finish(command(stage, sound, place), place, "undisturbed")
        longest = time.monotonic() - begin
    random, killed, ended = np.random.RandomState(seed), 0, 0
    place = root / f"{stage} killed 0"
    while killed < kills and not faults:
        place.mkdir(exist_ok=True)
        process = _begin(command(stage, sound, place), place)
        try:
            process.wait(timeout=random.uniform(0.1, 1.0) * longest)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            faults += [f"{stage}: {left} is left of a group that was killed" for left in _left_over(process.pid)]
            continue
        if process.returncode:
            faults.append(f"{stage}: after {killed} kills: {(place / 'log').read_text()[-300:]}")
        elif contents(place) != contents(whole):
            faults.append(f"{stage}: after {killed} kills it is not what an undisturbed run leaves")
        ended += 1
        place = root / f"{stage} killed {ended}"  # the next kill needs work
    faults += _finish(command(stage, sound, place), place, f"after {killed} kills")
    if contents(place) != contents(whole):
        faults.append(f"{stage}: after {killed} kills it is not what an undisturbed run leaves")
    if list(root.rglob("*.partial")):
        faults.append(f"{stage}: half-written files are left")
    return faults


def _left_over(session: int) -> list[str]:
    """The processes of a session that are still there after the time that the system may take to end them."""
    for _ in range(100):
        there = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = path.read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    there.append(f"process {path.parent.name}")
        if not there:
            break
        time.sleep(0.1)
    return there


def _begin(arguments: Sequence[str], place: Path) -> subprocess.Popen:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (place / "log").open("w") as log:
        return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)


def _finish(arguments: Sequence[str], place: Path, when: str) -> list[str]:
    place.mkdir(exist_ok=True)
    status = _begin(arguments, place).wait(timeout=600)
    return [f"{arguments[2]}, {when}: {(place / 'log').read_text()[-300:]}"] if status else []


def try_stages(stage: str | None, disturb: Callable[[str, Path, Path], list[str]], well: str) -> None:
    """Disturbs one stage, or all of them, prints what is wrong or that all is `well`, and ends the process."""
    from . import originals

    root = Path(tempfile.mkdtemp(prefix="campaign-"))
    try:
        originals.make(root)
        broken = []
        for each in [stage] if stage else STAGES:
            faults = disturb(each, root / "sound", root)
            print(f"{each}: " + ("\n".join(faults) or well), flush=True)
            broken += faults
    finally:
        shutil.rmtree(root, ignore_errors=True)
    sys.exit(1 if broken else 0)


def main(arguments: list[str]) -> None:
    """Kills one stage, or all of them."""
    values = flags.FLAGS
    disturb = partial(run, kills=values.kills, seed=values.seed)
    try_stages(values.stage, disturb, f"{values.kills} kills, and the same end as undisturbed")


if __name__ == "__main__":
    flags.DEFINE_enum("stage", None, STAGES, "what is killed; default: every stage in turn")
    flags.DEFINE_integer("kills", 50, "how often each")
    flags.DEFINE_integer("seed", 11, "of the moments")
    app.run(main)
