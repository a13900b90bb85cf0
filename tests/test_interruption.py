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
import pytest

ROOT = Path(__file__).resolve().parents[1]
SEED = 20210105
STAGES = ("frames/24/*/rgb/000000.jpg", "frames/24/*5_s01_e00_v02/flow", "records/24/train*")


def command(data_dir, *arguments):
    small = ("--dataset=nwucla", "--size=24", "--flow_preset=fast", "--videos_per_shard=3", "--workers=2")
    return [sys.executable, str(ROOT / "data_prep/make_tfrecords.py"), *small, f"--data_dir={data_dir}", *arguments]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def make_raw(root, write_nwucla_tree):
    return write_nwucla_tree(root, frames=16)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, write_nwucla_tree):
    """The data folder of one run, and its duration in seconds."""
    data_dir = make_raw(tmp_path_factory.mktemp("undisturbed"), write_nwucla_tree)
    start = time.monotonic()
    subprocess.run(command(data_dir), cwd=ROOT, check=True, capture_output=True)
    return data_dir, time.monotonic() - start


@pytest.fixture
def data_dir(undisturbed, tmp_path):
    (tmp_path / "multiview_action").symlink_to(undisturbed[0] / "multiview_action")
    return tmp_path


def start(arguments):
    return subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def test_killing_at_every_stage(undisturbed, data_dir):
    arguments = command(data_dir)
    for stage in STAGES:
        process = start(arguments)
        while process.poll() is None and not any(data_dir.glob(stage)):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        # the last stage is short: it may have come to its end by itself
        assert process.wait() == -signal.SIGKILL or stage.startswith("records")
    subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)
    assert contents(data_dir / "records/24") == contents(undisturbed[0] / "records/24")
    stored = [path.relative_to(data_dir) for path in sorted(data_dir.glob("frames/24/*/*/*.jpg"))]
    assert len(stored) == 30 * 3 * 16
    for path in stored[::7]:
        assert (data_dir / path).read_bytes() == (undisturbed[0] / path).read_bytes()
    assert not list(data_dir.rglob("*.partial"))


def test_killing_at_random_moments_while_frames_are_removed(undisturbed, data_dir, request):
    """Every second time the workers are killed with their parent, else they have to notice by themselves."""
    random = np.random.RandomState(SEED)
    arguments = command(data_dir, "--keep_frames=false")
    longest, kills = undisturbed[1], 0
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
            assert contents(data_dir / "records/24") == contents(undisturbed[0] / "records/24")
            shutil.rmtree(data_dir / "records")
            longest *= 0.8
    subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)
    assert contents(data_dir / "records/24") == contents(undisturbed[0] / "records/24")
    left = [path for path in data_dir.glob("frames/24/**/*") if path.suffix in (".jpg", ".partial")]
    assert left == []
