"""The UWA3DII reader: both forms of depth, and names of both kinds."""

from __future__ import annotations

import numpy as np
import pytest
from raw import colour_frame, depth_frame, write_image, write_volume

from data_prep.raw.uwa3dii import DEPTH_FOLDERS, RGB_FOLDERS, list_videos
from data_prep.video.sources import MatVolume
from dmcl_tf.errors import InputError


def write_rgb(root, name, numbers=(1, 2, 3), folder=RGB_FOLDERS[0]):
    for number in numbers:
        write_image(root / folder / name / "x.jpg", colour_frame(number)).rename(
            root / folder / name / f"{number:03d},.jpg"
        )


def write_depth(root, name, numbers=(1, 2, 3), folder=DEPTH_FOLDERS[0]):
    for number in numbers:
        write_image(root / folder / name / f"{number:03d}.png", (depth_frame(number) // 20).astype(np.uint8))


@pytest.mark.parametrize("folder", [folder for folder in DEPTH_FOLDERS if "Actions" not in folder])
@pytest.mark.parametrize("rgb_folder", RGB_FOLDERS)
def test_folders_of_images(tmp_path, folder, rgb_folder):
    """RGB e01 and depth e00 of one performance belong together, and so do the frames that both have."""
    write_rgb(tmp_path, "a07_s03_v02_e01", [1, 2, 3, 99, 100, 101], rgb_folder)
    write_depth(tmp_path, "a07_s03_v02_e00", [2, 3, 4, 99, 100], folder)
    (video,) = list_videos(tmp_path).videos
    assert (video.video_id, video.label) == ("a07_s03_v02", "vibrating")
    assert video.attributes == {"subject": "3", "view": "2"}
    assert [path.name for path in video.sources["rgb"].paths] == ["002,.jpg", "003,.jpg", "099,.jpg", "100,.jpg"]
    assert [path.name for path in video.sources["depth"].paths] == ["002.png", "003.png", "099.png", "100.png"]
    (warning,) = list_videos(tmp_path).warnings
    assert "frames that one modality alone has are left out: rgb 2, depth 1" in warning.reason


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("name", ["a01_s02_v04_e00.mat", "a01_s02_e00_v04.mat"])
def test_volumes(tmp_path, version, name):
    write_rgb(tmp_path, "a01_s02_v04_e01", [1, 2, 3])
    volume = np.stack([depth_frame(index) for index in range(3)], axis=2)
    write_volume(tmp_path / "UWA3DII_Depth/ActionsNew" / name, volume, version=version)
    (video,) = list_videos(tmp_path).videos
    assert video.video_id == "a01_s02_v04"
    assert isinstance(video.sources["depth"], MatVolume)
    np.testing.assert_array_equal([frame.image for frame in video.sources["depth"].frames()], volume.transpose(2, 0, 1))


def test_what_cannot_be_used_is_listed(tmp_path):
    for name in ("a01_s01_v01_e01", "a01_s01_v01_e02", "a02_s01_v01_e01", "a31_s01_v01_e01", "a03_s01_v01_e01"):
        write_rgb(tmp_path, name)
        if not name.startswith("a02"):
            write_depth(tmp_path, name, [9] if name.startswith("a03") else [1, 2])
    write_depth(tmp_path, "a04_s01_v02_e00")
    write_rgb(tmp_path, "a21_s02_v04_e01")
    write_depth(tmp_path, "a21_s02_v04_e01")
    (tmp_path / RGB_FOLDERS[0] / "notes").mkdir()
    listing = list_videos(tmp_path)
    assert [video.video_id for video in listing.videos] == ["a01_s01_v01"]
    assert [entry.video_id for entry in listing.excluded] == ["a21_s02_v04"]
    reasons = {entry.video_id: entry.reason for entry in listing.skipped}
    assert reasons.keys() == {"a02_s01_v01", "a31_s01_v01", "a03_s01_v01", "a04_s01_v02", "notes"}
    assert "there is no depth of this performance" in reasons["a02_s01_v01"]
    assert "there is no rgb of this performance" in reasons["a04_s01_v02"]
    assert "have no frame number in common" in reasons["a03_s01_v01"]
    assert "expected actions 1 … 30" in reasons["a31_s01_v01"]
    assert "not of the form aAA_sSS_vVV_eEE" in reasons["notes"]
    episodes = [entry.reason for entry in listing.warnings if "another episode" in entry.reason]
    assert len(episodes) == 2  # of RGB and of depth
    assert all("a01_s01_v01_e02: another episode of a01_s01_v01_e01, which is used" in reason for reason in episodes)


@pytest.mark.parametrize("missing", ["RGB", "depth"])
def test_a_missing_folder_says_how_to_get_it(tmp_path, missing):
    write_depth(tmp_path, "a01_s01_v01_e00") if missing == "RGB" else write_rgb(tmp_path, "a01_s01_v01_e01")
    with pytest.raises(
        InputError, match=rf"expected {missing} videos aAA_sSS_vVV_eEE in .*; download the RGB"
    ) as error:
        list_videos(tmp_path)
    assert "\n" not in str(error.value)
