"""CSV files of own videos as spreadsheets write them, and columns that are not what they seem."""

from __future__ import annotations

import csv

import pytest
from raw import colour_frame, depth_frame, write_image, write_video

from data_prep.raw.custom import configure
from dmcl_tf.errors import InputError

COLUMNS = ("video_id", "label", "split", "rgb")
ROWS = [
    ("a", "left", "train", "clip.avi"),
    ("b", "right", "train", "clip.avi"),
    ("c", "left", "test", "clip.avi"),
]


@pytest.fixture
def folder(tmp_path):
    write_video(tmp_path / "clip.avi", 9)
    return tmp_path


def read(folder, text, **options):
    (folder / "videos.csv").write_text(text, encoding="utf-8")
    reader = configure(videos=str(folder / "videos.csv"), **options)
    return reader, reader.list_videos(folder)


def as_text(columns=COLUMNS, rows=ROWS, separator=",", end="\n"):
    return end.join(separator.join(row) for row in (columns, *rows)) + end


@pytest.mark.parametrize(
    "text",
    [
        as_text(separator=";"),
        as_text(separator="\t", end="\r\n"),
        "sep=;\n" + as_text(separator=";"),
        "\n\n" + as_text(),
        "\ufeff" + as_text(separator=";", end="\r\n"),
        as_text((*COLUMNS, ""), [(*row, "") for row in ROWS]),
        as_text((*COLUMNS, "", " "), [(*row, "", " ") for row in ROWS]),
        as_text(rows=[row for pair in zip(ROWS, [("", "", "", "")] * 3, [("",)] * 3, [(" ", "")] * 3) for row in pair]),
        as_text(("Video_ID", "LABEL", " Split ", "RGB")),
    ],
    ids=["semicolons", "tabs", "sep", "blank first", "mark", "trailing", "trailing two", "blank rows", "capitals"],
)
def test_what_spreadsheets_write_is_read_without_a_word(folder, text):
    reader, listing = read(folder, text)
    assert (reader.modalities, reader.class_names) == (("rgb",), ("left", "right"))
    assert [video.video_id for video in listing.videos] == ["a", "b", "c"]
    assert listing.skipped == listing.warnings == ()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('b,right,train,"clip.avi', "unexpected end of data"),
        ('b,"right,train,clip.avi\nd,"left",test,clip.avi', "expected after"),
    ],
)
def test_a_quote_that_is_not_closed_swallows_no_rows(folder, row, reason):
    text = as_text(rows=[ROWS[0]]) + row + "\n" + as_text(ROWS[2], [])
    with pytest.raises(InputError, match=rf"^--videos=.*videos\.csv, line 3: .*{reason}.*is there a quote"):
        read(folder, text)


def test_a_value_of_several_lines_is_one_of_the_line_where_it_begins(folder):
    reader, listing = read(
        folder, as_text(rows=[("a", '"left\nhand"', "train", "clip.avi"), *ROWS[1:], ("", "x", "", "")])
    )
    assert reader.class_names == ("left\nhand", "right")
    assert any("line 6: the video_id is empty" in entry.reason for entry in listing.skipped)


def test_modalities_that_are_no_columns(folder):
    with pytest.raises(InputError, match="--modalities=rgbb: it has no such column, only video_id, label, split, rgb"):
        read(folder, as_text(), modalities=["rgbb"])


@pytest.mark.parametrize("word", ["val", "valid", "dev", "VALIDATION", "Val "])
def test_words_for_splits(folder, word):
    rows = [
        *ROWS,
        ("d", "left", word, "clip.avi"),
        ("e", "left", "Testing", "clip.avi"),
        ("f", "left", "TRAINING", "clip.avi"),
    ]
    _, listing = read(folder, as_text(rows=rows))
    assert [video.attributes["split"] for video in listing.videos[3:]] == ["validation", "test", "train"]
    assert listing.skipped == ()


def test_an_unknown_word_refuses_the_file(folder):
    with pytest.raises(
        InputError, match=r"videos\.csv: line 5: the split is 'fold 1'; expected train, validation or test"
    ):
        read(folder, as_text(rows=[*ROWS, ("d", "left", "fold 1", "clip.avi")]))


def test_no_test_rows(folder):
    _, listing = read(folder, as_text(rows=ROWS[:2]))
    assert len(listing.videos) == 2
    assert listing.skipped == ()


def test_columns_that_are_no_modality(folder):
    text = as_text((*COLUMNS, "notes", "duration"), [(*row, "ok", "3.2") for row in ROWS])
    message = (
        r"the column 'notes' names no file that is there \(line 2: 'ok'\): if it is no modality, leave it out with "
    )
    with pytest.raises(InputError, match=message + "--modalities=rgb$"):
        read(folder, text)
    reader, listing = read(folder, text, modalities=("rgb", "flow"))
    assert reader.modalities == ("rgb",)
    assert len(listing.videos) == 3


@pytest.mark.parametrize(
    "names",
    [
        ("a", "b", "a_b"),
        ("a", "b_c", "a_b", "c"),
        *(
            (name,)
            for name in ("serving_default", "model", "clips", "v", "help", "nohelp", "json", "with", "class", "oracle")
        ),
    ],
)
def test_names_that_collide_are_refused_when_the_file_is_read(folder, names):
    text = as_text((*COLUMNS[:3], *names), [(*row[:3], *["clip.avi"] * len(names)) for row in ROWS])
    with pytest.raises(InputError, match=r"videos\.csv: the columns? .*rename") as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)


def test_modalities_go_by_what_they_are(folder):
    text = as_text((*COLUMNS[:3], "RGB", "Depth"), [(*row[:3], "clip.avi", "clip.avi") for row in ROWS])
    reader, listing = read(folder, text, modalities=("Depth", "rgb"))
    assert reader.modalities == ("rgb", "depth")
    assert set(listing.videos[0].sources) == {"rgb", "depth"}


def test_two_columns_of_one_modality(folder):
    text = as_text((*COLUMNS, "RGB"), [(*row, "clip.avi") for row in ROWS])
    with pytest.raises(InputError, match="the column 'rgb' is there 2 times"):
        read(folder, text)


def test_frames_that_are_left_out_are_said_of_their_video(folder):
    for index in range(12):
        write_image(folder / "rgb" / f"{index}.png", colour_frame(index))
    for index in (0, 1, 2, *range(5, 12)):
        write_image(folder / "depth" / f"{index}.png", depth_frame(index))
    text = as_text((*COLUMNS, "depth"), [(*row[:3], "rgb", "depth") for row in ROWS])
    _, listing = read(folder, text)
    assert [warning.video_id for warning in listing.warnings] == ["a", "b", "c"]
    assert listing.warnings[0].reason.endswith("are left out: 3, 4")


def test_a_value_beyond_the_columns_skips_its_row(folder):
    with (folder / "videos.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS, ("d", "left", "test", "clip", "1.avi")])
    _, listing = read(folder, (folder / "videos.csv").read_text())
    (skipped,) = listing.skipped
    assert "the value '1.avi' has no column; put values with a separator in quotes" in skipped.reason
