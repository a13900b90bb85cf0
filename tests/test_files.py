"""Files of ours: locks that name who holds them, and readers that wait for nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from dmcl_tf import files
from dmcl_tf.data.records import read_about, read_record
from dmcl_tf.data.table import Description, read_videos
from dmcl_tf.errors import InputError
from dmcl_tf.files import lock, open_regular, read_bytes, read_json
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.runs.progress import find_checkpoint
from dmcl_tf.scoring.results import read_results

ME = f"process {os.getpid()} on {socket.gethostname()}"


def test_a_lock_that_is_shared_names_all_who_hold_it(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    with lock(tmp_path, shared=True):
        with lock(tmp_path, shared=True):
            pass
        with (tmp_path / ".lock").open("a") as file:
            file.write(f"process {ended.pid} on {socket.gethostname()}\nprocess 7 on elsewhere\n")
        with pytest.raises(InputError, match=rf"{tmp_path} is in use by {ME}, {ME}, process 7 on elsewhere: let it"):
            lock(tmp_path).__enter__()
    with lock(tmp_path), pytest.raises(InputError, match=rf"{tmp_path} is in use by {ME}: let it finish"):
        lock(tmp_path, shared=True).__enter__()
    assert (tmp_path / ".lock").read_text() == ""


def test_an_error_names_the_file_that_is_meant(tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with pytest.raises(OSError, match="folder") as caught, files.atomic_path(tmp_path / "folder") as partial:
        partial.write_text("x")
    assert caught.value.filename == str(tmp_path / "folder")


@pytest.mark.parametrize("content", [b"", b"\xff\n", b"process 99999999999999999999 on here\n"])
def test_a_lock_whose_owner_is_not_legible(tmp_path, content):
    with lock(tmp_path):
        (tmp_path / ".lock").write_bytes(content)
        with pytest.raises(InputError, match="is in use by another process: let it finish, or stop it"):
            lock(tmp_path).__enter__()


def readers():
    folder = RunFolder
    return {
        "config.json": lambda path: folder(path.parent).load(),
        "history.csv": lambda path: folder(path.parent).read_history(),
        "results.json": lambda path: read_results(path.parent),
        "dataset.json": lambda path: read_json(path, Description, "make it again"),
        "videos.csv": lambda path: read_videos(path, None),
        "checkpoint": lambda path: find_checkpoint(path.parent),
        "a.tfrecord": read_record,
        "b.tfrecord": read_about,
    }


@pytest.mark.parametrize("name", readers())
def test_pipes_and_devices_in_place_of_our_files_are_named(tmp_path, name):
    path, read = tmp_path / name, readers()[name]
    for make, kind in (
        (lambda: os.mkfifo(path), "a named pipe"),
        (lambda: path.symlink_to("/dev/zero"), "a device"),
        (path.mkdir, "a folder"),
    ):
        make()
        with pytest.raises(InputError, match=f"{name}.* it is {kind}; expected a file"):
            read(path)
        path.rmdir() if path.is_dir() else path.unlink()


def test_sizes_of_our_files_are_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_LARGEST", 2**20)
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(InputError, match=r"a\.json: 1 MiB; expected at most 1"):
        read_bytes(tmp_path / "a.json")
    with open_regular(tmp_path / "a.json") as file:  # where parts are read
        assert file.read(1) == b"\0"


def test_what_a_killed_process_left_half_written_goes_when_another_writes_there(tmp_path):
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with files.atomic_path(tmp_path / "elsewhere" / "a.csv") as partial:
        partial.touch()
    mine = partial.name.removeprefix("a.csv")
    left = [f"{name}{mine.replace(str(os.getpid()), str(ended.pid))}" for name in ("a.csv", "b.png")]
    for name in (*left, f"c{mine}", f"d.00000000-{ended.pid}.partial", "e.partial"):
        (tmp_path / name).mkdir()
    files.write_text(tmp_path / "a.csv", "whole")
    # those of this process, of another host, and of others' making stay
    kept = {"elsewhere", "a.csv", f"c{mine}", f"d.00000000-{ended.pid}.partial", "e.partial"}
    assert {path.name for path in tmp_path.iterdir()} == kept
