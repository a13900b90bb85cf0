"""Own videos from a CSV file: what it says, what is refused line by line, and records of any modalities."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from preparing import prepare
from raw import depth_frame, write_image, write_video, write_volume

from data_prep.raw.custom import configure, read_csv
from data_prep.video.fingerprint import fingerprint
from data_prep.video.volumes import MatVolume
from dmcl_tf.data.records import decode_video, read_record
from dmcl_tf.data.table import Video
from dmcl_tf.datasets.custom import check_modalities, side
from dmcl_tf.errors import InputError
from workflow import predict

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
    reader = configure(videos=str(path), allow_outside=allow_outside)
    return reader, reader.list_videos(path.parent)


def test_columns_labels_and_splits(folder):
    rows = [row("b2", "wave"), row("Zoë 1", "sit"), row("t", "wave", "TEST"), row("v", "sit", "validation")]
    reader, listing = open_csv(write_csv(folder / "videos.csv", rows))
    assert reader.class_names == ("sit", "wave")
    assert reader.recorded == reader.modalities == ("rgb", "depth")
    assert [(video.video_id, video.label, video.attributes) for video in listing.videos] == [
        ("b2", "wave", {"split": "train"}),
        ("Zoë 1", "sit", {"split": "train"}),
        ("t", "wave", {"split": "test"}),
        ("v", "sit", {"split": "validation"}),
    ]
    assert not listing.skipped


def test_other_columns_are_modalities_of_any_name(folder):
    write_volume(folder / "volume.mat", np.ones((4, 4, 3), np.uint16), version="5")
    columns = ("subject", "split", "IR_2", "video_id", "thermal", "label", "view")
    rows = [
        ("anna", "train", "rgb.avi", "1", "volume.mat", "x", "front"),
        ("", "train", "depth", "2", "depth", "y", ""),
    ]
    reader, listing = open_csv(write_csv(folder / "videos.csv", rows, columns))
    assert reader.recorded == ("ir_2", "thermal")
    first, second = listing.videos
    assert first.attributes == {"split": "train", "subject": "anna", "view": "front"}
    assert second.attributes == {"split": "train", "subject": "", "view": ""}
    assert [type(source).__name__ for source in first.sources.values()] == ["VideoFile", "MatVolume"]


def test_no_column_is_called_as_a_flag_of_predict():
    values = flags.FlagValues()
    predict._own_flags(values)
    assert {"fps", "output", "max_pixels"} <= set(values)
    for name in values:
        with pytest.raises(InputError, match=f"the column '{name}' cannot name a modality"):
            check_modalities([name])


def test_another_volume_of_a_file_is_another_video(folder):
    write_volume(folder / "volume.mat", np.ones((4, 4, 3), np.uint16), version="5", variable="left")
    sources = [{"depth": MatVolume(folder / "volume.mat", variable)} for variable in (None, "left", "right")]
    assert len({fingerprint(source, {}) for source in sources}) == 3


def test_the_table_of_videos_says_the_split():
    def video(**attributes):
        return Video("a", "wave", 9, 9, 1, "", "", attributes=attributes)

    assert side(video(split="validation"), {}) == "validation"
    for attributes in ({}, {"split": "fold 1"}):
        with pytest.raises(InputError, match=r"a: the split is .*; expected train, validation or test"):
            side(video(**attributes), {})


BAD_ROWS = {
    "empty label": (row("x", ""), "line 6: x: the label is empty"),
    "empty id": (row(""), "line 6: the video_id is empty"),
    "duplicate id": (row("b", "sit"), "line 6: the video_id 'b' is that of line 3 already"),
    "empty split": (row("x", split=""), "line 6: x: the split is empty"),
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
    "home of nobody": (row("x", rgb="~nobody.avi"), "~nobody.avi: No such file or directory"),
    "image as a video": (row("x", rgb="depth/1.png"), "1.png: a single image; expected a video file or a folder"),
    "label of the test split": (row("x", "jump", "test"), "x: the label 'jump' is not in the train split"),
}


def test_a_name_may_begin_with_a_tilde(folder):
    (folder / "rgb.avi").rename(folder / "~rgb.avi")
    _, listing = open_csv(
        write_csv(folder / "~videos.csv", [row("a", rgb="~rgb.avi"), row("b", "sit", rgb="~rgb.avi")])
    )
    assert [path.name for path in listing.videos[0].sources["rgb"].files] == ["~rgb.avi"]


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
    write_video(folder / "here" / "rgb.avi", 10)
    (folder / "here" / "depth").mkdir()
    write_csv(folder / "here" / "videos.csv", [*GOOD, row("x", rgb="../rgb.avi")])
    monkeypatch.chdir(folder / "here")
    _, _, skipped = read_csv(Path("videos.csv"))
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
        (("video_id", "label", "split", "skeleton"), "the column 'skeleton' cannot name a modality"),
        (("video_id", "label", "split", "hallucination"), "the column 'hallucination' cannot name a modality"),
        ((), "it lacks the column 'video_id'; it has none"),
    ],
)
def test_columns_that_are_wrong(tmp_path, columns, message):
    path = write_csv(tmp_path / "videos.csv", [], columns)
    with pytest.raises(InputError, match=r"videos\.csv: ") as error:
        configure(videos=str(path))
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
        configure(videos=str(path))
    assert message in str(error.value)


def test_byte_order_marks_and_spaces_are_fine(folder):
    text = "video_id , label,split,rgb\n a ,wave,train, rgb.avi\nb,sit,train,rgb.avi\n"
    (folder / "videos.csv").write_text(text, encoding="utf-8-sig")
    _, listing = open_csv(folder / "videos.csv")
    assert [video.video_id for video in listing.videos] == ["a", "b"]


def test_without_a_csv_file_it_says_what_one_is():
    with pytest.raises(InputError, match="--videos is missing: list your videos in a CSV file with the columns"):
        configure(videos=None)


def make(folder, *arguments):
    common = ("--dataset=custom", f"--videos={folder}/videos.csv", f"--data_dir={folder}/data", "--size=16")
    return prepare(*common, *arguments)


def test_records_of_the_columns_and_of_flow_from_one_of_them(folder, capsys):
    write_csv(folder / "videos.csv", [*GOOD, row("x", "")])
    records = make(folder, "--flow_from=depth", "--flow_preset=fast")
    about = records.description
    assert about.modalities == ("rgb", "depth", "flow")
    assert about.flow["source"] == "depth"
    assert about.depth == {"modalities": ["depth"], "mode": "as_is"}
    assert [(video.video_id, video.label) for video in records.videos] == [
        ("a", "wave"),
        ("b", "sit"),
        ("c", "wave"),
        ("d", "sit"),
    ]
    reason = "videos.csv, line 6: x: the label is empty"
    assert reason in (records.directory / "skipped.csv").read_text()
    assert reason in capsys.readouterr().out
    for video in records.videos:
        frames = decode_video(read_record(records.path(video)))[1]
        assert {modality: len(images) for modality, images in frames.items()} == dict.fromkeys(about.modalities, 10)


def test_another_file_of_the_same_name_and_size_is_another_video(folder):
    for seed, name in enumerate(("one", "other")):
        write_video(folder / name / "clip.avi", 10, seed)
    paths = [folder / name / "clip.avi" for name in ("one", "other")]
    size = max(path.stat().st_size for path in paths)
    for path in paths:
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    write_csv(folder / "videos.csv", [row("a", rgb="one/clip.avi"), *GOOD[1:]])
    before = make(folder).by_id
    write_csv(folder / "videos.csv", [row("a", rgb="other/clip.avi"), *GOOD[1:]])
    after = make(folder).by_id
    assert [name for name in before if before[name] != after[name]] == ["a"]


def test_one_modality_of_any_name(folder):
    rows = [("a", "x", "train", "rgb.avi"), ("b", "y", "train", "rgb.avi"), ("c", "y", "test", "rgb.avi")]
    write_csv(folder / "videos.csv", rows, ("video_id", "label", "split", "thermal"))
    about = make(folder).description
    assert (about.modalities, about.flow, about.depth) == (("thermal",), None, None)
    with pytest.raises(InputError, match=r"flow cannot be computed from 'rgb', .* give --flow_from=thermal"):
        make(folder, "--modalities=thermal,flow")


def test_columns_in_capitals_are_what_they_are(folder):
    for index in range(10):
        write_image(folder / "depth" / f"{index}.png", depth_frame(index))
    write_csv(folder / "videos.csv", GOOD, ("video_id", "label", "split", "RGB", "Depth"))
    about = make(folder, "--depth_mode=clip_mm", "--modalities=RGB,Depth").description
    assert about.modalities == ("rgb", "depth")
    assert about.depth["modalities"] == ["depth"]


def test_flags_of_depth_that_apply_to_nothing(folder):
    write_csv(folder / "videos.csv", GOOD, ("video_id", "label", "split", "rgb", "thermal"))
    with pytest.raises(InputError, match="--depth_mode=per_clip applies to nothing"):
        make(folder, "--depth_mode=per_clip")
    with pytest.raises(InputError, match="--depth_modalities=infrared: there is no 'infrared' among rgb, thermal"):
        make(folder, "--depth_modalities=infrared")


def test_flow_is_given_or_computed(folder):
    rows = [(*row("a")[:4], "flow"), (*row("b", "sit")[:4], "flow"), (*row("c", split="test")[:4], "flow")]
    write_csv(folder / "videos.csv", rows, ("video_id", "label", "split", "rgb", "flow"))
    for index in range(10):
        write_image(folder / "flow" / f"{index}.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="--flow_from=rgb: own videos bring their flow"):
        make(folder, "--flow_from=rgb")
    with pytest.raises(InputError, match=r"--flow_parameters=warps=2: own videos bring their flow"):
        make(folder, "--flow_parameters=warps=2")


def test_damaged_files_are_skipped_and_the_rest_is_made(folder):
    (folder / "text.avi").write_text("text")
    (folder / "empty.avi").touch()
    (folder / "folder.avi").mkdir()
    bad = [row(name, split="test", rgb=f"{name}.avi") for name in ("text", "empty", "folder")]
    write_csv(folder / "videos.csv", [*GOOD, *bad, row("deep", split="test", depth="deep")])
    for index in range(10):
        write_image(folder / "deep" / f"{index}.png", depth_frame(index))
    records = make(folder)
    with (records.directory / "skipped.csv").open(newline="") as file:
        reasons = {line["video_id"]: line["reason"] for line in csv.DictReader(file)}
    assert reasons.keys() == {"text", "empty", "folder", "deep"}
    assert "not a video that can be decoded" in reasons["text"]
    assert "the file is empty" in reasons["empty"]
    assert "no frames (.jpg, .jpeg, .png, " in reasons["folder"]
    assert "16 bits per pixel, but as_is takes 8" in reasons["deep"]
    assert len(records.videos) == 4


def test_where_no_video_can_be_used_the_first_reason_is_given(folder):
    for index in range(10):
        write_image(folder / "depth" / f"{index}.png", depth_frame(index))
    write_csv(folder / "videos.csv", GOOD)
    with pytest.raises(InputError, match=r"no video can be used; the first: .*0\.png: an image of 16 bits per pixel"):
        make(folder)
    assert make(folder, "--depth_mode=clip_mm", "--depth_far=4000", f"--records={folder}/other").description.depth == {
        "modalities": ["depth"],
        "mode": "clip_mm",
        "near": 500.0,
        "far": 4000.0,
    }
