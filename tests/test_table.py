"""The table of videos: what is written is read again, and what is not sound is named."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from tiny import write_records

from dmcl_tf.data import table
from dmcl_tf.errors import InputError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("tiny") / "records", {"train": 3, "test": 1}, lengths=(9,))


@pytest.fixture
def made(written, tmp_path):
    """A copy, to be changed."""
    shutil.copytree(written.directory, tmp_path / "records")
    return table.Records.load(tmp_path / "records")


def test_tables_survive_the_round_trip(made):
    odd = dataclasses.replace(
        made.videos[0], warnings='a "quoted", line | and another', attributes={"split": "train", "subject": "Zoë; 1"}
    )
    table.write_table(dataclasses.replace(made, videos=(made.videos[1], odd)), {"lost": "no, never", "a": "b"})
    again = table.Records.load(made.directory)
    assert again.videos[0] == odd
    assert again.videos[1] == dataclasses.replace(
        made.videos[1], attributes={**made.videos[1].attributes, "subject": ""}
    )
    assert again.description == made.description
    text = (made.directory / "skipped.csv").read_text()
    assert text.splitlines() == ["video_id,reason", "a,b", 'lost,"no, never"']


def edit(made, change):
    path = made.directory / "videos.csv"
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "it has no column 'video_id'"),
        (lambda text: text.replace("checksum", "sum"), "it has no column 'checksum'"),
        (lambda text: text.replace("class 1", "class 9"), r"line 4: 'class 9' is no class of dataset\.json"),
        (lambda text: text.replace("train-1", "train-0"), "a video is listed twice"),
        (lambda text: text.replace("train-1", "../evil"), r"line 4: the video_id '\.\./evil' cannot name a folder"),
        (lambda text: text.replace(",9,9,", ",9,nine,", 1), "line 2: "),
        (lambda text: text.replace(",9,9,", ",9,", 1), "line 2: expected 10 values"),
        (lambda text: text.rstrip("\n") + ",more\n", "line 5: expected 10 values"),
    ],
)
def test_tables_that_are_not_sound_are_named(made, change, message):
    edit(made, change)
    with pytest.raises(InputError, match=rf"videos\.csv.*{message}.*make the records with"):
        table.Records.load(made.directory)


def test_tables_that_are_not_text(made):
    (made.directory / "videos.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"videos\.csv is not a table of videos"):
        table.Records.load(made.directory)
    (made.directory / "videos.csv").unlink()
    with pytest.raises(InputError, match=r"videos\.csv: the records are not complete; make the records with"):
        table.Records.load(made.directory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "../../evil"}, "cannot name a folder"),
        ({"class_names": ["a", "a"]}, "expected one or more different class names"),
        ({"modalities": []}, "expected one or more different modality names"),
        ({"frame_size": "large"}, "frame_size"),
        ({"flow": 7}, "flow"),
    ],
)
def test_descriptions_that_are_not_sound_are_named(made, change, message):
    path = made.directory / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(
        InputError, match=rf"dataset\.json is not what it should be \(.*{message}.*\): make the records"
    ):
        table.Records.load(made.directory)


@pytest.mark.parametrize("text", ["", "[]", '{"dataset": "nw', '{"dataset": "nwucla"}', "\x00"])
def test_no_description(made, text):
    (made.directory / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json is not what it should be"):
        table.Records.load(made.directory)


def test_other_modalities_or_size_than_asked_for(made):
    made.check(["depth"], 48)
    for modalities, size in [(["rgb", "sound"], 48), (["rgb"], 256)]:
        with pytest.raises(InputError) as caught:
            made.check(modalities, size)
        message = str(caught.value)
        assert "rgb,depth,flow at 48 pixels" in message
        assert f"{','.join(modalities)} at {size} pixels" in message
        asked = f"--modalities={','.join(modalities)} --frame_size={size}"
        assert f"--dataset=custom --videos=videos.csv {asked}" in message


def test_missing_and_half_written_records_are_named(made):
    made.check_files(made.videos)
    path = made.path(made.videos[1])
    content = path.read_bytes()
    path.write_bytes(content[:100])
    with pytest.raises(InputError, match=rf"{path} has 100 bytes instead of {len(content)}: delete it and run"):
        made.check_files(made.videos)
    path.unlink()
    with pytest.raises(InputError, match=rf"{path}: No such file or directory; run data_prep/make_tfrecords.py again"):
        made.check_files(made.videos)


def test_damage_and_exchanged_records_are_found(made):
    assert made.find_damage(made.videos) is None
    first, second = (made.path(video) for video in made.videos[:2])
    content = first.read_bytes()
    first.write_bytes(content[:500] + b"?" + content[501:])
    assert f"{first} is damaged" in str(made.find_damage(made.videos))
    first.write_bytes(second.read_bytes())
    assert f"{first} is another record than" in str(made.find_damage(made.videos))
    assert made.find_damage(made.videos[1:]) is None


def test_what_records_are_made_with(made):
    assert made.description.made_with()["frame_size"] == 48
    assert not {"title", "origin", "class_names", "versions"} & made.description.made_with().keys()
