"""Commands that are killed at random moments, and started again until they come to their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def command(stage: str, sound: Path, place: Path) -> list[str]:
    """The command line of a stage that works in a folder of its own."""
    if stage == "prepare":
        own = [f"--videos={sound}/own/videos.csv", f"--data_dir={place}", "--frame_size=24", "--flow_from=rgb"]
        arguments = ["data_prep.make_tfrecords", "--dataset=custom", *own, "--workers=2", f"--records={place}/records"]
    else:
        tiny = ["--frame_size=40", "--crop_size=32", "--variant=testing", "--batch_size=4", "--warmup_epochs=0"]
        tiny += ["--epochs=6", "--validate_every=1", "--deterministic", f"--checkpoints={place}/checkpoints"]
        arguments = ["dmcl_tf.train", f"--records={sound}/records", *tiny]
    return [sys.executable, "-m", *arguments]


def contents(place: Path) -> dict[str, bytes]:
    """What a command leaves that must not depend on how often it was killed."""
    paths = [*place.rglob("*.tfrecord"), *place.rglob("*.csv"), *place.rglob("dataset.json")]
    return {str(path.relative_to(place)): path.read_bytes() for path in paths}


def run(stage: str, sound: Path, root: Path, kills: int, seed: int) -> list[str]:
    """Kills a stage so often, and compares what it leaves with that of an undisturbed run; returns what is wrong."""
    faults, whole = [], root / f"{stage} undisturbed"
    begin = time.monotonic()
    faults += _finish(command(stage, sound, whole), whole, "undisturbed")
    longest, random = time.monotonic() - begin, np.random.RandomState(seed)
    place, killed = root / f"{stage} killed", 0
    while killed < kills and not faults:
        place.mkdir(exist_ok=True)
        process = _begin(command(stage, sound, place), place)
        try:
            process.wait(timeout=random.uniform(0.1, 1.0) * longest)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        if process.returncode:
            faults.append(f"{stage}: after {killed} kills: {(place / 'log').read_text()[-300:]}")
        elif contents(place) != contents(whole):
            faults.append(f"{stage}: after {killed} kills it is not what an undisturbed run leaves")
        place = root / f"{stage} killed {killed}"  # it came to its end; the next kill needs work
    faults += _finish(command(stage, sound, place), place, f"after {killed} kills")
    if contents(place) != contents(whole):
        faults.append(f"{stage}: after {killed} kills it is not what an undisturbed run leaves")
    if list(root.rglob("*.partial")):
        faults.append(f"{stage}: half-written files are left")
    return faults


def _begin(arguments: Sequence[str], place: Path) -> subprocess.Popen:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    with (place / "log").open("w") as log:
        return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)


def _finish(arguments: Sequence[str], place: Path, when: str) -> list[str]:
    place.mkdir(exist_ok=True)
    status = _begin(arguments, place).wait(timeout=600)
    return [f"{arguments[2]}, {when}: {(place / 'log').read_text()[-300:]}"] if status else []
