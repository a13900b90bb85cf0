"""Own videos from a CSV file: what it says, what is refused line by line, and records of any modalities."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from raw import depth_frame, write_image, write_video, write_volume

from data_prep import make_tfrecords
from data_prep.raw.custom import configure, read_csv
from dmcl_tf.data import records
from dmcl_tf.errors import InputError

COLUMNS = ("video_id", "label", "split", "rgb", "depth")


def write_csv(path: Path, rows, columns=COLUMNS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def row(video_id, label="wave", split="train", rgb="rgb.avi", depth="depth"):
    return [video_id, label, split, rgb, depth]


GOOD = [row("a"), row("b", "sit"), row("c", split="test"), row("d", "sit", "test")]


@pytest.fixture
def folder(tmp_path):
    """A video and a folder of depth that every row may name."""
    write_video(tmp_path / "rgb.avi", 10)
    for index in range(10):
        write_image(tmp_path / "depth" / f"{index}.png", (depth_frame(index) // 20).astype(np.uint8))
    return tmp_path


def open_csv(path, *, allow_outside=False):
    dataset = configure(videos=str(path), allow_outside=allow_outside)
    return dataset, dataset.list_videos(path.parent)


def test_columns_labels_and_splits(folder):
    rows = [row("b2", "wave"), row("Zoë 1", "sit"), row("t", "wave", "TEST"), row("v", "sit", "validation")]
    dataset, listing = open_csv(write_csv(folder / "videos.csv", rows))
    assert dataset.class_names == ("sit", "wave")
    assert dataset.recorded == dataset.modalities == ("rgb", "depth")
    assert [(video.video_id, video.label) for video in listing.videos] == [("b2", 1), ("Zoë 1", 0), ("t", 1), ("v", 0)]
    splits = dataset.split_videos(listing.videos)
    assert {split: [video.video_id for video in videos] for split, videos in splits.items()} == {
        "train": ["Zoë 1", "b2"],
        "validation": ["v"],
        "test": ["t"],
    }
    assert not listing.skipped


def test_other_columns_are_modalities_of_any_name(folder):
    write_volume(folder / "volume.mat", np.ones((4, 4, 3), np.uint16), version="5")
    columns = ("subject", "split", "IR_2", "video_id", "thermal", "label", "view")
    rows = [
        ("anna", "train", "rgb.avi", "1", "volume.mat", "x", "front"),
        ("", "train", "depth", "2", "depth", "y", ""),
    ]
    dataset, listing = open_csv(write_csv(folder / "videos.csv", rows, columns))
    assert dataset.recorded == ("IR_2", "thermal")
    first, second = listing.videos
    assert (first.subject, first.view, second.subject, second.view) == ("anna", "front", None, None)
    assert [type(source).__name__ for source in first.sources.values()] == ["VideoFile", "MatVolume"]


def test_validation_is_drawn_from_each_class_where_there_is_none(folder):
    rows = [row(f"{label}{index}", label) for label in ("sit", "wave") for index in range(4)] + [row("t", split="test")]
    dataset, listing = open_csv(write_csv(folder / "videos.csv", rows))
    splits = dataset.split_videos(listing.videos)
    assert Counter(video.label for video in splits["validation"]) == {0: 1, 1: 1}
    assert len(splits["train"]) == 6


BAD_ROWS = {
    "empty label": (row("x", ""), "line 6: x: the label is empty"),
    "empty id": (row(""), "line 6: the video_id is empty"),
    "duplicate id": (row("b", "sit"), "line 6: the video_id 'b' is that of line 3 already"),
    "unknown split": (row("x", split="training"), "line 6: x: the split is 'training'; expected one of train, val"),
    "empty path": (row("x", depth=" "), "line 6: x: there is no depth"),
    "short line": (["x", "wave", "train"], "line 6: x: there is no rgb"),
    "id with a slash": (row("../x"), "line 6: the video_id '../x' cannot name a folder"),
    "id of an unfinished folder": (row("x.partial"), "line 6: the video_id 'x.partial' cannot name a folder"),
    "long id": (row("ä" * 101), "is too long; expected at most 200 bytes"),
    "path that leaves": (
        row("x", rgb="../rgb.avi"),
        "line 6: x: ../rgb.avi leaves the folder of the CSV file; --a",
    ),
    "path around": (row("x", rgb="depth/../../rgb.avi"), "leaves the folder of the CSV file"),
    "absolute path": (row("x", rgb="/rgb.avi"), "line 6: x: /rgb.avi leaves the folder of the CSV file"),
    "missing file": (
        row("x", rgb="none.avi"),
        "none.avi: No such file or directory; expected a video file or a folder",
    ),
    "image as a video": (row("x", rgb="depth/1.png"), "1.png: a single image; expected a video file or a folder"),
    "label of the test split": (row("x", "jump", "test"), "x: the label 'jump' is not in the train split"),
}


@pytest.mark.parametrize("fault", BAD_ROWS)
def test_a_bad_line_is_named_and_the_others_go_on(folder, fault):
    bad, message = BAD_ROWS[fault]
    _, listing = open_csv(write_csv(folder / "videos.csv", [*GOOD, bad]))
    assert [video.video_id for video in listing.videos] == ["a", "b", "c", "d"]
    (skipped,) = listing.skipped
    assert message in skipped.reason
    assert "\n" not in skipped.reason


def test_paths_outside_can_be_allowed(folder):
    (folder / "lists").mkdir()
    rows = [row(name, label, rgb="../rgb.avi", depth=str(folder / "depth")) for name, label in (("a", "x"), ("b", "y"))]
    path = write_csv(folder / "lists" / "videos.csv", rows)
    _, listing = open_csv(path, allow_outside=True)
    assert len(listing.videos) == 2
    with pytest.raises(InputError, match=r"no usable video in the train split; .*the first of 2 that cannot be used: "):
        open_csv(path)


def test_a_relative_csv_does_not_let_paths_out(folder, monkeypatch):
    (folder / "here").mkdir()
    write_csv(folder / "here" / "videos.csv", [*GOOD, row("x", rgb="../rgb.avi")])
    monkeypatch.chdir(folder / "here")
    _, _, skipped = read_csv(Path("videos.csv"), allow_outside=False)
    assert [entry.video_id for entry in skipped] == ["x"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("video_id", "split", "rgb"), "it lacks the column 'label'; it has video_id, split, rgb"),
        (("label", "split", "rgb"), "it lacks the column 'video_id'"),
        (("video_id", "label", "split"), "it lacks a column for a modality, such as rgb"),
        (("video_id", "label", "split", "rgb", "rgb"), "the column 'rgb' is there 2 times"),
        (("video_id", "label", "split", "my video"), "the column 'my video' cannot name a modality"),
        (("video_id", "label", "split", "oracle"), "the column 'oracle' cannot name a modality"),
        ((), "it lacks the column 'video_id'; it has none"),
    ],
)
def test_columns_that_are_wrong(tmp_path, columns, message):
    path = write_csv(tmp_path / "videos.csv", [], columns)
    with pytest.raises(InputError, match=r"videos\.csv: ") as error:
        configure(videos=str(path), allow_outside=False)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; expected a CSV file"),
        (b"\xff\xfe\x00", "not a CSV file in UTF-8"),
        (b"video_id,label,split,rgb\na,\x00", "videos.csv"),
    ],
)
def test_files_that_are_no_csv(tmp_path, content, message):
    path = tmp_path / "videos.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        configure(videos=str(path), allow_outside=False)
    assert message in str(error.value)


def test_byte_order_marks_and_spaces_are_fine(folder):
    text = "video_id , label,split,rgb\n a ,wave,train, rgb.avi\nb,sit,train,rgb.avi\n"
    (folder / "videos.csv").write_text(text, encoding="utf-8-sig")
    _, listing = open_csv(folder / "videos.csv")
    assert [video.video_id for video in listing.videos] == ["a", "b"]


def test_without_a_csv_file_it_says_what_one_is():
    with pytest.raises(InputError, match="--videos is missing: list your videos in a CSV file with the columns"):
        configure(videos=None, allow_outside=False)


def make(folder, *arguments):
    values = flags.FlagValues()
    make_tfrecords.define_flags(values)
    command = ["--dataset=custom", f"--videos={folder}/videos.csv", f"--data_dir={folder}/data", "--size=16"]
    values(["make_tfrecords", *command, "--workers=1", "--flow_preset=fast", *arguments])
    settings = make_tfrecords.settings_from_flags(values)
    make_tfrecords.make_records(settings)
    return records.DatasetInfo.load(settings.output)


def test_records_of_the_columns_and_of_flow_from_one_of_them(folder, capsys):
    write_csv(folder / "videos.csv", [*GOOD, row("x", "")])
    info = make(folder, "--flow_from=depth")
    assert info.modalities == ("rgb", "depth", "flow")
    assert info.flow["source"] == "depth"
    assert info.depth == {"modalities": ["depth"], "mode": "as_is"}
    assert info.counts["train"] == {"sit": 1, "wave": 1}
    assert [entry["video_id"] for entry in info.skipped] == ["x"]
    assert f"skipped x: {folder}/videos.csv, line 6: x: the label is empty" in capsys.readouterr().out
    warnings = {entry["video_id"]: entry["reason"] for entry in info.warnings}
    assert warnings["validation split"] == "there are no validation videos: the last epoch counts as the best"
    for serialized in tf.data.TFRecordDataset([str(path) for path in info.shard_paths("test")]):
        context, frames = records.parse_video(serialized, info.modalities)
        assert int(context["length"]) == 10
        assert all(len(frames[modality]) == 10 for modality in info.modalities)


def test_another_file_of_the_same_name_and_size_is_another_video(folder):
    for seed, name in enumerate(("one", "other")):
        write_video(folder / name / "clip.avi", 10, seed)
    paths = [folder / name / "clip.avi" for name in ("one", "other")]
    size = max(path.stat().st_size for path in paths)
    for path in paths:
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    write_csv(folder / "videos.csv", [row("a", rgb="one/clip.avi"), *GOOD[1:]])
    make(folder)
    write_csv(folder / "videos.csv", [row("a", rgb="other/clip.avi"), *GOOD[1:]])
    with pytest.raises(InputError, match=r"0 are new, 1 changed and 0 gone since, for example a\)"):
        make(folder)


def test_one_modality_of_any_name(folder):
    rows = [("a", "x", "train", "rgb.avi"), ("b", "y", "train", "rgb.avi"), ("c", "y", "test", "rgb.avi")]
    write_csv(folder / "videos.csv", rows, ("video_id", "label", "split", "thermal"))
    info = make(folder)
    assert (info.modalities, info.flow, info.depth) == (("thermal",), None, None)
    with pytest.raises(InputError, match=r"flow cannot be computed from 'rgb', .* give --flow_from=thermal"):
        make(folder, "--modalities=thermal,flow")


def test_a_class_without_a_usable_training_video_names_the_file_at_fault(folder):
    for name, content in (("empty.avi", b""), ("cut.avi", (folder / "rgb.avi").read_bytes()[:100])):
        (folder / name).write_bytes(content)
        write_csv(folder / "videos.csv", [*GOOD, row("bad", "run", rgb=name), row("test", "run", split="test")])
        with pytest.raises(InputError, match=rf"no video of class 'run'.*1 videos cannot be used.* bad: .*{name}: "):
            make(folder)


def test_flow_is_given_or_computed(folder):
    rows = [(*row("a")[:4], "flow"), (*row("b", "sit")[:4], "flow"), (*row("c", split="test")[:4], "flow")]
    write_csv(folder / "videos.csv", rows, ("video_id", "label", "split", "rgb", "flow"))
    with pytest.raises(InputError, match="--flow_from=rgb: own videos bring their flow"):
        make(folder, "--flow_from=rgb")


def test_damaged_files_are_skipped_and_the_rest_is_made(folder):
    (folder / "text.avi").write_text("text")
    (folder / "empty.avi").touch()
    (folder / "folder.avi").mkdir()
    bad = [row(name, split="test", rgb=f"{name}.avi") for name in ("text", "empty", "folder")]
    write_csv(folder / "videos.csv", [*GOOD, *bad, row("deep", split="test", depth="deep")])
    for index in range(10):
        write_image(folder / "deep" / f"{index}.png", depth_frame(index))
    info = make(folder)
    reasons = {entry["video_id"]: entry["reason"] for entry in info.skipped}
    assert reasons.keys() == {"text", "empty", "folder", "deep"}
    assert "not a video that can be decoded" in reasons["text"]
    assert "the file is empty" in reasons["empty"]
    assert "no frames (.jpg, .jpeg, .png) in this folder" in reasons["folder"]
    assert "16 bits per pixel, but as_is takes 8" in reasons["deep"]
    assert info.counts["test"] == {"sit": 1, "wave": 1}


def test_where_no_video_can_be_used_the_first_reason_is_given(folder):
    for index in range(10):
        write_image(folder / "depth" / f"{index}.png", depth_frame(index))
    write_csv(folder / "videos.csv", GOOD)
    with pytest.raises(InputError, match=r"no video can be used; the first: .*0\.png: an image of 16 bits per pixel"):
        make(folder)
    assert make(folder, "--depth_mode=clip_mm", "--depth_far=4000").depth == {
        "modalities": ["depth"],
        "mode": "clip_mm",
        "near": 500.0,
        "far": 4000.0,
    }
