"""Sound files that went wrong once: trimmed, of 16 bits, mixed, with gaps, from any spreadsheet."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from raw import colour_frame, depth_frame, images_of, write_image, write_volume

from data_prep.raw.base import RawVideo
from data_prep.video import videos
from data_prep.video.depth import DepthSettings
from data_prep.video.frames import decode_image
from data_prep.video.record import VideoSettings, make_frames
from data_prep.video.sources import ImageFolder, MatVolume, VideoFile, open_source, open_sources
from dmcl_tf.errors import InputError

ODD = Path(__file__).parent / "odd_inputs"


def encode(sources, mode="as_is"):
    """The decoded frames of a record of 32 pixels, by modality."""
    settings = VideoSettings(tuple(sources), 32, depth=DepthSettings(mode))
    frames, warnings, _ = make_frames(RawVideo("clip", "wave", sources), settings)
    return {modality: [decode_image(image) for image in images] for modality, images in frames.items()}, warnings


# ---- how many frames there are


@pytest.mark.parametrize(
    ("name", "frames", "declared"),
    [
        ("land.mp4", 30, 30),
        ("trim.mp4", 19, 19),
        ("trim.mov", 19, 19),
        ("vfr.mp4", 70, 70),
        ("vfr.mkv", 70, 65),
        ("gap.avi", 7, 30),
    ],
)
def test_edit_lists_and_variable_frame_rates_lack_nothing(name, frames, declared):
    video = VideoFile(ODD / name)
    assert len(images_of(video)) == frames
    assert video.declared_length() == declared
    assert encode({"rgb": video})[1] == []


def test_a_trimmed_video_begins_where_it_was_cut():
    trimmed, whole = images_of(VideoFile(ODD / "trim.mp4")), images_of(VideoFile(ODD / "land.mp4"))
    differences = [np.abs(image.astype(int) - trimmed[0]).mean() for image in whole]
    assert len(whole) - len(trimmed) >= int(np.argmin(differences))
    assert min(differences) < 3


@pytest.mark.parametrize("name", ["trim.mp4", "vfr.mkv", "gap.avi"])
def test_one_that_breaks_off_is_still_named(tmp_path, name):
    content = (ODD / name).read_bytes()
    if name == "trim.mp4":  # the table of frames first, as for streaming, so that the frames are cut off
        data, tables = content.find(b"mdat") - 4, content.find(b"moov") - 4
        moved = bytearray(content[tables:])
        start = moved.find(b"stco")
        for index in range(struct.unpack_from(">I", moved, start + 8)[0]):
            (offset,) = struct.unpack_from(">I", moved, start + 12 + 4 * index)
            struct.pack_into(">I", moved, start + 12 + 4 * index, offset + len(moved))
        content = content[:data] + bytes(moved) + content[data:tables]
    path = tmp_path / name
    path.write_bytes(content[: int(0.8 * len(content))])
    with pytest.raises(InputError, match=r"frames can be decoded, but the file declares|no frame can be decoded"):
        encode({"rgb": VideoFile(path)})


# ---- depth in 16 bits


def test_grey_video_of_16_bits_keeps_them():
    images = images_of(VideoFile(ODD / "gray16.mkv"))
    assert len(images) == 30
    assert (images[0].dtype, images[0].shape) == (np.uint16, (90, 160))
    assert len(np.unique(images[0])) > 100
    assert images[0].max() > 255


@pytest.mark.parametrize("mode", ["clip_mm", "per_clip"])
def test_its_millimetres_are_encoded_like_those_of_a_png(tmp_path, mode):
    for index, image in enumerate(images_of(VideoFile(ODD / "gray16.mkv"))):
        write_image(tmp_path / f"{index}.png", image)
    video, images = (
        encode({"depth": source}, mode)[0] for source in (VideoFile(ODD / "gray16.mkv"), ImageFolder(tmp_path))
    )
    np.testing.assert_array_equal(video["depth"], images["depth"])


def test_it_is_no_depth_of_8_bits_as_it_is():
    with pytest.raises(InputError, match=r"gray16\.mkv, frame 0: an image of 16 bits per pixel, but as_is takes 8"):
        encode({"depth": VideoFile(ODD / "gray16.mkv")})


def test_bits_that_opencv_would_cut_off_are_refused():
    with pytest.raises(InputError, match=r"gray12\.mkv: grey video of 12 bits .* convert it with ffmpeg .*gray16le"):
        images_of(VideoFile(ODD / "gray12.mkv"))
    (problem,) = VideoFile(ODD / "gray12.mkv").problems()
    assert "12 bits" in problem


def test_distances_in_colour_of_more_than_8_bits_are_refused():
    video = VideoFile(ODD / "colour10.mkv")
    for mode in ("as_is", "clip_mm"):
        with pytest.raises(
            InputError, match=r"colour10\.mkv, frame 0: colour video of 10 bits, .* convert it with ffmpeg"
        ):
            encode({"depth": video}, mode)
    assert len(encode({"rgb": video})[0]["rgb"]) == 5  # a picture loses nothing that its JPEG would keep


@pytest.mark.parametrize(
    ("letters", "bits"),
    [
        (b"I420", 8),
        (b"Y3\x0b\x0a", 10),
        (b"\x0a\x0b3Y", 10),
        (b"G3\0\x08", 8),
        (b"G4\0\x10", 16),
        (b"BGR0", 16),
        (b"BGR\0", 8),
    ],
)
def test_bits_of_pixel_formats(letters, bits):
    assert videos._channels(letters)[1] == bits


@pytest.mark.parametrize("name", ["av1.mp4", "av1.webm"])
def test_a_codec_without_decoder(name, capfd):
    with pytest.raises(
        InputError, match=r"may be sound, but OpenCV has no decoder for its codec av01 \(AV1\): convert"
    ) as caught:
        images_of(VideoFile(ODD / name))
    assert "download" not in str(caught.value)
    assert capfd.readouterr().err == ""


# ---- folders of images


def test_two_modalities_in_one_folder_are_told_apart(tmp_path):
    for index in range(9):
        write_image(tmp_path / f"rgb_{index:03}.png", colour_frame(index))
        write_image(tmp_path / f"Depth_{index:03}.png", depth_frame(index))
    sources, warnings = open_sources({"rgb": tmp_path, "depth": tmp_path})
    assert warnings == []
    np.testing.assert_array_equal(images_of(sources["rgb"])[4], colour_frame(4))
    np.testing.assert_array_equal(images_of(sources["depth"])[4], depth_frame(4))
    with pytest.raises(
        InputError, match=r"images of several kinds \(9 × Depth_000.png, 9 × rgb_000.png\): put each kind"
    ):
        images_of(open_source(tmp_path, "infrared"))


@pytest.mark.parametrize("names", [("cam1", "cam2"), ("cam1", "cam10"), ("rgb_left", "rgb_right")])
def test_names_of_modalities_with_digits_and_underscores_are_told_apart(tmp_path, names):
    for index in range(9):
        write_image(tmp_path / f"{names[0]}_{index:03}.png", colour_frame(index))
        write_image(tmp_path / f"{names[1]}_{index:03}.png", colour_frame(index + 9))
    sources, warnings = open_sources(dict.fromkeys(names, tmp_path))
    assert warnings == []
    for number, source in enumerate(sources.values()):
        np.testing.assert_array_equal(images_of(source), [colour_frame(9 * number + index) for index in range(9)])


@pytest.mark.parametrize("name", ["ir_", "ir"])
def test_a_number_in_the_name_of_a_modality_is_no_other_kind_of_image(tmp_path, name):
    for index in range(1, 13):
        write_image(tmp_path / f"{name}{index}.png", colour_frame(index))
    source = open_source(tmp_path, f"{name}1")
    np.testing.assert_array_equal(images_of(source), [colour_frame(index) for index in range(1, 13)])


@pytest.mark.parametrize("other", ["000.jpg", "00.png", "000.PNG"])
def test_two_images_of_one_number_are_refused(tmp_path, other):
    for index in range(9):
        write_image(tmp_path / f"{index:03}.png", colour_frame(index))
    (tmp_path / other).write_bytes((tmp_path / "000.png").read_bytes())
    if len(list(tmp_path.iterdir())) == 10:
        with pytest.raises(InputError, match=f"{tmp_path}: .*(are both frame 0|is not named like the other images)"):
            images_of(ImageFolder(tmp_path))


def test_a_series_in_two_formats_without_a_common_number_is_one(tmp_path):
    for index in range(9):
        write_image(tmp_path / f"{index:03}.{'jpg' if index < 4 else 'png'}", colour_frame(index))
    assert len(images_of(ImageFolder(tmp_path))) == 9


def test_an_image_of_another_kind_is_named(tmp_path):
    for index in range(12):
        write_image(tmp_path / f"{index:03}.png", colour_frame(index))
    write_image(tmp_path / "cover.png", colour_frame(0))
    with pytest.raises(InputError, match=r"cover\.png is not named like the other images, such as 000\.png: move it"):
        images_of(ImageFolder(tmp_path))


def test_names_without_numbers_are_sorted(tmp_path):
    for name in ("c", "a", "b"):
        write_image(tmp_path / f"{name}.png", colour_frame(ord(name)))
    np.testing.assert_array_equal(images_of(ImageFolder(tmp_path))[0], colour_frame(ord("a")))


def test_hidden_files_are_no_frames(tmp_path):
    for index in range(5):
        write_image(tmp_path / f"{index:03}.jpg", colour_frame(index))
        (tmp_path / f"._{index:03}.jpg").write_bytes(b"\0\5\x16\7Mac OS X")
    assert len(images_of(ImageFolder(tmp_path))) == ImageFolder(tmp_path).declared_length() == 5
    assert list(ImageFolder(tmp_path).problems()) == []


def write_numbered(folder, numbers, frame):
    for number in numbers:
        write_image(folder / f"{number:04}.png", frame(number))
    return folder


def test_frames_are_paired_by_number(tmp_path):
    rgb = write_numbered(tmp_path / "rgb", [*range(10), *range(14, 20)], colour_frame)
    depth = write_numbered(tmp_path / "depth", range(20), depth_frame)
    sources, warnings = open_sources({"rgb": rgb, "depth": depth})
    assert warnings == [
        f"{depth}: 4 frames have no partner of the same number in the other modalities and are left out: 10, 11, 12, 13"
    ]
    assert len(images_of(sources["rgb"])) == len(images_of(sources["depth"])) == 16
    np.testing.assert_array_equal(images_of(sources["depth"])[10], depth_frame(14))


@pytest.mark.parametrize(
    ("rgb", "depth", "left"),
    [
        (range(12), range(1, 13), (12, 12)),  # one counts from 0, the other from 1
        (range(12), range(2, 14), (10, 12)),  # the first frames of one are lost; its last ones are compared by length
        (range(0, 24, 2), range(24), (12, 12 + 1)),  # half the rate; the last is beyond the end
        (range(1000, 1012), range(12), (12, 12)),  # nothing in common: two counters
        (range(12), range(10), (12, 10)),  # the end is missing, which the lengths tell
    ],
)
def test_which_numbers_can_be_compared(tmp_path, rgb, depth, left):
    paths = {
        "rgb": write_numbered(tmp_path / "rgb", rgb, colour_frame),
        "depth": write_numbered(tmp_path / "depth", depth, depth_frame),
    }
    sources, _ = open_sources(paths)
    assert tuple(source.declared_length() for source in sources.values()) == left


@pytest.mark.parametrize("ending", [".tif", ".bmp", ".webp", ".pgm", ".npy"])
def test_other_formats_of_frames(tmp_path, ending):
    for index in range(4):
        image = depth_frame(index) if ending in (".tif", ".pgm", ".npy") else colour_frame(index)
        if ending == ".npy":
            np.save(tmp_path / f"{index}.npy", image)
        else:
            write_image(tmp_path / f"{index}{ending}", image)
    images = images_of(ImageFolder(tmp_path))
    assert len(images) == 4
    if images[0].ndim == 2:
        np.testing.assert_array_equal(images[3], depth_frame(3))
    else:
        assert np.abs(images[3].astype(int) - colour_frame(3)).mean() < 8


@pytest.mark.parametrize("ending", [".tif", ".bmp", ".webp", ".pgm", ".npy"])
def test_other_formats_that_are_cut_off(tmp_path, ending):
    path = tmp_path / f"0{ending}"
    if ending == ".npy":
        np.save(path, depth_frame(0))
    else:
        write_image(path, depth_frame(0) if ending == ".pgm" else colour_frame(0))
    path.write_bytes(path.read_bytes()[:-100])
    (error,) = ImageFolder(tmp_path).frames()
    assert str(path) in str(error)


def test_formats_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "0.heic").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no frames .* in this folder; it holds \.heic files: convert them"):
        images_of(ImageFolder(tmp_path))
    (tmp_path / "frames").mkdir()
    with pytest.raises(InputError, match=r"no frames .* in this folder; it holds the folder frames: name that"):
        ImageFolder(tmp_path).sequence()


@pytest.mark.parametrize("colour", [False, True])
def test_numpy_volumes(tmp_path, colour):
    frame = colour_frame if colour else depth_frame
    volume = np.stack([frame(index) for index in range(5)])
    np.save(tmp_path / "clip.npy", volume[..., ::-1] if colour else volume)  # red, green, blue
    source = open_source(tmp_path / "clip.npy")
    assert source.declared_length() == 5
    np.testing.assert_array_equal(images_of(source), volume)


@pytest.mark.parametrize("array", [np.zeros(4), np.array([None]), np.zeros((4, 4, 4), complex), np.zeros((2, 3, 4, 5))])
def test_arrays_that_are_no_volume(tmp_path, array):
    np.save(tmp_path / "clip.npy", array)
    with pytest.raises(InputError, match=r"clip\.npy: "):
        images_of(open_source(tmp_path / "clip.npy"))


# ---- MATLAB variables


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_the_only_volume_of_a_matlab_file(tmp_path, version):
    volume = np.stack([depth_frame(index) for index in range(5)], axis=2)
    path = write_volume(tmp_path / "clip.mat", volume, version=version, variable="d_depth", fps=np.array([[30.0]]))
    np.testing.assert_array_equal(images_of(open_source(path))[3], depth_frame(3))
    path = write_volume(path, volume, version=version, variable="left", right=volume + 1)
    with pytest.raises(InputError, match=r"clip\.mat: has several volumes: choose one .* --mat_variable=left\|right"):
        images_of(open_source(path))
    np.testing.assert_array_equal(images_of(MatVolume(path, "right"))[3], depth_frame(3) + 1)
