"""Checking raw folders: counts beside published ones, and a line for each fault, by headers or by decoding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from raw import depth_frame, write_image, write_video

from data_prep import check_dataset as script
from dmcl_tf.flag_groups import define

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ("S001C001P001R001A001", "S001C002P003R001A001", "S001C003P001R002A060")


def write_ntu(root, frames=9):
    for name in SAMPLES:
        write_video(root / "nturgb+d_rgb" / f"{name}_rgb.avi", frames)
        for index in range(frames):
            write_image(root / "nturgb+d_depth_masked" / name / f"MDepth-{index + 1:08d}.png", depth_frame(index))


def write_custom(root):
    write_video(root / "rgb.avi", 9)
    for index in range(9):
        write_image(root / "depth" / f"{index}.png", (depth_frame(index) // 20).astype(np.uint8))
    lines = ["video_id,label,split,rgb,depth", "a,x,train,rgb.avi,depth", "b,y,train,rgb.avi,depth"]
    (root / "videos.csv").write_text("\n".join([*lines, "c,y,test,rgb.avi,depth"]) + "\n")


def run(*arguments, capsys):
    """Returns the script's status and what it prints."""
    values = define(script.FLAG_GROUPS, flags.FlagValues())
    values(["check_dataset", "--workers=1", *arguments])
    try:
        script.main(values)
        status = 0
    except SystemExit as ended:
        status = ended.code
    return status, capsys.readouterr().out


@pytest.fixture
def check(capsys):
    return lambda *arguments: run(*arguments, capsys=capsys)


@pytest.mark.parametrize("depth", [[], ["--full"]])
def test_good_data(tmp_path, check, depth):
    write_custom(tmp_path)
    status, text = check("--dataset=custom", f"--videos={tmp_path}/videos.csv", f"--data_dir={tmp_path}", *depth)
    assert status == 0
    assert text.splitlines()[-1].startswith(f"own videos in {tmp_path}: 3 videos, nothing is wrong")
    assert "wrong:" not in text


def test_counts_stand_beside_the_published_ones(tmp_path, check):
    write_ntu(tmp_path)
    status, text = check("--dataset=ntu60", f"--data_dir={tmp_path}")
    assert status == 1  # most of the data set is missing
    rows = {" ".join(line.split()[:-2]): line.split()[-2:] for line in text.splitlines() if len(line.split()) > 2}
    assert rows["videos"] == ["3", "56880"]
    assert rows["drink water"] == ["2", "948"]
    assert rows["walking apart from each other"] == ["1", "948"]
    assert rows["view 2"] == ["1", "18960"]
    assert ["subject", "1", "2"] in [line.split() for line in text.splitlines()]
    assert "wrong: drop: 0 found of 948 expected" in text


def faults(text):
    return [
        line[len("wrong: ") :] for line in text.splitlines() if line.startswith("wrong: ") and "expected" not in line
    ]


def test_faults_by_header_and_by_decoding(tmp_path, check):
    write_ntu(tmp_path)
    rgb, depth = tmp_path / "nturgb+d_rgb", tmp_path / "nturgb+d_depth_masked"
    (rgb / f"{SAMPLES[0]}_rgb.avi").write_text("text")
    (depth / SAMPLES[1] / "MDepth-00000004.png").write_bytes(b"")
    cut = depth / SAMPLES[1] / "MDepth-00000005.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    for index in range(9):
        write_image(depth / SAMPLES[2] / f"MDepth-{index + 1:08d}.png", np.zeros((24, 32), np.uint16))
    write_video(rgb / "S001C001P001R001A002_rgb.avi", 2)
    arguments = ("--dataset=ntu60", f"--data_dir={tmp_path}")
    missing = f"{rgb}/S001C001P001R001A002_rgb.avi: there is no {depth}/S001C001P001R001A002; unpack it"
    opened = f"{rgb}/{SAMPLES[0]}_rgb.avi: not a video that can be decoded; copy or download it again"
    empty = f"{depth}/{SAMPLES[1]}/MDepth-00000004.png: the file is empty; download it again"
    status, text = check(*arguments)
    assert (status, faults(text)) == (1, [opened, missing, empty])
    status, text = check(*arguments, "--full")
    assert status == 1
    assert faults(text) == [
        opened,
        missing,
        f"{empty}; its frame is left out",
        f"{cut}: the PNG is cut off or damaged; download it again; its frame is left out",
        f"{SAMPLES[2]}: depth is blank: every frame is of one colour",
    ]
    _, text = check(*arguments, "--show=1")
    assert "… and 66 more; --show=67 prints all" in text  # the total, 3 views, 60 classes and the three of above


def test_lengths_that_differ_are_found_by_headers(tmp_path, check):
    write_custom(tmp_path)
    write_video(tmp_path / "rgb.avi", 20)
    arguments = ("--dataset=custom", f"--videos={tmp_path}/videos.csv", f"--data_dir={tmp_path}")
    status, text = check(*arguments)
    assert status == 1
    assert faults(text)[0] == "a: the modalities differ in their number of frames (rgb 20, depth 9)"
    assert check(*arguments, "--length_tolerance=11")[0] == 0


@pytest.mark.parametrize("depth", [[], ["--full"]])
def test_flow_of_a_wrong_length_is_found(tmp_path, check, depth):
    write_custom(tmp_path)
    for index in range(5):
        write_image(tmp_path / "flow" / f"{index}.png", np.zeros((24, 32, 3), np.uint8))
    table = tmp_path / "videos.csv"
    table.write_text(table.read_text().replace(",depth", ",flow"))
    arguments = ("--dataset=custom", f"--videos={tmp_path}/videos.csv", f"--data_dir={tmp_path}", *depth)
    status, text = check(*arguments)
    assert status == 1
    assert text.count("5 flow images for 9 frames of rgb; expected as many, or one fewer") == 3


def test_the_wrong_depth_mode_is_found_by_decoding(tmp_path, check):
    write_ntu(tmp_path)
    status, text = check("--dataset=ntu60", f"--data_dir={tmp_path}", "--full", "--depth_mode=as_is")
    assert status == 1
    assert len([fault for fault in faults(text) if "16 bits per pixel, but as_is takes 8" in fault]) == 3


def test_every_line_names_its_video(tmp_path, check):
    write_custom(tmp_path)
    write_video(tmp_path / "clip.avi", 1)
    write_video(tmp_path / "longer.avi", 10)
    lines = ["video_id,label,split,rgb,depth", "one,x,train,clip.avi,clip.avi", "c,y,train,longer.avi,depth"]
    (tmp_path / "videos.csv").write_text("\n".join([*lines, "d,y,test,rgb.avi,depth"]) + "\n")
    status, text = check("--dataset=custom", f"--videos={tmp_path}/videos.csv", f"--data_dir={tmp_path}", "--full")
    assert status == 1
    assert faults(text) == [
        "c: the modalities differ in their number of frames (rgb 10, depth 9): aligned on the first 9",
        "one: it has one frame only, and so no motion",
    ]


def test_excluded_videos_are_no_fault(tmp_path, check):
    for name in ("a21_s02_v04_e01", "a01_s01_v01_e01"):
        for index in range(1, 3):
            write_image(tmp_path / "UWA3D-RGB" / name / f"{index:03d},.jpg", np.zeros((8, 8, 3), np.uint8))
            write_image(tmp_path / "UWA3D-Depth" / name / f"{index:03d}.png", np.zeros((8, 8), np.uint8))
    _, text = check("--dataset=uwa3dii", f"--data_dir={tmp_path}")
    assert "left out by all: a21_s02_v04: its RGB and depth are known not to be of one performance" in text
    assert "wrong: videos: 1 found of 1070 expected" in text
    assert not [line for line in faults(text) if "a21" in line]


def test_as_a_script(tmp_path):
    write_ntu(tmp_path)
    command = [sys.executable, "-m", "data_prep.check_dataset", "--dataset=ntu60", f"--data_dir={tmp_path}", "--full"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "things are wrong (every frame decoded)" in done.stdout.splitlines()[-1]
    done = subprocess.run([*command[:4], "--data_dir=none"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: none: expected the folder nturgb+d_rgb there; ask for the data set at")


def test_a_subject_in_two_splits_of_own_data_is_a_warning(tmp_path, check):
    write_custom(tmp_path)
    rows = ["video_id,label,split,subject,rgb,depth", "a,x,train,ann,rgb.avi,depth", "b,y,train,ben,rgb.avi,depth"]
    (tmp_path / "videos.csv").write_text("\n".join([*rows, "c,y,test,ann,rgb.avi,depth"]) + "\n")
    status, text = check("--dataset=custom", f"--videos={tmp_path}/videos.csv", f"--data_dir={tmp_path}")
    assert status == 0
    assert "warning: subject ann is in the splits test and train" in text
