"""Frames on disk: what is stored, kept, made again and skipped."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from absl import flags
from preparing import ROOT, settings

from data_prep import extract_frames as script
from data_prep.raw.base import Skipped
from data_prep.video.record import make_frames
from dmcl_tf.flag_groups import define


@pytest.fixture
def raw(tmp_path, write_nwucla_tree):
    return write_nwucla_tree(tmp_path / "raw", actions=(1, 2), views=(1,), frames=3)


def test_frames_are_those_of_records(raw, tmp_path):
    chosen = settings("--dataset=nwucla", f"--data_dir={raw}", "--frame_size=24", "--modalities=rgb,depth").raw
    video = chosen.list_videos(chosen.reader()).videos[0]
    about = script.extract_video(video, settings=chosen.videos, frames_dir=tmp_path)
    assert (about.frames, about.length) == (3, 3)  # short videos are not padded here
    frames, _, _ = make_frames(video, chosen.videos)
    for modality, images in frames.items():
        paths = sorted((tmp_path / video.video_id / modality).iterdir())
        assert [path.name for path in paths] == ["000000.jpg", "000001.jpg", "000002.jpg"]
        assert [path.read_bytes() for path in paths] == images
    stamp = paths[0].stat().st_mtime_ns
    assert script.extract_video(video, settings=chosen.videos, frames_dir=tmp_path) == about
    assert paths[0].stat().st_mtime_ns == stamp
    video.sources["rgb"].paths[1].write_bytes(b"")
    again = script.extract_video(video, settings=chosen.videos, frames_dir=tmp_path)
    assert again.length == 2
    assert "the file is empty" in again.warnings[0]
    for path in video.sources["rgb"].paths:
        path.write_bytes(b"")
    assert isinstance(script.extract_video(video, settings=chosen.videos, frames_dir=tmp_path), Skipped)


def test_no_folder_of_others_is_replaced(raw, tmp_path):
    chosen = settings("--dataset=nwucla", f"--data_dir={raw}", "--frame_size=24", "--modalities=rgb,depth").raw
    video = chosen.list_videos(chosen.reader()).videos[0]
    (tmp_path / video.video_id).mkdir()
    notes = tmp_path / video.video_id / "notes.txt"
    notes.write_text("mine")
    found = script.extract_video(video, settings=chosen.videos, frames_dir=tmp_path)
    assert isinstance(found, Skipped)
    assert "would be replaced, but it has no video.json, so that something else made it" in found.reason
    assert notes.read_text() == "mine"
    # even where it looks like ours, raw files stay
    source = video.sources["rgb"].paths[0].parent
    (source / "video.json").write_text("{}")
    own = replace(video, video_id=source.name)
    found = script.extract_video(own, settings=chosen.videos, frames_dir=source.parent)
    assert "would be replaced, but the raw files are in it" in found.reason
    assert all(path.exists() for path in video.sources["rgb"].paths)


def test_the_script_lists_what_it_skips(raw):
    for path in (raw / "multiview_action/view_1/a01_s01_e00").glob("*_rgb.jpg"):
        path.write_bytes(b"")
    command = [sys.executable, "-m", "data_prep.extract_frames", "--dataset=nwucla", f"--data_dir={raw}"]
    done = subprocess.run(
        [*command, "--frame_size=24", "--workers=1"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert f"1 videos in {raw}/frames/24" in done.stdout
    assert "no frame can be read" in (raw / "frames/24/skipped.json").read_text()
    assert not (raw / "frames/24/a02_s01_e00_v01/flow").exists()


def test_defaults():
    values = define(script.FLAG_GROUPS, flags.FlagValues())
    values(["extract_frames"])
    raw, frames_dir = script.settings_from_flags(values)
    assert (raw.dataset, raw.videos.modalities, str(frames_dir)) == ("demo", ("rgb", "depth"), "data/demo/frames/56")
    assert raw.videos.flow is None
