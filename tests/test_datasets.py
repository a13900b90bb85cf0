"""Every data set has a reader and describes itself, and has the flags of its own and no other."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from preparing import ROOT, command, settings
from raw import colour_frame, write_image

from data_prep.raw import READERS
from data_prep.video.depth import MODES
from dmcl_tf.datasets import DATASETS, dataset_of, find_dataset
from dmcl_tf.errors import InputError

LISTDIR = os.listdir


@pytest.fixture
def arguments_of(tmp_path):
    """The flags without which a data set cannot be chosen."""
    for name in "ab":
        (tmp_path / f"{name}.avi").touch()
    (tmp_path / "videos.csv").write_text("video_id,label,split,rgb\na,x,train,a.avi\nb,y,train,b.avi\n")
    return lambda name: [f"--dataset={name}"] + ([f"--videos={tmp_path}/videos.csv"] if name == "custom" else [])


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_describes_itself(name, arguments_of):
    dataset = DATASETS[name]
    chosen = settings(*arguments_of(name))
    reader = chosen.raw.reader()
    assert (dataset.name, chosen.dataset, bool(dataset.title)) == (name, name, True)
    assert len(set(reader.class_names)) == len(reader.class_names) > 1
    assert set(dataset.class_names) <= set(reader.class_names)
    assert set(reader.recorded) <= set(reader.modalities)
    assert reader.depth.mode in MODES
    assert chosen.raw.data_dir == Path("data") / dataset.folder
    assert all(setting.help for setting in reader.options.values())


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("demo", "custom")])
def test_a_missing_download_says_how_to_get_it(name, tmp_path):
    with pytest.raises(InputError) as error:
        READERS[name].list_videos(tmp_path / "nowhere")
    message = str(error.value)
    assert message.startswith(str(tmp_path / "nowhere"))
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
    listing = READERS["nwucla"].list_videos(tmp_path)
    assert [video.video_id for video in listing.videos] == ["a01_s01_e00_v01"]
    assert [entry.reason for entry in listing.skipped] == [f"{closed}: Permission denied"]
    closed = tmp_path / "UWA3D-RGB/a02_s01_v01_e01"
    monkeypatch.setattr(os, "listdir", refuse(closed))
    listing = READERS["uwa3dii"].list_videos(tmp_path)
    assert [video.video_id for video in listing.videos] == ["a01_s01_v01"]
    assert [entry.reason for entry in listing.skipped] == [f"{closed}: Permission denied"]


def test_a_data_folder_that_may_not_be_read(tmp_path, monkeypatch):
    for name in ("nturgb+d_rgb", "nturgb+d_depth"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(os, "listdir", refuse(tmp_path / "nturgb+d_rgb"))
    chosen = settings("--dataset=ntu60", f"--data_dir={tmp_path}").raw
    with pytest.raises(InputError, match=r"nturgb\+d_rgb: Permission denied; NTU RGB\+D 60 is read from there"):
        chosen.list_videos(chosen.reader())


def test_families():
    assert {DATASETS[name].folder for name in ("ntu60", "ntu120", "ntu120mini")} == {"ntu"}
    assert dataset_of("uwa3dii") is DATASETS["uwa3dii"]
    with pytest.raises(InputError, match=r"records of 'ntu': say which data set is meant, --dataset=ntu60\|ntu120\|"):
        dataset_of("ntu")
    with pytest.raises(InputError, match=r"'nwuca': expected a data set, .*; did you mean nwucla\?"):
        find_dataset("nwuca")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=ntu60", "--videos=x.csv"], "--videos: ntu60 has no such setting, only custom"),
        (["--dataset=custom"], "--videos is missing: list your videos in a CSV file"),
        (["--dataset=ntu"], "'ntu': expected a data set"),
        (["--dataset=nwucla", "--depth_near=900", "--depth_far=900"], "--depth_near=900 --depth_far=900: expected"),
        (["--dataset=nwucla", "--depth_far=4000"], "--depth_far=4000 is of no use with --depth_mode=as_is: choose"),
        (["--dataset=nwucla", "--flow_from=infrared"], "flow cannot be computed from 'infrared', which NW-UCLA"),
        (["--dataset=nwucla", "--modalities=rgb", "--depth_mode=jet"], "--depth_mode=jet applies to nothing: none of"),
        (["--dataset=nwucla", "--depth_modalities=infrared"], "--depth_modalities=infrared: there is no 'infrared'"),
    ],
)
def test_flags_of_other_data_sets_and_impossible_values(arguments, message):
    with pytest.raises(InputError) as error:
        settings(*arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_flow_of_a_modality_that_is_not_stored():
    videos = settings("--dataset=nwucla", "--modalities=flow", "--flow_from=depth", "--depth_mode=per_clip").raw.videos
    assert (videos.recorded, videos.depth_modalities, videos.flow.source) == (("depth",), ("depth",), "depth")
    assert videos.description["depth"] == {"modalities": ["depth"], "mode": "per_clip"}


def test_help_says_which_data_sets_have_a_flag():
    run = subprocess.run([*command(), "--help"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "--videos: Own data: the CSV file that lists the videos." in " ".join(run.stdout.split())
