"""Image files, folders of them, video files and MATLAB volumes: what they give, and what they say of damaged files."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from raw import colour_frame, depth_frame, write_image, write_video, write_volume

from data_prep.video.sources import Frame, ImageFolder, ImageSequence, MatVolume, VideoFile, open_source
from dmcl_tf.errors import InputError

VOLUME = np.stack([depth_frame(index) for index in range(5)], axis=2)


def images_of(source):
    return [frame.image for frame in source.frames()]


def test_a_video_gives_every_frame_in_order(tmp_path):
    video = VideoFile(write_video(tmp_path / "clip.avi", 12))
    assert video.declared_length() == 12
    assert list(video.problems()) == []
    images = images_of(video)
    assert len(images) == 12
    for index, image in enumerate(images):
        errors = [np.abs(image.astype(int) - colour_frame(other)).mean() for other in range(12)]
        assert int(np.argmin(errors)) == index
    assert next(video.frames()).where == f"{tmp_path}/clip.avi, frame 0"


@pytest.mark.parametrize("name", ["Zoë läuft.avi", "動作 (1).avi", "a:b.avi", "%03d.avi", "clip.AVI"])
def test_names_of_any_kind(tmp_path, name):
    content = write_video(tmp_path / "plain.avi", 3).read_bytes()
    folder = tmp_path / "Straße"
    folder.mkdir()
    (folder / name).write_bytes(content)
    assert len(images_of(VideoFile(folder / name))) == 3
    write_image(folder / "bildér" / "é_1.png", colour_frame(1))
    np.testing.assert_array_equal(images_of(ImageFolder(folder / "bildér"))[0], colour_frame(1))


def test_a_relative_path_with_a_colon_is_no_protocol(tmp_path, monkeypatch):
    write_video(tmp_path / "plain.avi", 2).rename(tmp_path / "http:x.avi")
    monkeypatch.chdir(tmp_path)
    assert len(images_of(VideoFile(Path("http:x.avi")))) == 2


def test_a_cut_off_video_gives_fewer_frames_than_it_declares(tmp_path, capfd):
    path = write_video(tmp_path / "clip.avi", 20)
    path.write_bytes(path.read_bytes()[: int(0.8 * path.stat().st_size)])
    video = VideoFile(path)
    assert video.declared_length() == 20
    assert 5 < len(images_of(video)) < 20
    assert capfd.readouterr().err == ""  # nothing of the decoder's own


DAMAGES = {
    "empty": (b"", "the file is empty"),
    "text": (b"not a video\n" * 50, "not a video that can be decoded"),
    "zeros": (bytes(5000), "not a video that can be decoded"),
    "header": (None, "not a video that can be decoded"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_files_that_are_no_videos_are_named(tmp_path, damage, capfd):
    path = write_video(tmp_path / "clip.avi", 3)
    content, message = DAMAGES[damage]
    path.write_bytes(path.read_bytes()[:100] if content is None else content)
    video = VideoFile(path)
    for read in (lambda: list(video.frames()), video.declared_length):
        with pytest.raises(InputError, match=rf"clip\.avi: {message}") as caught:
            read()
        assert "\n" not in str(caught.value)
    assert [message in problem for problem in video.problems()] == [True]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("source", [VideoFile, MatVolume])
def test_a_missing_file_and_a_folder_in_its_place(tmp_path, source):
    (tmp_path / "folder").mkdir()
    for name, message in (("folder", "it is a folder; expected a file"), ("none", "No such file")):
        with pytest.raises(InputError, match=f"{name}: {message}"):
            list(source(tmp_path / name).frames())
        assert len(list(source(tmp_path / name).problems())) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(tmp_path):
    path = write_video(tmp_path / "clip.avi", 2)
    path.chmod(0)
    with pytest.raises(InputError, match=r"clip\.avi: Permission denied"):
        list(VideoFile(path).frames())


def test_a_refused_file_is_named(tmp_path, monkeypatch):
    """As above, for root too: the refusal is the system's answer to opening the file."""
    path = write_video(tmp_path / "clip.avi", 2)
    image = write_image(tmp_path / "1.png", colour_frame(0))

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=r"clip\.avi: Permission denied"):
        list(VideoFile(path).frames())
    (error,) = ImageSequence((image,)).frames()
    assert str(error) == f"{image}: Permission denied; download it again"


def test_folders_are_sorted_by_the_numbers_in_the_names(tmp_path):
    for index in (9, 10, 100, 1):
        write_image(tmp_path / f"frame_{index}.png", colour_frame(index))
    (tmp_path / "notes.txt").touch()
    folder = ImageFolder(tmp_path)
    assert [path.name for path in folder.files] == [f"frame_{index}.png" for index in (1, 9, 10, 100)]
    assert folder.declared_length() == 4
    for image, index in zip(images_of(folder), (1, 9, 10, 100)):
        np.testing.assert_array_equal(image, colour_frame(index))
    assert [path.name for path in ImageFolder(tmp_path, "frame_1*.png").files] == [
        f"frame_{index}.png" for index in (1, 10, 100)
    ]


def test_a_folder_without_frames_and_a_file_in_its_place(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    messages = {"file": "it is a file", "empty": r"no frames \(.jpg, .jpeg, .png, ", "none": "No such file"}
    for name, message in messages.items():
        folder = ImageFolder(tmp_path / name)
        with pytest.raises(InputError, match=f"{name}: {message}"):
            list(folder.frames())
        assert folder.files == (tmp_path / name,)
        assert len(list(folder.problems())) == 1


def test_a_bad_image_takes_its_own_place(tmp_path):
    for index in range(3):
        write_image(tmp_path / f"{index}.png", colour_frame(index))
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:-40])
    (tmp_path / "2.png").write_text("text")
    folder = ImageFolder(tmp_path)
    first, second, third = folder.frames()
    assert isinstance(first, Frame)
    assert str(second) == f"{tmp_path}/1.png: the PNG is cut off or damaged; download it again"
    assert str(third).startswith(f"{tmp_path}/2.png: neither a JPEG nor a PNG image, nor TIFF, ")
    assert list(folder.problems()) == [str(third)]  # by the header alone


def test_png_of_16_bits_and_with_transparency(tmp_path):
    write_image(tmp_path / "1.png", depth_frame(3))
    write_image(tmp_path / "2.png", np.dstack([colour_frame(2), np.full((24, 32), 7, np.uint8)]))
    depth, colour = images_of(ImageFolder(tmp_path))
    assert depth.dtype == np.uint16
    np.testing.assert_array_equal(depth, depth_frame(3))
    np.testing.assert_array_equal(colour, colour_frame(2))


def test_a_changed_byte_of_a_png_is_noticed(tmp_path):
    path = write_image(tmp_path / "1.png", colour_frame(0))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (error,) = ImageFolder(tmp_path).frames()
    assert "the PNG is cut off or damaged" in str(error)


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
def test_volumes_of_both_formats(tmp_path, version, dtype):
    volume = MatVolume(write_volume(tmp_path / "clip.mat", VOLUME.astype(dtype), version=version))
    assert volume.declared_length() == 5
    images = images_of(volume)
    assert len(images) == 5
    for index, image in enumerate(images):
        np.testing.assert_array_equal(image, depth_frame(index))
    single = MatVolume(write_volume(tmp_path / "single.mat", VOLUME[..., 0], version=version))
    assert single.declared_length() == 1
    np.testing.assert_array_equal(images_of(single)[0], depth_frame(0))


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut", "variable", "shape"])
def test_damaged_volumes_are_named(tmp_path, version, damage):
    path = write_volume(tmp_path / "clip.mat", VOLUME, version=version)
    if damage in ("empty", "text"):
        path.write_bytes(b"" if damage == "empty" else b"no volume here\n" * 20)
        message = "the file is empty" if damage == "empty" else "not a readable MATLAB file"
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-3000])
        message = "not a readable MATLAB file"
    elif damage == "variable":
        path, message = write_volume(path, VOLUME, version=version, variable="A"), "has no variable 'depth', but A"
    else:
        path, message = write_volume(path, VOLUME[None], version=version), "curFrame has the shape"
    with pytest.raises(InputError, match=rf"clip\.mat: {message}") as caught:
        list(MatVolume(path, "depth" if damage == "variable" else None).frames())
    assert "\n" not in str(caught.value)


def test_the_source_follows_from_the_path(tmp_path):
    write_image(tmp_path / "frames" / "1.jpg", colour_frame(0))
    write_video(tmp_path / "clip.avi", 1)
    write_volume(tmp_path / "clip.mat", VOLUME, version="5")
    kinds = {"frames": ImageFolder, "clip.avi": VideoFile, "clip.mat": MatVolume}
    for name, kind in kinds.items():
        assert isinstance(open_source(tmp_path / name), kind)
    with pytest.raises(InputError, match=r"none\.avi: No such file or directory; expected a video file or a folder"):
        open_source(tmp_path / "none.avi")
    with pytest.raises(InputError, match=r"1\.jpg: a single image; expected a video file or a folder"):
        open_source(tmp_path / "frames" / "1.jpg")


def test_the_level_of_opencvs_messages_stays(tmp_path):
    before = cv2.getLogLevel()
    images_of(VideoFile(write_video(tmp_path / "clip.avi", 2)))
    assert cv2.getLogLevel() == before
