"""Every data set of the registry describes itself, and has the flags of its own and no other."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from raw import colour_frame, write_image

from data_prep import make_tfrecords
from data_prep.dataset_flags import KINDS
from data_prep.extract_frames import list_videos
from data_prep.raw import DATASETS
from data_prep.raw.base import Video, draw_validation
from data_prep.video.depth import MODES
from data_prep.video.sources import ImageSequence
from dmcl_tf.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
LISTDIR = os.listdir


def settings(*arguments):
    values = flags.FlagValues()
    make_tfrecords.define_flags(values)
    values(["make_tfrecords", *arguments])
    return make_tfrecords.settings_from_flags(values)


@pytest.fixture
def arguments_of(tmp_path):
    """The flags without which a data set cannot be chosen."""
    (tmp_path / "videos.csv").write_text("video_id,label,split,rgb\na,x,train,a.avi\nb,y,train,b.avi\n")
    return lambda name: [f"--dataset={name}"] + ([f"--videos={tmp_path}/videos.csv"] if name == "custom" else [])


def some_videos(class_names):
    """A few videos of each class."""
    source = {"rgb": ImageSequence(())}
    form = "S{view:03d}C{view:03d}P{subject:03d}R001A{action:03d}"  # NTU RGB+D reads its names
    return [
        Video(form.format(view=view, subject=subject, action=label + 1), label, source, subject=subject, view=view)
        for label in range(len(class_names))
        for view in (1, 2, 3)
        for subject in (1, 2, 3)
    ]


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_describes_itself(name, arguments_of):
    assert DATASETS[name].name == name
    chosen = settings(*arguments_of(name))
    dataset = chosen.data.dataset
    assert (dataset.name, bool(dataset.title), bool(dataset.how_to_get)) == (name, True, True)
    assert len(set(dataset.class_names)) == len(dataset.class_names) > 1
    assert set(dataset.recorded) <= {*dataset.modalities}
    assert dataset.depth.mode in MODES
    assert chosen.data.data_dir == Path("data") / dataset.folder
    for kind in KINDS:
        assert all(setting.help for setting in getattr(dataset, kind).values())
    if name != "custom":  # whose splits are those of its CSV file
        videos = some_videos(dataset.class_names)
        splits = dataset.split_videos(videos, **chosen.protocol)
        assert splits.keys() == {"train", "validation", "test"}
        assert all(splits.values())
        assert len({video.video_id for members in splits.values() for video in members}) <= len(videos)


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("demo", "custom")])
def test_a_missing_download_says_how_to_get_it(name, tmp_path):
    with pytest.raises(InputError) as error:
        DATASETS[name].list_videos(tmp_path / "nowhere")
    message = str(error.value)
    assert message.startswith(str(tmp_path / "nowhere"))
    assert DATASETS[name].how_to_get in message
    assert "http" in message
    assert any(word in message for word in ("unzip", "tar xz"))
    assert "into the data folder" in message


def refuse(folder):
    """Stands for a folder without permission, which root is never refused: `(path) → listing` that raises there."""

    def list_directory(path, *_):
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return LISTDIR(path)

    return list_directory


def test_a_folder_that_may_not_be_read_is_skipped_and_the_rest_is_listed(tmp_path, monkeypatch, write_nwucla_tree):
    write_nwucla_tree(tmp_path, actions=(1, 2), views=(1,), frames=1)
    closed = tmp_path / "multiview_action/view_1/a02_s01_e00"
    for name in ("a01_s01_v01_e01", "a02_s01_v01_e01"):
        write_image(tmp_path / "UWA3D-RGB" / name / "001.jpg", colour_frame(0))
        write_image(tmp_path / "UWA3D-Depth" / name / "001.png", colour_frame(0))
    monkeypatch.setattr(os, "listdir", refuse(closed))
    listing = DATASETS["nwucla"].list_videos(tmp_path)
    assert [video.video_id for video in listing.videos] == ["a01_s01_e00_v01"]
    assert [entry.reason for entry in listing.skipped] == [f"{closed}: Permission denied"]
    closed = tmp_path / "UWA3D-RGB/a02_s01_v01_e01"
    monkeypatch.setattr(os, "listdir", refuse(closed))
    listing = DATASETS["uwa3dii"].list_videos(tmp_path)
    assert [video.video_id for video in listing.videos] == ["a01_s01_v01"]
    assert [entry.reason for entry in listing.skipped] == [f"{closed}: Permission denied"]


def test_a_data_folder_that_may_not_be_read(tmp_path, monkeypatch):
    for name in ("nturgb+d_rgb", "nturgb+d_depth"):
        (tmp_path / name).mkdir()
    closed = tmp_path / "nturgb+d_rgb"
    monkeypatch.setattr(os, "listdir", refuse(closed))
    with pytest.raises(InputError, match=r"nturgb\+d_rgb: Permission denied; NTU RGB\+D 60 is read from there"):
        list_videos(DATASETS["ntu60"], tmp_path)


def test_data_sets_of_one_family_share_frames_but_not_records():
    chosen = {name: settings(f"--dataset={name}") for name in ("ntu60", "ntu120", "ntu120mini")}
    assert {made.data.frames_dir for made in chosen.values()} == {Path("data/ntu/frames/256")}
    assert len({made.data.frames for made in chosen.values()}) == 1
    assert len({made.output for made in chosen.values()}) == 3


@pytest.mark.parametrize(
    ("arguments", "protocol"),
    [
        (["--dataset=nwucla", "--train_views=3,1", "--test_view=2"], {"train_views": (1, 3), "test_view": 2}),
        (["--dataset=uwa3dii"], {"train_views": (1, 2)}),
        (["--dataset=uwa3dii", "--train_views=2,4"], {"train_views": (2, 4)}),
        (["--dataset=ntu60"], {"protocol": "cross_subject"}),
        (["--dataset=ntu60", "--protocol=cross_view"], {"protocol": "cross_view"}),
        (["--dataset=ntu120", "--protocol=cross_setup"], {"protocol": "cross_setup"}),
        (["--dataset=ntu120mini", "--subset=2"], {"protocol": "cross_subject", "subset": 2}),
    ],
)
def test_protocols_by_flags(arguments, protocol):
    assert settings(*arguments).protocol == protocol


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=nwucla", "--protocol=cross_view"], "--protocol: nwucla has no such setting, only ntu60, ntu120, "),
        (["--dataset=uwa3dii", "--test_view=3"], "--test_view: uwa3dii has no such setting, only demo, nwucla"),
        (["--dataset=ntu120", "--subset=1"], "--subset: ntu120 has no such setting, only ntu120mini"),
        (
            ["--dataset=ntu60", "--protocol=cross_setup"],
            "--protocol=cross_setup: ntu60 has only cross_sub",
        ),
        (["--dataset=ntu60", "--videos=x.csv"], "--videos: ntu60 has no such setting, only custom"),
        (["--dataset=uwa3dii", "--train_views=front"], "--train_views=front: expected numbers, separated by commas"),
        (["--dataset=custom"], "--videos is missing: list your videos in a CSV file"),
        (
            ["--dataset=nwucla", "--depth_near=900", "--depth_far=900"],
            "--depth_near=900 --depth_far=900: expected",
        ),
        (["--dataset=nwucla", "--depth_far=4000"], "--depth_far=4000 is of no use with --depth_mode=as_is: choose"),
        (["--dataset=nwucla", "--flow_from=infrared"], "flow cannot be computed from 'infrared', which NW-UCLA"),
    ],
)
def test_flags_of_other_data_sets_and_impossible_values(arguments, message):
    with pytest.raises(InputError) as error:
        settings(*arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_help_says_which_data_sets_have_a_flag():
    command = [sys.executable, "data_prep/make_tfrecords.py", "--help"]
    text = " ".join(subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False).stdout.split())
    assert "Data sets and defaults: demo 1,2, nwucla 1,2, uwa3dii 1,2." in text
    assert "--protocol: <cross_subject|cross_view|cross_setup>" in text
    assert "Data sets and defaults: ntu120mini 0." in text


def test_drawing_a_fixed_number_for_validation():
    videos = [
        dataclasses.replace(Video(f"{label}-{index:03d}", label, {}), label=label)
        for label, count in enumerate((500, 50, 1))
        for index in range(count)
    ]
    train, validation = draw_validation(videos, 3, per_class=26)
    per_class = [sum(video.label == label for video in validation) for label in range(3)]
    assert per_class == [26, 5, 0]  # of an incomplete class a tenth; the last one of a class is for training
    assert len(train) + len(validation) == 551
