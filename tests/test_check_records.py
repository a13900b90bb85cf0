"""Checking records: sound ones pass, and each kind of damage is named."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from tiny import MODALITIES, SIZE, encode_jpeg, marked_frame, write_records

from data_prep import check_records as script
from data_prep.inspection.contact_sheets import file_name, sheet, strip
from dmcl_tf.data import records
from dmcl_tf.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
VIDEOS = {"train": 6, "validation": 3, "test": 3}
TRAIN = records.shard_name("train", 0, 2)
FLAT = encode_jpeg(np.full((SIZE, SIZE, 3), 77, np.uint8))
APART = {
    split: {f"{split}-{k}": "view 3" if split == "test" else f"view {1 + k % 2}" for k in range(count)}
    for split, count in VIDEOS.items()
}


@pytest.fixture
def info(tmp_path):
    made = write_records(tmp_path / "records", VIDEOS, lengths=(9, 12))
    return dataclasses.replace(made, apart=APART).save(tmp_path / "records")


def check(info):
    """What is wrong and what is known."""
    shards, problems, known = script.check_records(records.DatasetInfo.load(info.directory), workers=1)
    assert [shard.name for shard in shards] == sorted(shard.name for shard in shards)
    return problems, known


def change(info, position, edit, name=TRAIN):
    """Lets `edit` change the example at a position of a shard, and `dataset.json` know the new size."""
    path = info.directory / name
    examples = [tf.train.SequenceExample.FromString(s.numpy()) for s in tf.data.TFRecordDataset(str(path))]
    edit(examples[position])
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example.SerializeToString(deterministic=True))
    shards = {
        split: tuple(dataclasses.replace(s, bytes=path.stat().st_size) if s.name == name else s for s in members)
        for split, members in info.shards.items()
    }
    return dataclasses.replace(info, shards=shards).save(info.directory)


def frame_list(example, modality):
    return example.feature_lists.feature_list[modality].feature


def set_frame(modality, index, content):
    def edit(example):
        frame_list(example, modality)[index].bytes_list.value[0] = content

    return edit


def set_all_frames(modality, content):
    def edit(example):
        for feature in frame_list(example, modality):
            feature.bytes_list.value[0] = content

    return edit


def set_number(name, value):
    def edit(example):
        example.context.feature[name].int64_list.value[0] = value

    return edit


def set_id(text):
    def edit(example):
        example.context.feature["video_id"].bytes_list.value[0] = text.encode()

    return edit


def test_sound_records_have_no_problems(info):
    assert check(info) == ([], [])


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (set_frame("depth", 3, b""), "train-0: depth, frame 3: the file is empty"),
        (set_frame("depth", 3, b"text"), "train-0: depth, frame 3: neither a JPEG nor a PNG image"),
        (set_frame("rgb", 0, encode_jpeg(marked_frame(0))[:-40]), "train-0: rgb, frame 0: the JPEG is cut off"),
        (
            set_frame("flow", 8, cv2.imencode(".png", marked_frame(0))[1].tobytes()),
            "train-0: flow, frame 8: not a JPEG image",
        ),
        (
            set_frame("rgb", 1, encode_jpeg(np.random.RandomState(0).randint(0, 255, (40, 56, 3), np.uint8))),
            "train-0: rgb, frame 1: 56×40 pixels, not 48²",
        ),
        (lambda example: frame_list(example, "depth").pop(), "train-0: depth has 8 frames, but its length is 9"),
        (
            lambda example: example.feature_lists.feature_list.pop("flow"),
            "train-0: it has the modalities depth, rgb, expected depth, flow, rgb",
        ),
        (set_number("height", 40), "train-0: it is said to be 48×40 pixels, but dataset.json says 48²"),
        (set_all_frames("depth", FLAT), "train-0: depth is blank: every frame is of one grey level"),
        (
            set_all_frames("depth", encode_jpeg(marked_frame(1))),
            "train-0: depth is constant: every frame is the same",
        ),
        (lambda example: example.context.feature.pop("label"), "record 0: it has no label"),
    ],
)
def test_a_record_that_is_wrong_in_itself_is_named(info, edit, line):
    problems, known = check(change(info, 0, edit))
    assert f"{TRAIN}: {line}" in problems
    assert not known


def test_a_label_beyond_the_classes(info):
    problems, _ = check(change(info, 0, set_number("label", 3)))
    assert f"{TRAIN}: train-0: the label 3 is none of the 3 classes" in problems
    assert "train: 1 videos of 'class 0', but dataset.json says 2" in problems


def test_what_the_raw_videos_do_not_show_is_known_and_not_wrong(info):
    info = change(info, 0, set_all_frames("depth", FLAT))
    warning = {"video_id": "train-0", "reason": "depth is blank: every frame is of one grey level"}
    problems, known = check(dataclasses.replace(info, warnings=(warning,)).save(info.directory))
    assert problems == []
    assert known == [f"{TRAIN}: train-0: depth is blank: every frame is of one grey level"]


def test_a_video_of_one_frame_needs_no_flow(info):
    for modality in ("rgb", "depth"):
        info = change(info, 0, set_all_frames(modality, encode_jpeg(marked_frame(1))))
    info = change(info, 0, set_all_frames("flow", FLAT))
    assert check(info) == ([], [])


def test_splits_that_share_a_video(info):
    problems, _ = check(change(info, 0, set_id("test-0")))
    assert f"{TRAIN}: test-0 is in {records.shard_name('test', 0, 2)} already" in problems


def test_splits_that_share_a_view(info):
    apart = {**APART, "test": {**APART["test"], "test-1": "view 2"}}
    problems, _ = check(dataclasses.replace(info, apart=apart).save(info.directory))
    assert problems == ["test: test-1 shares view 2 with train: train-1, which the protocol keeps apart"]


@pytest.mark.parametrize(
    ("clips", "line"),
    [
        ([[0, 1, 2], [3, 8, 9]], "test: the clips of test-0 ask for frames 0 … 9 of 9, counted from 0"),
        ([[-1, 1, 2]], "test: the clips of test-0 ask for frames -1 … 2 of 9, counted from 0"),
        ([[0, 2, 1]], "test: a clip of test-0 goes back in time"),
        ([], "test: the clips of test-0 are no lists of frame indices"),
        (None, "test: test-0 has no fixed clips"),
    ],
)
def test_fixed_clips_that_do_not_fit(info, clips, line):
    test = {**info.clips["test"], "test-0": clips}
    if clips is None:
        del test["test-0"]
    problems, _ = check(dataclasses.replace(info, clips={**info.clips, "test": test}).save(info.directory))
    assert problems == [line]


def test_clips_of_a_video_that_is_not_there(info):
    test = {**info.clips["test"], "ghost": [[0, 1]]}
    problems, _ = check(dataclasses.replace(info, clips={**info.clips, "test": test}).save(info.directory))
    assert problems == ["test: ghost has no record"]


@pytest.mark.parametrize("damage", ["truncated", "garbled"])
def test_a_damaged_shard_is_named_and_the_rest_is_checked(info, damage):
    path = info.directory / TRAIN
    content = path.read_bytes()
    middle = len(content) * 3 // 4
    path.write_bytes(content[:middle] if damage == "truncated" else content[:middle] + b"?" + content[middle + 1 :])
    problems, _ = check(change(info, 0, set_frame("rgb", 0, b""), name=records.shard_name("test", 1, 2)))
    assert any(line.startswith(f"{TRAIN}: it is corrupt or cut off: delete it and run") for line in problems)
    assert f"{TRAIN}: 2 videos, but dataset.json says 3" in problems
    assert f"{records.shard_name('test', 1, 2)}: test-1: rgb, frame 0: the file is empty" in problems
    assert any("bytes, but dataset.json says" in line for line in problems) == (damage == "truncated")


def test_shards_that_are_missing_or_too_many(info):
    (info.directory / TRAIN).rename(info.directory / "train-00000-of-00001.tfrecord")
    problems, _ = check(info)
    assert f"{TRAIN}: missing; run make_tfrecords.py again" in problems
    assert "train-00000-of-00001.tfrecord: dataset.json does not list it; delete it" in problems
    assert "train: 1 videos of 'class 0', but dataset.json says 2" in problems


def test_contact_sheets_show_the_frames():
    contents = {name: [encode_jpeg(np.full((48, 48, 3), 20 * i, np.uint8)) for i in range(9)] for name in MODALITIES}
    contents["flow"][4] = b"damaged"
    image = sheet("Title", MODALITIES, {"train: a": strip(contents), "test: ü": strip({"rgb": []})})
    assert image.shape == (4 * 18 + 3 * 80 + 80, 8 * 80, 3)
    first_row = image[3 * 18 : 3 * 18 + 80]
    means = [int(first_row[:, 80 * i : 80 * (i + 1)].mean()) for i in range(8)]
    assert means == pytest.approx([20 * i for i in (0, 1, 2, 3, 5, 6, 7, 8)], abs=3)
    assert image[-80:].mean() == pytest.approx(128, abs=2)
    assert file_name(3, "walk / ärgern") == "003_walk_ärgern.png"


def run(*arguments):
    command = [sys.executable, str(ROOT / "data_prep/check_records.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_script_prints_a_table_and_writes_sheets(info):
    done = run(f"--records={info.directory}")
    assert done.returncode == 0, done.stderr
    assert "class 0                    2           1           1" in done.stdout
    assert "frames per video        9–12        9–12        9–12" in done.stdout
    assert "12 videos in 6 shards" in done.stdout
    sheets = sorted(path.name for path in (info.directory / "contact_sheets").iterdir())
    assert sheets == [f"00{label}_class_{label}.png" for label in range(3)]
    assert cv2.imread(str(info.directory / "contact_sheets" / sheets[0])).shape == (5 * 18 + 9 * 80, 640, 3)


def run_here(monkeypatch, *arguments):
    values = flags.FlagValues()
    script.define_flags(values)
    values(["check", *arguments])
    monkeypatch.setattr(script.flags, "FLAGS", values)
    script.main()


def test_the_script_fails_where_something_is_wrong(info, monkeypatch, capsys):
    change(info, 0, set_frame("rgb", 0, b""))
    with pytest.raises(SystemExit) as caught:
        run_here(monkeypatch, f"--records={info.directory}", f"--sheets={info.directory / 'there'}")
    assert caught.value.code == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("wrong: ")] == [
        f"wrong: {TRAIN}: train-0: rgb, frame 0: the file is empty"
    ]
    assert printed[-1].endswith("1 problems")
    assert len(list((info.directory / "there").iterdir())) == 3


def test_a_folder_without_records_is_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=rf"{tmp_path}/dataset\.json: .*no complete records"):
        run_here(monkeypatch, f"--records={tmp_path}")
