"""Frames cut to the person: where the person is found, what is cut, and where that cannot be done."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from kinect import person, silhouette, write_json, write_ntu, write_utd_clip
from preparing import prepare, settings
from raw import HEIGHT, WIDTH, colour_frame, depth_frame, write_image, write_video, write_volume

from data_prep import check_dataset
from data_prep.flow.settings import preset_settings
from data_prep.raw.base import RawVideo
from data_prep.video.crop import Box, Crop, cut, find_boxes
from data_prep.video.depth import DepthSettings, encode_depth
from data_prep.video.opening import DEFAULT_LIMITS
from data_prep.video.record import VideoSettings, make_frames
from data_prep.video.sources import ImageFolder, MatVolume, SkeletonFile
from dmcl_tf.errors import InputError

IN_DEPTH = Crop("depth")


def volume(path, frames):
    return MatVolume(write_volume(path, np.stack(frames, axis=2), version="5", variable="d_depth"))


def pixels(box):
    return (box.left * WIDTH, box.top * HEIGHT, box.right * WIDTH, box.bottom * HEIGHT)


def test_the_box_holds_the_person_in_all_frames(tmp_path):
    """And none of the specks, which are islands of a few readings."""
    frames = [silhouette(8 + index, 6, 14 + index, 20 - index) for index in range(4)]
    speckled = silhouette(8, 2, 14, 19)
    speckled[23, 31] = 3000
    source = volume(tmp_path / "x.mat", [*frames, speckled])
    boxes = find_boxes({"depth": source, "skeleton": SkeletonFile(tmp_path / "none")}, IN_DEPTH, DEFAULT_LIMITS)
    assert boxes.keys() == {"depth"}  # a skeleton is drawn around the person as it is
    np.testing.assert_allclose(pixels(boxes["depth"]), (8, 2, 17, 20))


@pytest.mark.parametrize(
    ("box", "margin", "rows", "columns"),
    [
        ((8, 4, 16, 12), 0.25, (2, 14), (6, 18)),  # twelve pixels around eight
        ((8, 4, 12, 12), 0.0, (4, 12), (6, 14)),  # of a tall box the width grows
    ],
)
def test_a_square_with_a_margin(box, margin, rows, columns):
    image = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH)
    left, top, right, bottom = box
    square = cut(image, Box(left / WIDTH, top / HEIGHT, right / WIDTH, bottom / HEIGHT), margin)
    np.testing.assert_array_equal(square, image[slice(*rows), slice(*columns)])


@pytest.mark.parametrize(("left", "top"), [(24, 4), (0, 16), (24, 16), (0, 0)])
def test_the_person_stays_in_the_middle_at_the_edge_of_the_image(left, top):
    """So that the central crop of the evaluation holds them; there is black beyond."""
    image = np.ones((HEIGHT, WIDTH), np.uint16)
    image[top : top + 8, left : left + 8] = 5
    square = cut(image, Box(left / WIDTH, top / HEIGHT, (left + 8) / WIDTH, (top + 8) / HEIGHT), 0.25)
    assert square.shape == (12, 12)
    assert (square[2:10, 2:10] == 5).all()
    assert (square == 5).sum() == 64
    assert (square == 0).any()


def test_a_square_that_is_larger_than_the_image_is_black_outside():
    image = np.full((HEIGHT, WIDTH, 3), 7, np.uint8)
    square = cut(image, Box(0, 0, 1, 1), 0.125)
    assert square.shape == (40, 40, 3)
    assert (square[8:32, 4:36] == 7).all()
    assert int(square.astype(int).sum()) == 7 * image.size


def test_records_hold_the_square_and_its_flow(tmp_path):
    """The same square in every frame; flow is that of the squares."""
    frames = [depth_frame(index) for index in range(10)]
    video = RawVideo("x", "", {"depth": volume(tmp_path / "x.mat", frames)})
    depth = DepthSettings("clip_mm", 1000, 3000)
    flow = dataclasses.replace(preset_settings("dis", "fast"), source="depth")
    whole = VideoSettings(("depth", "flow"), 40, depth=depth, flow=flow)
    chosen = dataclasses.replace(whole, crop=IN_DEPTH)
    made, _, _ = make_frames(video, chosen)
    box = find_boxes(chosen.sources(video), IN_DEPTH, DEFAULT_LIMITS)["depth"]
    squares = [cut(frame, box, IN_DEPTH.margin) for frame in frames]
    assert {square.shape for square in squares} == {(26, 26)}  # 21 columns and an eighth on both sides
    other = volume(tmp_path / "cut.mat", squares)
    assert made == make_frames(RawVideo("x", "", {"depth": other}), whole)[0]
    assert made["depth"] != make_frames(video, whole)[0]["depth"]


def test_flow_alone_is_cut_as_well(tmp_path):
    video = RawVideo("x", "", {"depth": volume(tmp_path / "x.mat", [depth_frame(index) for index in range(10)])})
    flow = dataclasses.replace(preset_settings("dis", "fast"), source="depth")
    depth = DepthSettings("clip_mm", 1000, 3000)
    both = VideoSettings(("depth", "flow"), 40, depth=depth, flow=flow, crop=IN_DEPTH)
    alone = dataclasses.replace(both, modalities=("flow",))
    assert make_frames(video, alone)[0]["flow"] == make_frames(video, both)[0]["flow"]


def test_a_skeleton_alone_needs_no_box(tmp_path):
    write_utd_clip(tmp_path, "a1_s1_t1")
    path = tmp_path / "Skeleton/a1_s1_t1_skeleton.mat"
    video = RawVideo("x", "", {"skeleton": SkeletonFile(path)})
    chosen = VideoSettings(("skeleton",), 40, crop=IN_DEPTH)
    assert chosen.recorded == ("skeleton",)
    assert len(make_frames(video, chosen)[0]["skeleton"]) == 12


def room(index):
    return np.where(depth_frame(index) > 0, depth_frame(index), 4000).astype(np.uint16)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([room(index) for index in range(3)], "x.mat: 100 % of depth are readings, so that the room is among them"),
        ([np.zeros((8, 8), np.uint16)] * 2, "x.mat: there is no reading in any frame"),
    ],
)
def test_depth_that_does_not_say_where_the_person_is(tmp_path, frames, message):
    with pytest.raises(InputError) as error:
        find_boxes({"depth": volume(tmp_path / "x.mat", frames)}, IN_DEPTH, DEFAULT_LIMITS)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_images_of_depth_must_be_grey_and_of_one_size(tmp_path):
    write_image(tmp_path / "a/0.png", depth_frame(0))
    write_image(tmp_path / "a/1.png", depth_frame(1)[:-1])
    with pytest.raises(InputError, match=r"1\.png: the frames differ in size, so that they cannot be cut alike"):
        find_boxes({"depth": ImageFolder(tmp_path / "a")}, IN_DEPTH, DEFAULT_LIMITS)
    write_image(tmp_path / "b/0.png", colour_frame(0))
    with pytest.raises(InputError, match=r"0\.png: a colour image, in which readings cannot be told"):
        find_boxes({"depth": ImageFolder(tmp_path / "b")}, IN_DEPTH, DEFAULT_LIMITS)


NTU = "S001C001P00{}R001A001"


def write_ntu_clip(root, number, skeleton=True):
    """A clip whose person stands in the middle of colour and depth."""
    name, joints = NTU.format(number), person(10)
    write_video(root / "nturgb+d_rgb" / f"{name}_rgb.avi", 10, number)
    for index in range(10):
        write_image(root / "nturgb+d_depth" / name / f"Depth-{index + 1:08d}.png", room(index))
    if skeleton:
        write_ntu(root / "nturgb+d_skeletons" / f"{name}.skeleton", [{"7": frame} for frame in joints])


def test_ntu_is_cut_by_its_skeletons(tmp_path):
    """Where the room is in depth, and colour is of another camera. A video without skeleton is skipped."""
    for number in (1, 2, 3):
        write_ntu_clip(tmp_path, number, skeleton=number < 3)
    flags = ("--dataset=ntu60", f"--data_dir={tmp_path}", "--frame_size=40", "--crop=person")
    made = prepare(*flags, "--modalities=rgb,depth,skeleton")
    assert [video.video_id for video in made.videos] == [NTU.format(1), NTU.format(2)]
    assert made.description.crop == {"found_in": "skeleton", "margin": 0.125, "to": "person"}
    assert made.description.settings["skeleton"]["views"] == ["front", "side", "above"]
    skipped = (made.directory / "skipped.csv").read_text()
    ways = "complete the raw files, or leave --crop out and skeleton out with --modalities"
    assert f"it has no skeleton, only rgb, depth; {ways}" in skipped
    video = settings(*flags).raw.list_videos(settings(*flags).raw.reader()).videos[0]
    boxes = find_boxes(video.sources, Crop("skeleton"), DEFAULT_LIMITS)
    assert boxes["rgb"] == pytest.approx(boxes["depth"], abs=1e-5)
    places = 0.5 + person(10)[..., 0] / person(10)[..., 2] * 2.5 / 2
    np.testing.assert_allclose((boxes["rgb"].left, boxes["rgb"].right), (places.min(), places.max()), atol=1e-5)
    depth_alone = prepare(*flags, "--modalities=depth", f"--records={tmp_path}/depth")
    assert depth_alone.description.modalities == ("depth",)
    assert [video.video_id for video in depth_alone.videos] == [NTU.format(1), NTU.format(2)]


def test_skeletons_of_nwucla(tmp_path, write_nwucla_tree):
    """Beside the frames; records hold them where they are asked for."""
    write_nwucla_tree(tmp_path, actions=(1, 2), views=(1, 2), frames=10)
    for action in (1, 2):
        write_json(tmp_path / f"skeletons/a{action:02d}_s01_e00_v01.json", person(10, speed=0.1 * action))
    made = prepare("--dataset=nwucla", f"--data_dir={tmp_path}", "--frame_size=24", "--modalities=rgb,skeleton")
    assert [video.video_id for video in made.videos] == ["a01_s01_e00_v01", "a02_s01_e00_v01"]
    assert made.description.crop is None
    assert settings("--dataset=nwucla").modalities == ("rgb", "depth", "flow")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--dataset=nwucla"],
            "--crop=person: the person is found in what shows nothing else, and the depth of NW-UCLA",
        ),
        (["--dataset=uwa3dii"], "--crop=person: the person is found in depth, and rgb of UWA3DII is not known to show"),
    ],
)
def test_data_sets_that_cannot_be_cut(arguments, message):
    with pytest.raises(InputError) as error:
        settings(*arguments, "--crop=person")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_own_videos_are_cut_by_their_depth(tmp_path):
    lines = ["video_id,label,split,depth,rgb"]
    for index, split in enumerate(("train", "train", "validation", "test")):
        name = f"v{index}"
        volume(tmp_path / f"{name}.mat", [depth_frame(frame, index) for frame in range(10)])
        write_video(tmp_path / f"{name}.avi", 10, index)
        lines.append(f"{name},{'xy'[index % 2]},{split},{name}.mat,{name}.avi")
    (tmp_path / "videos.csv").write_text("\n".join(lines) + "\n")
    flags = ("--dataset=custom", f"--videos={tmp_path}/videos.csv", "--frame_size=24", f"--records={tmp_path}/records")
    flags = (*flags, "--crop=person", "--depth_mode=clip_mm")
    assert prepare(*flags, "--modalities=depth").description.crop == {
        "found_in": "depth",
        "margin": 0.125,
        "to": "person",
    }
    with pytest.raises(InputError, match="and rgb of own videos is not known to show the same part"):
        settings(*flags)
    with pytest.raises(InputError, match="--crop=person: the person is found in depth, which own videos do not have"):
        settings(*flags[:-1], "--modalities=rgb")


def test_records_of_another_cut_are_refused(tmp_path):
    for name in ("a1_s1_t1", "a1_s2_t1"):
        write_utd_clip(tmp_path, name)
    flags = ("--dataset=utd_mhad", f"--data_dir={tmp_path}", "--frame_size=24", "--modalities=depth")
    made = prepare(*flags)
    assert made.description.crop is None
    with pytest.raises(InputError, match=r"holds records made with .*crop"):
        prepare(*flags, "--crop=person")


def test_the_check_of_raw_files_says_what_cannot_be_cut(tmp_path, capsys):
    for subject in (1, 2):
        write_utd_clip(tmp_path, f"a1_s{subject}_t1")
    path = tmp_path / "Depth/a1_s2_t1_depth.mat"
    write_volume(path, np.stack([room(index) for index in range(12)], axis=2), version="5", variable="d_depth")
    flags = settings("--dataset=utd_mhad", f"--data_dir={tmp_path}", "--crop=person", "--modalities=depth").raw
    check_dataset.check(flags, full=True, show=100)
    wrong = [line for line in capsys.readouterr().out.splitlines() if "a1_s2_t1" in line]
    assert len(wrong) == 1
    assert "100 % of depth are readings" in wrong[0]


def test_levels_that_are_noise_of_decoding_are_no_readings(tmp_path):
    """8 bits: what a video of depth has where there was no reading."""
    random = np.random.RandomState(0)
    for index in range(3):
        levels = encode_depth(silhouette(8, 6, 16, 20), 32, DepthSettings("clip_mm", 1000, 3000))
        write_image(
            tmp_path / f"x/{index}.png", np.maximum(levels, random.randint(0, 4, levels.shape).astype(np.uint8))
        )
    box = find_boxes({"depth": ImageFolder(tmp_path / "x")}, IN_DEPTH, DEFAULT_LIMITS)["depth"]
    np.testing.assert_allclose(pixels(box), (8, 6, 16, 20), atol=1)
