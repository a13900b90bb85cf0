"""The NW-UCLA reader, with the oddities of the real folders."""

from pathlib import Path

import pytest

from data_prep.raw import READERS
from data_prep.raw.nwucla import list_videos
from dmcl_tf.errors import InputError


def touch_frames(folder: Path, rgb, depth):
    folder.mkdir(parents=True, exist_ok=True)
    for number in rgb:
        (folder / f"frame_{number}_tc_{9046 + 33 * number}_rgb.jpg").touch()
    for number in depth:
        (folder / f"frame_{number}_tc_{9078 + 33 * number}_depth_vis.jpg").touch()
    return folder


def test_frames_are_joined_by_number_and_sorted_as_numbers(tmp_path):
    numbers = [998, 999, 1000, 1001, 99, 100, 9]
    folder = touch_frames(tmp_path / "multiview_action/view_2/a08_s03_e01", numbers, numbers)
    for name in ("fileList.txt", "frame_9_tc_1_skeletons.txt", "frame_9_tc_1_depth.png"):
        (folder / name).touch()
    (video,) = list_videos(tmp_path).videos
    assert (video.video_id, video.label) == ("a08_s03_e01_v02", "donning")
    assert video.attributes == {"subject": "3", "view": "2"}
    for modality, ending in (("rgb", "_rgb.jpg"), ("depth", "_depth_vis.jpg")):
        names = [path.name for path in video.sources[modality].paths]
        assert [int(name.split("_")[1]) for name in names] == sorted(numbers)
        assert all(name.endswith(ending) for name in names)


def test_the_folder_itself_may_be_given(tmp_path):
    touch_frames(tmp_path / "multiview_action/view_1/a01_s01_e00", [1], [1])
    assert list_videos(tmp_path) == list_videos(tmp_path / "multiview_action")


def test_numbers_of_one_modality_are_left_out_and_named(tmp_path):
    folder = touch_frames(tmp_path / "view_1/a01_s01_e00", [1, 2, 3, 4, 12], [2, 3, 4, 5])
    listing = list_videos(tmp_path)
    assert [len(source.paths) for source in listing.videos[0].sources.values()] == [3, 3]
    reasons = [warning.reason for warning in listing.warnings]
    assert reasons == [
        f"{folder}: 2 frame numbers have rgb but no depth and are left out: 1, 12",
        f"{folder}: 1 frame numbers have depth but no rgb and are left out: 5",
    ]


def test_a_repeated_number_keeps_the_first(tmp_path):
    folder = touch_frames(tmp_path / "view_1/a01_s01_e00", [1, 2], [1, 2])
    (folder / "frame_1_tc_99999_rgb.jpg").touch()
    listing = list_videos(tmp_path)
    assert listing.videos[0].sources["rgb"].paths[0].name == "frame_1_tc_9079_rgb.jpg"
    assert "1 files repeat a frame number and are left out: frame_1_tc_99999_rgb.jpg" in listing.warnings[0].reason


def test_unusable_folders_are_skipped_with_the_reason(tmp_path):
    view = tmp_path / "view_3"
    touch_frames(view / "a01_s01_e00", [1], [1])
    touch_frames(view / "a01_s01_e01", [1], [])
    touch_frames(view / "a01_s01_e02", [], [1])
    touch_frames(view / "a01_s01_e03", [1], [2])
    touch_frames(view / "a07_s01_e00", [1], [1])
    touch_frames(view / "copy of a01", [1], [1])
    listing = list_videos(tmp_path)
    assert [video.video_id for video in listing.videos] == ["a01_s01_e00_v03"]
    reasons = {entry.video_id: entry.reason for entry in listing.skipped}
    assert "a01_s01_e01: it has no depth frames" in reasons["a01_s01_e01_v03"]
    assert "a01_s01_e02: it has no rgb frames" in reasons["a01_s01_e02_v03"]
    assert "no frame number in common" in reasons["a01_s01_e03_v03"]
    assert (
        "a07_s01_e00: unknown action id 7; expected one of 1, 2, 3, 4, 5, 6, 8, 9, 11, 12"
        in (reasons["a07_s01_e00_v03"])
    )
    assert "not of the form aAA_sSS_eEE" in reasons["copy of a01_v03"]


def test_a_missing_data_set_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError) as caught:
        list_videos(tmp_path / "nowhere")
    message = str(caught.value)
    assert "nowhere" in message
    assert "part-aa … part-ap" in message
    assert "cat multiview_action.tgz.part-* | tar xz" in message
    assert "\n" not in message


def test_the_demo_is_read_as_nwucla_is_after_rendering_it(tmp_path, monkeypatch, write_nwucla_tree):
    from data_prep.synthetic.rendering import dataset as rendering

    monkeypatch.setattr(rendering, "render_demo", lambda output, workers: write_nwucla_tree(output, frames=workers))
    demo = READERS["demo"]
    demo.generate(tmp_path, workers=2)
    videos = demo.list_videos(tmp_path).videos
    assert len(videos) == 30
    assert {len(video.sources["rgb"].paths) for video in videos} == {2}
    assert set(demo.class_names) < set(READERS["nwucla"].class_names)
    assert READERS["nwucla"].generate is None
