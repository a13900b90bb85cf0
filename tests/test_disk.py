"""Disk space: the prediction, the refusal, and what a full disk leaves behind."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from preparing import ROOT, command, contents, prepare, settings

from data_prep import make_tfrecords
from data_prep.running import disk
from dmcl_tf.errors import InputError, is_disk_full
from dmcl_tf.files import atomic_path, write_json

GB = 10**9


def arguments(raw, place, *more):
    small = ("--dataset=nwucla", "--frame_size=48", "--flow_algorithm=dis", f"--data_dir={raw}")
    return [*small, f"--records={place / 'records'}", *more]


@pytest.fixture(scope="module")
def raw(tmp_path_factory, write_nwucla_tree):
    return write_nwucla_tree(tmp_path_factory.mktemp("raw"), frames=9, size=(96, 128))


@pytest.fixture(scope="module")
def finished(raw, tmp_path_factory):
    place = tmp_path_factory.mktemp("finished")
    prepare(*arguments(raw, place))
    return place / "records"


def test_a_sample_goes_first():
    assert disk.sample_first(list(range(3))) == [0, 1, 2]
    assert disk.sample_first([]) == []
    ordered = disk.sample_first(list(range(80)))
    assert sorted(ordered[: disk.SAMPLE]) == list(range(0, 80, 10))
    assert sorted(ordered) == list(range(80))


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (999_600, "1 MB"), (2.5e9, "2.5 GB"), (3e15, "3e+03 TB")],
)
def test_bytes_are_readable(count, text):
    assert disk.readable(count) == text


def set_free(monkeypatch, free):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9 * GB, 9 * GB - free, free))


def test_what_is_needed_is_compared_with_what_is_free(tmp_path, monkeypatch):
    set_free(monkeypatch, 5 * GB)
    with pytest.raises(InputError, match=rf"^{tmp_path}: about 5.5 GB are needed there and 5 GB are free: free some"):
        disk.check_space(tmp_path, 5.5 * GB, ignore=False)
    disk.check_space(tmp_path, 5.5 * GB, ignore=True)
    disk.check_space(tmp_path, 4.5 * GB, ignore=False)


def test_what_does_not_fit_is_refused_after_the_first_videos(raw, finished, tmp_path, monkeypatch):
    set_free(monkeypatch, 10**5)
    with pytest.raises(InputError, match=r"100 kB are free.*--ignore_disk_space"):
        prepare(*arguments(raw, tmp_path))
    assert len(list((tmp_path / "records").glob("videos/*/*.tfrecord"))) == disk.SAMPLE
    assert not (tmp_path / "records/videos.csv").exists()
    prepare(*arguments(raw, tmp_path, "--ignore_disk_space"))
    assert contents(tmp_path / "records") == contents(finished)
    prepare(*arguments(raw, tmp_path))  # nothing is needed any more


def test_the_prediction_comes_close(raw, finished, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(make_tfrecords.disk, "check_space", lambda directory, needed, ignore: asked.append(needed))
    prepare(*arguments(raw, tmp_path))
    sizes = sorted(path.stat().st_size for path in finished.glob("videos/*/*.tfrecord"))
    assert asked == [pytest.approx(sum(sizes) * (30 - disk.SAMPLE) / 30, rel=0.1)]


def test_a_full_disk_names_the_file_and_leaves_no_half_one(tmp_path):
    def write_half():
        with atomic_path(tmp_path / "record") as unfinished:
            unfinished.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as caught:
        write_half()
    assert caught.value.filename == str(tmp_path / "record")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_from_other_errors():
    assert is_disk_full(RuntimeError("there; No space left on device"))  # as TensorFlow says it
    assert is_disk_full(OSError(errno.EDQUOT, "over"))
    assert not is_disk_full(OSError(errno.EACCES, "No space left on device"))


def test_a_full_disk_while_dataset_json_is_written(tmp_path, monkeypatch):
    def write_half(path, text, **_):
        path.write_bytes(text[:100].encode())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", write_half)
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / "dataset.json", {"a": 1})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 400 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        reason = done.stderr.strip() if done.returncode else ""
    except OSError as error:
        reason = str(error)
    if reason:
        pytest.skip(f"a small file system cannot be mounted here: {reason}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_disk_that_is_really_full_ends_in_one_line_and_the_same_command_continues(raw, finished, small_disk, workers):
    given = arguments(raw, small_disk, "--ignore_disk_space", f"--workers={workers}")
    done = subprocess.run(command(*given), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert f"error: {small_disk}/records/videos/" in line
    assert "the disk is full; free some space and run the same command again" in line
    assert "Traceback" not in done.stderr
    assert not list(small_disk.rglob("*.partial"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    prepare(*given)
    assert contents(small_disk / "records") == contents(finished)


def test_a_protected_or_blocked_folder_is_named(raw, tmp_path):
    (tmp_path / "records").write_text("in the way")
    done = subprocess.run(command(*arguments(raw, tmp_path)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"error: {tmp_path}/records: File exists; give another place, or make way"]


def test_settings_of_the_disk():
    assert settings("--ignore_disk_space").ignore_disk_space
