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
from dmcl_tf.data import records, table
from dmcl_tf.errors import InputError
from dmcl_tf.flag_groups import define

ROOT = Path(__file__).resolve().parents[1]
VIDEOS = {"train": 6, "validation": 3, "test": 3}
FLAT = encode_jpeg(np.full((SIZE, SIZE, 3), 77, np.uint8))


@pytest.fixture
def made(tmp_path):
    return write_records(tmp_path / "records", VIDEOS, lengths=(9, 12))


def check(made):
    """What is wrong and what is known."""
    checked = script.check_records(table.Records.load(made.directory), workers=1)
    assert [record.video_id for record in checked] == sorted(made.by_id)
    return [line for record in checked for line in record.problems], [line for r in checked for line in r.known]


def change(made, edit, *, listed=True, **about):
    """Lets `edit` change the frames of train-0 and its context; the table knows unless `listed` is false."""
    video = made.by_id["train-0"]
    there, frames = records.decode_video(records.read_record(made.path(video)))
    edit(frames)
    there = dataclasses.replace(there, **about)
    # the writer refuses what readers may meet: modalities of different lengths
    padded = {name: images + images[-1:] * (there.length - len(images)) for name, images in frames.items()}
    example = tf.train.SequenceExample.FromString(records.encode_video(there, padded))
    for name, images in frames.items():
        del example.feature_lists.feature_list[name].feature[len(images) :]
    serialized = example.SerializeToString(deterministic=True)
    records.write_record(made.path(video), serialized)
    if not listed:
        return made
    row = dataclasses.replace(video, checksum=table.checksum(serialized), bytes=made.path(video).stat().st_size)
    rows = tuple(row if each.video_id == "train-0" else each for each in made.videos)
    table.write_table(dataclasses.replace(made, videos=rows), {})
    return table.Records.load(made.directory)


def set_frame(modality, index, content):
    return lambda frames: frames[modality].__setitem__(index, content)


def set_all_frames(modality, content):
    return lambda frames: frames.update({modality: [content] * len(frames[modality])})


def leave(frames):
    """Changes nothing."""


def test_sound_records_have_no_problems(made):
    assert check(made) == ([], [])


@pytest.mark.parametrize(
    ("edit", "about", "line"),
    [
        (set_frame("depth", 3, b""), {}, "depth, frame 3: the file is empty"),
        (set_frame("depth", 3, b"text"), {}, "depth, frame 3: "),
        (set_frame("rgb", 0, encode_jpeg(marked_frame(0))[:-40]), {}, "rgb, frame 0: the JPEG is cut off"),
        (
            set_frame("flow", 8, cv2.imencode(".png", marked_frame(0))[1].tobytes()),
            {},
            "flow, frame 8: not a JPEG image",
        ),
        (
            set_frame("rgb", 1, encode_jpeg(np.random.RandomState(0).randint(0, 255, (40, 56, 3), np.uint8))),
            {},
            "rgb, frame 1: 56×40 pixels, not 48²",
        ),
        (lambda frames: frames["depth"].pop(), {}, "depth has 8 frames, but its length is 9"),
        (lambda frames: frames.pop("flow"), {}, "it has the modalities depth, rgb, expected depth, flow, rgb"),
        (leave, {"height": 40}, "it is said to be 48×40 pixels, but dataset.json says 48²"),
        (leave, {"video_id": "test-0"}, "its video_id is 'test-0', but videos.csv says 'train-0'"),
        (leave, {"frames": 4}, "its frames is 4, but videos.csv says 9"),
        (leave, {"fingerprint": "other"}, "its fingerprint is 'other', but videos.csv says 'drawn'"),
        (set_all_frames("depth", FLAT), {}, "depth is blank: every frame is of one colour"),
        (set_all_frames("depth", encode_jpeg(marked_frame(1))), {}, "depth is constant: every frame is the same"),
    ],
)
def test_a_record_that_is_wrong_in_itself_is_named(made, edit, about, line):
    problems, known = check(change(made, edit, **about))
    assert any(problem.startswith(f"train-0: {line}") for problem in problems)
    assert all(problem.startswith("train-0: ") for problem in problems)
    assert not known


def test_another_record_than_the_table_says(made):
    problems, _ = check(change(made, set_frame("rgb", 0, encode_jpeg(marked_frame(7))), listed=False))
    assert problems == ["train-0: it is another record than videos.csv says: delete it and make it again"]


def test_what_the_raw_videos_do_not_show_is_known_and_not_wrong(made):
    made = change(made, set_all_frames("depth", FLAT))
    warning = "depth is blank: every frame is of one colour"
    rows = tuple(
        dataclasses.replace(each, warnings=f"odd | {warning}") if each.video_id == "train-0" else each
        for each in made.videos
    )
    table.write_table(dataclasses.replace(made, videos=rows), {})
    assert check(made) == ([], [f"train-0: {warning}"])


def test_a_video_of_one_frame_needs_no_flow(made):
    for modality in ("rgb", "depth"):
        made = change(made, set_all_frames(modality, encode_jpeg(marked_frame(1))))
    assert check(change(made, set_all_frames("flow", FLAT))) == ([], [])


@pytest.mark.parametrize("damage", [slice(0, 3000), slice(0, 0), None])
def test_a_damaged_record_is_named_and_the_rest_is_checked(made, damage):
    path = made.path(made.by_id["train-3"])
    content = path.read_bytes()
    path.write_bytes(content[damage] if damage else content[:5000] + b"????" + content[5004:])
    made.path(made.by_id["train-4"]).unlink()
    problems, _ = check(change(made, set_frame("rgb", 0, b"")))
    assert problems[0].startswith("train-0: rgb, frame 0: the file is empty")
    assert f"{path} is damaged" in problems[1]
    assert "No such file or directory" in problems[2]
    assert len(problems) == 3


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


def test_the_script_prints_a_table_and_writes_sheets(made):
    command = [sys.executable, "-m", "data_prep.check_records", f"--records={made.directory}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    rows = {" ".join(line.split()[:2]): line.split()[2:] for line in done.stdout.splitlines()}
    assert rows["class 0"] == ["1", "2", "1", "4"]  # test, train, validation, all
    assert "12 records of" in done.stdout
    sheets = sorted(path.name for path in (made.directory / "contact_sheets").iterdir())
    assert sheets == [f"00{label}_class_{label}.png" for label in range(3)]
    assert cv2.imread(str(made.directory / "contact_sheets" / sheets[0])).shape == (5 * 18 + 9 * 80, 640, 3)


def run_here(*arguments):
    values = define(script.FLAG_GROUPS, flags.FlagValues())
    values(["check", *arguments])
    script.main(values)


def test_the_script_fails_where_something_is_wrong(made, capsys):
    change(made, set_frame("rgb", 0, b""))
    with pytest.raises(SystemExit) as caught:
        run_here(f"--records={made.directory}", f"--sheets={made.directory / 'there'}")
    assert caught.value.code == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith("wrong: ")] == [
        "wrong: train-0: rgb, frame 0: the file is empty"
    ]
    assert printed[-1].endswith("1 problems")
    assert len(list((made.directory / "there").iterdir())) == 3


def test_a_folder_without_records_is_named(tmp_path):
    with pytest.raises(InputError, match=rf"{tmp_path}/dataset\.json: No such file or directory; make the records"):
        run_here(f"--records={tmp_path}")


def test_the_only_records_of_a_data_set_are_found(made, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/custom/records").mkdir(parents=True)
    with pytest.raises(InputError, match=r"--records is missing: .* there are none in data/custom/records"):
        run_here("--dataset=custom")
    made.directory.rename(tmp_path / "data/custom/records/48")
    run_here("--dataset=custom")
