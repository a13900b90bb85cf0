"""Reading, resizing and encoding of single images, and the frames that raw videos become."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.raw.base import RawVideo
from data_prep.video.frames import encode_jpeg, read_image, resize
from data_prep.video.record import VideoSettings, make_frames
from data_prep.video.sources import ImageSequence
from dmcl_tf.errors import InputError

SETTINGS = VideoSettings(("rgb", "depth"), 16)


@pytest.mark.parametrize(
    ("root", "text", "named"),
    [
        ("/data/own", "line 3: /data/own/a/b.avi: cut off (/data/own/c)", "line 3: a/b.avi: cut off (c)"),
        (".", "line 3: x: ../rgb.avi leaves the folder", "line 3: x: ../rgb.avi leaves the folder"),
        ("..", "line 3: x: ../rgb.avi leaves the folder", "line 3: x: ../rgb.avi leaves the folder"),
        ("videos", "/srv/my videos/a.avi: cut off", "/srv/my videos/a.avi: cut off"),
        ("../own", "x: ../own/a/b.avi: cut off", "x: a/b.avi: cut off"),
        ("videos", "/srv/my_videos/a.avi and videos/b.avi", "/srv/my_videos/a.avi and b.avi"),
    ],
)
def test_files_are_named_relative_to_the_folder_of_the_raw_files(root, text, named):
    assert dataclasses.replace(SETTINGS, root=Path(root)).relative(text) == named


def picture(seed=0, shape=(24, 32, 3)):
    return cv2.resize(np.random.RandomState(seed).randint(0, 256, (6, 8, *shape[2:])).astype(np.uint8), shape[1::-1])


def make_video(folder, frames=12, video_id="a01_s01_e00_v01"):
    folder.mkdir(parents=True, exist_ok=True)
    sources = {}
    for modality, shape in (("rgb", (24, 32, 3)), ("depth", (12, 16))):
        paths = [folder / f"{modality}_{i}.jpg" for i in range(frames)]
        for i, path in enumerate(paths):
            path.write_bytes(encode_jpeg(picture(i, shape), 95))
        sources[modality] = ImageSequence(tuple(paths))
    return RawVideo(video_id, "carry", sources)


def test_grey_and_colour_images_keep_their_channels(tmp_path):
    (tmp_path / "colour.jpg").write_bytes(encode_jpeg(picture(), 95))
    (tmp_path / "grey.jpg").write_bytes(encode_jpeg(picture(shape=(24, 32)), 95))
    assert read_image(tmp_path / "colour.jpg").shape == (24, 32, 3)
    assert read_image(tmp_path / "grey.jpg").shape == (24, 32)
    np.testing.assert_allclose(read_image(tmp_path / "grey.jpg"), picture(shape=(24, 32)), atol=12)


def thumbnailed(content):
    """A JPEG with a complete JPEG inside a metadata segment, as cameras write it."""
    thumbnail = b"Exif\0\0" + encode_jpeg(picture()[:8, :8], 50)
    return content[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + content[2:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "the file is empty"),
        (lambda content: content[: len(content) // 2], "the JPEG is cut off"),
        (lambda content: content[:-2], "the JPEG is cut off"),
        (lambda content: content[: len(content) // 2] + bytes(len(content) // 2), "the JPEG is cut off"),
        (lambda content: content[:3], "the JPEG is cut off"),
        (lambda content: thumbnailed(content)[:-200], "the JPEG is cut off"),
        (lambda content: b"<html>404</html>", "neither a JPEG nor a PNG image"),
        (lambda content: content[:2] + b"\xff\xda" + bytes(8) + b"\xff\xd9", "the JPEG cannot be decoded"),
    ],
)
def test_damaged_files_are_named(tmp_path, damage, message):
    path = tmp_path / "frame_7_tc_1_rgb.jpg"
    path.write_bytes(damage(encode_jpeg(picture(), 95)))
    with pytest.raises(InputError, match=rf"frame_7_tc_1_rgb\.jpg: {message}.*; download it again"):
        read_image(path)


def test_a_missing_file_and_a_folder_in_its_place_are_named(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    messages = {"missing.jpg": "No such file or directory; download it again", "folder.jpg": "it is a folder; expected"}
    for name, message in messages.items():
        with pytest.raises(InputError, match=f"{name}: {message}"):
            read_image(tmp_path / name)


def test_complete_files_with_fill_bytes_thumbnail_or_trailing_bytes_are_read(tmp_path):
    content = encode_jpeg(picture(), 95)
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    filled = content[:2] + b"\xff\xff\xff" + content[2:]
    for variant in (thumbnailed(content), filled, content + bytes(10)):
        (tmp_path / "x.jpg").write_bytes(variant)
        np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), expected)


def test_shrinking_averages_all_pixels():
    image = picture(shape=(32, 48, 3))
    blocks = image.reshape(8, 4, 8, 6, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(image, 8), blocks, atol=1)
    assert resize(image, 64).shape == (64, 64, 3)
    assert resize(image[..., 0], 40).shape == (40, 40)


def test_frames_are_aligned_and_resized(tmp_path):
    video = make_video(tmp_path)
    frames, warnings, grey = make_frames(video, SETTINGS)
    assert (warnings, grey) == ([], ["depth"])
    assert {modality: len(images) for modality, images in frames.items()} == {"rgb": 12, "depth": 12}
    for modality, images in frames.items():
        assert images[11] == encode_jpeg(resize(read_image(video.sources[modality].paths[11]), 16), 95)


def test_an_unreadable_image_leaves_its_moment_out_of_all_modalities(tmp_path):
    video = make_video(tmp_path)
    bad = video.sources["depth"].paths[4]
    bad.write_bytes(bad.read_bytes()[:-20])
    frames, warnings, _ = make_frames(video, SETTINGS)
    assert warnings == [f"{bad}: the JPEG is cut off; download it again; its frame is left out"]
    assert len(frames["rgb"]) == len(frames["depth"]) == 11
    assert frames["rgb"][4] == encode_jpeg(resize(read_image(video.sources["rgb"].paths[5]), 16), 95)


def test_a_video_without_a_readable_frame_cannot_be_used(tmp_path):
    video = make_video(tmp_path, 2)
    for path in video.sources["rgb"].paths:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"no frame can be read; the first: .*rgb_0\.jpg: the file is empty"):
        make_frames(video, SETTINGS)
