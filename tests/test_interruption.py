"""kill -9 at any moment of any stage, then the same command: the records come out as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SEED = 20210105
STAGES = ("frames/24/*/rgb/000000.jpg", "frames/24/*5_s01_e00_v02/flow", "records/24/train*")


def command(data_dir, *arguments):
    small = ("--dataset=nwucla", "--size=24", "--flow_preset=fast", "--videos_per_shard=3", "--workers=2")
    return [sys.executable, str(ROOT / "data_prep/make_tfrecords.py"), *small, f"--data_dir={data_dir}", *arguments]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def start(arguments):
    return subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def test_killing_at_every_stage_and_at_random_moments(tmp_path, write_nwucla_tree, request):
    """Frames are removed on the way; every second time the workers have to notice by themselves that all is over."""
    undisturbed, data_dir = tmp_path / "undisturbed", tmp_path / "killed"
    write_nwucla_tree(undisturbed, frames=12)
    begin = time.monotonic()
    subprocess.run(command(undisturbed), cwd=ROOT, check=True, capture_output=True)
    longest = time.monotonic() - begin
    data_dir.mkdir()
    (data_dir / "multiview_action").symlink_to(undisturbed / "multiview_action")
    arguments = command(data_dir, "--keep_frames=false")

    for stage in STAGES:
        process = start(arguments)
        while process.poll() is None and not any(data_dir.glob(stage)):
            time.sleep(0.005)
        process.kill()
        # the last stage is short: it may have come to its end by itself
        assert process.wait() == -signal.SIGKILL or stage.startswith("records")

    random = np.random.RandomState(SEED)
    kills = 0
    while kills < request.config.getoption("--kills"):
        process = start(arguments)
        try:
            process.wait(timeout=random.uniform(0, longest))
        except subprocess.TimeoutExpired:
            kills += 1
            if kills % 2:
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        else:  # it came to its end before: the records are taken away, so that there is something to kill again
            assert process.returncode == 0
            assert contents(data_dir / "records/24") == contents(undisturbed / "records/24")
            shutil.rmtree(data_dir / "records")
            longest *= 0.8

    subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)
    assert contents(data_dir / "records/24") == contents(undisturbed / "records/24")
    left = [path for path in data_dir.glob("frames/24/**/*") if path.suffix in (".jpg", ".partial")]
    assert left == []
