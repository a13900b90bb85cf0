"""Disk space: the prediction, the refusal, and what a full disk leaves behind."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from absl import flags

from data_prep import make_tfrecords as script
from data_prep.running import disk
from data_prep.running.disk import VideoSize
from data_prep.video.extract_video import ExtractedVideo, read_video_file
from dmcl_tf.data import records
from dmcl_tf.errors import InputError, is_disk_full
from dmcl_tf.files import atomic_path, discard, write_json

ROOT = Path(__file__).resolve().parents[1]
GB = 10**9


def arguments(raw, place, *more):
    places = (f"--data_dir={raw}", f"--frames_dir={place / 'frames'}", f"--output={place / 'records'}")
    small = ("--dataset=nwucla", "--size=48", "--modalities=rgb,depth,flow", "--flow_algorithm=dis")
    return [*small, "--videos_per_shard=4", "--workers=1", *places, *more]


def settings(*given):
    values = flags.FlagValues()
    script.define_flags(values)
    values(["make_tfrecords", *given])
    return script.settings_from_flags(values)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def raw(tmp_path_factory, write_nwucla_tree):
    return write_nwucla_tree(tmp_path_factory.mktemp("raw"), frames=9, size=(96, 128))


@pytest.fixture(scope="module")
def finished(raw, tmp_path_factory):
    place = tmp_path_factory.mktemp("finished")
    script.make_records(settings(*arguments(raw, place)))
    return place


def test_samples_are_spread_evenly():
    assert disk.sample(list(range(3))) == [0, 1, 2]
    assert disk.sample(list(range(100))) == [0, 25, 50, 75]
    assert disk.sample([]) == []


def test_the_prediction_is_the_mean_of_the_sample():
    sizes = [VideoSize(300, 100), VideoSize(500, 200)]
    assert disk.predict(sizes, to_extract=10, to_record=20) == VideoSize(4000, 3000)
    assert disk.predict(sizes, to_extract=10, to_record=20, at_once=4) == VideoSize(4000, 600)
    assert disk.predict(sizes, to_extract=0, to_record=2, at_once=4) == VideoSize(0, 300)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2.5e9, "2.5 GB"), (3e15, "3e+03 TB")]
)
def test_bytes_are_readable(count, text):
    assert disk.readable(count) == text


def test_computed_flow_counts_as_the_frames_it_comes_from(tmp_path):
    for modality, size in (("rgb", 5000), ("depth", 100)):
        (tmp_path / modality).mkdir()
        (tmp_path / modality / "000000.jpg").write_bytes(os.urandom(size))
    video = ExtractedVideo("clip", 0, 1, 1, "")
    both = disk.measure(tmp_path, video, ("rgb", "flow"), {"flow": "rgb"})
    assert both.record == 10000
    assert both.frames == pytest.approx(2 * 8192 + 4096, rel=0.5)  # in blocks; depth lies there too
    assert disk.measure(tmp_path, video, ("depth",)).record == 100


def test_folders_of_one_disk_are_added_up(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9 * GB, 4 * GB, 5 * GB))
    needs = {tmp_path / "not/yet/there": 3 * GB, tmp_path: 2.5 * GB}
    with pytest.raises(InputError, match=r"about 5\.5 GB are needed in .*there and .*, 5 GB are free: free some"):
        disk.check_space(needs, ignore=False)
    disk.check_space(needs, ignore=True)
    disk.check_space({tmp_path: 4 * GB}, ignore=False)
    assert "disk: about 4 GB are needed" in capsys.readouterr().out


def test_what_does_not_fit_is_refused_before_the_work(raw, finished, tmp_path, monkeypatch, capsys):
    usage = shutil._ntuple_diskusage(10**6, 10**6, 10**5)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"100 kB are free.*--ignore_disk_space"):
        script.make_records(settings(*arguments(raw, tmp_path)))
    assert len(list((tmp_path / "frames").glob("*/rgb"))) == disk.SAMPLE
    assert not (tmp_path / "records").exists()
    script.make_records(settings(*arguments(raw, tmp_path, "--ignore_disk_space")))
    assert contents(tmp_path / "records") == contents(finished / "records")


def test_the_prediction_comes_close(raw, finished, tmp_path, capsys, monkeypatch):
    needs = {}
    monkeypatch.setattr(disk, "check_space", lambda given, ignore: needs.update(given))
    script.check_disk(settings(*arguments(raw, tmp_path)), script_videos(raw))
    files = (finished / "frames").rglob("*.jpg")
    stored = sum(512 * path.stat().st_blocks for path in files)
    recorded = sum(path.stat().st_size for path in (finished / "records").glob("*.tfrecord"))
    assert needs[tmp_path / "frames"] == pytest.approx(stored, rel=0.3)
    assert needs[tmp_path / "records"] == pytest.approx(recorded, rel=0.4)


def script_videos(raw):
    from data_prep.raw.nwucla import list_videos

    return list_videos(raw).videos


def test_a_full_disk_names_the_file_and_leaves_no_half_one(tmp_path):
    def write_half():
        with atomic_path(tmp_path / "shard") as unfinished:
            unfinished.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as caught:
        write_half()
    assert caught.value.filename == str(tmp_path / "shard")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_from_other_errors():
    full = tf.errors.ResourceExhaustedError(None, None, "there; No space left on device")
    assert is_disk_full(full)
    assert is_disk_full(OSError(errno.EDQUOT, "over"))
    assert not is_disk_full(tf.errors.ResourceExhaustedError(None, None, "out of memory"))
    assert not is_disk_full(OSError(errno.EACCES, "No space left on device"))


def test_a_full_disk_while_dataset_json_is_written(tmp_path, monkeypatch, finished):
    info = records.DatasetInfo.load(finished / "records")

    def write_half(path, text, **_):
        path.write_bytes(text[:100].encode())
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", write_half)
    for write in (lambda: info.save(tmp_path), lambda: write_json(tmp_path / "plan.json", {"a": 1})):
        with pytest.raises(OSError, match="No space left"):
            write()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_a_shard_is_written(raw, finished, tmp_path, monkeypatch):
    write = tf.io.TFRecordWriter.write
    written = []

    def fill_up(self, record):
        written.append(record)
        if len(written) == 6:
            raise tf.errors.ResourceExhaustedError(None, None, f"{tmp_path}; No space left on device")
        write(self, record)

    monkeypatch.setattr(tf.io.TFRecordWriter, "write", fill_up)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        script.make_records(settings(*arguments(raw, tmp_path)))
    assert sorted(path.suffix for path in (tmp_path / "records").iterdir()) == [".json", ".tfrecord"]
    monkeypatch.undo()
    script.make_records(settings(*arguments(raw, tmp_path)))
    assert contents(tmp_path / "records") == contents(finished / "records")


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


def test_a_disk_that_is_really_full_ends_in_one_line_and_the_same_command_continues(raw, finished, small_disk):
    given = arguments(raw, small_disk, "--ignore_disk_space")
    command = [sys.executable, str(ROOT / "data_prep/make_tfrecords.py"), *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert f"error: {small_disk}/frames/" in line
    assert "the disk is full; free some space and run the same command again" in line
    assert "Traceback" not in done.stderr
    enlarge = ["mount", "-o", "remount,size=3800k", str(small_disk)]  # enough for the frames
    subprocess.run(enlarge, check=True)
    with pytest.raises(tf.errors.ResourceExhaustedError, match=r"tfrecord.*No space left"):
        script.make_records(settings(*given))
    assert not list(small_disk.rglob("*.partial"))
    subprocess.run([*enlarge[:2], "remount,size=20m", str(small_disk)], check=True)
    script.make_records(settings(*given))
    assert contents(small_disk / "records") == contents(finished / "records")


def test_frames_that_are_not_kept(raw, finished, tmp_path):
    chosen = settings(*arguments(raw, tmp_path, "--keep_frames=false"))
    script.make_records(chosen)
    assert contents(tmp_path / "records") == contents(finished / "records")
    assert not list((tmp_path / "frames").rglob("*.jpg"))
    folders = [path for path in (tmp_path / "frames").iterdir() if path.is_dir()]
    assert len(folders) == 30
    assert all(read_video_file(folder).length == 9 for folder in folders)
    # a shard that is damaged is made again from frames that are
    shard = next((tmp_path / "records").glob("test-00001*"))
    shard.write_bytes(b"")
    script.make_records(chosen)
    assert contents(tmp_path / "records") == contents(finished / "records")
    assert not list((tmp_path / "frames").rglob("*.jpg"))


def test_an_interrupted_removal_is_taken_up_again(raw, finished, tmp_path):
    shutil.copytree(finished / "frames", tmp_path / "frames")
    shutil.copytree(finished / "records", tmp_path / "records")
    folder = tmp_path / "frames/a01_s01_e00_v01"
    (folder / "rgb").rename(folder / "rgb.partial")
    script.make_records(settings(*arguments(raw, tmp_path, "--keep_frames=false")))
    assert not list((tmp_path / "frames").rglob("*.jpg"))
    script.make_records(settings(*arguments(raw, tmp_path, f"--output={tmp_path / 'again'}")))
    assert contents(tmp_path / "again") == contents(finished / "records")


def test_discarding_takes_the_name_away_first(tmp_path, monkeypatch):
    (tmp_path / "rgb").mkdir()
    (tmp_path / "rgb" / "000000.jpg").write_bytes(b"x")
    monkeypatch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        discard(tmp_path / "rgb")
    assert [path.name for path in tmp_path.iterdir()] == ["rgb.partial"]
    monkeypatch.undo()
    discard(tmp_path / "rgb")  # nothing there
