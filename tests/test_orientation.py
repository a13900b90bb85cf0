"""Pictures that lie on their side: what a camera notes of how it was held is honoured in every format."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from raw import colour_frame, depth_frame, images_of

from data_prep.video import matroska
from data_prep.video.frames import read_image
from data_prep.video.sources import VideoFile

ODD = Path(__file__).parent / "odd_inputs"
# EXIF's number → how a stored picture is turned, and the matrix (a, b, c, d) by which MP4 says the same
UPRIGHT = {
    1: (lambda image: image, (1, 0, 0, 1)),
    2: (lambda image: image[:, ::-1], (-1, 0, 0, 1)),
    3: (lambda image: image[::-1, ::-1], (-1, 0, 0, -1)),
    4: (lambda image: image[::-1], (1, 0, 0, -1)),
    5: (lambda image: image.swapaxes(0, 1), (0, 1, 1, 0)),
    6: (lambda image: np.rot90(image, -1), (0, 1, -1, 0)),
    7: (lambda image: image[::-1, ::-1].swapaxes(0, 1), (0, -1, -1, 0)),
    8: (lambda image: np.rot90(image, 1), (0, -1, 1, 0)),
}


def test_a_phone_held_upright():
    upright, lying = (images_of(VideoFile(ODD / name)) for name in ("rot90.mp4", "land.mp4"))
    assert len(upright) == 30
    assert upright[0].shape == (160, 90, 3)
    for turned, stored in zip(upright, lying):
        np.testing.assert_array_equal(turned, np.rot90(stored, 1))  # as FFmpeg decodes it


@pytest.mark.parametrize("number", UPRIGHT)
def test_every_rotation_and_mirroring_of_mp4(tmp_path, number):
    turn, matrix = UPRIGHT[number]
    content = bytearray((ODD / "land.mp4").read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">5i", content, content.find(b"tkhd") + 44, a, b, 0, c, d)
    (tmp_path / "clip.mp4").write_bytes(content)
    stored = images_of(VideoFile(ODD / "land.mp4"))[7]
    np.testing.assert_array_equal(images_of(VideoFile(tmp_path / "clip.mp4"))[7], turn(stored))


def element(kind, content):
    """An EBML element, its size in eight bytes."""
    return kind + (len(content) | 1 << 56).to_bytes(8, "big") + content


def projected(content, projection):
    """A Matroska file with a projection in its video track."""
    tracks = content.rfind(b"\x16\x54\xae\x6b")  # the first one is in a list of places
    _, length, head = matroska._element(content, tracks)
    start = tracks + head
    inner = content[start : start + length]
    (track,) = (part for kind, part in matroska._children(inner) if kind == 0xAE)
    parts = [(kind, part) for kind, part in matroska._children(track)]
    parts = [(kind, part + element(b"\x76\x70", projection) if kind == 0xE0 else part) for kind, part in parts]
    track = b"".join(element(kind.to_bytes((kind.bit_length() + 7) // 8, "big"), part) for kind, part in parts)
    changed = element(b"\x16\x54\xae\x6b", element(b"\xae", track))
    segment = content.find(b"\x18\x53\x80\x67")
    return (
        content[: segment + 4]
        + b"\x01"
        + b"\xff" * 7
        + content[segment + 12 : tracks]
        + changed
        + content[start + length :]
    )


# EXIF's number → yaw and roll
PROJECTIONS = {
    1: (0, 0),
    2: (180, 0),
    3: (0, -180),
    4: (-180, 180),
    5: (180, 90),
    6: (0, -90),
    7: (180, 270),
    8: (0, 90),
}


@pytest.mark.parametrize("number", UPRIGHT)
@pytest.mark.parametrize("letter", "fd")
def test_every_rotation_and_mirroring_of_matroska(tmp_path, number, letter):
    size, (yaw, roll) = struct.pack("B", 0x80 | struct.calcsize(letter)), PROJECTIONS[number]
    floats = {b"\x76\x73": yaw, b"\x76\x75": roll}
    projection = b"".join(kind + size + struct.pack(f">{letter}", value) for kind, value in floats.items())
    (tmp_path / "clip.mkv").write_bytes(projected((ODD / "land.mkv").read_bytes(), projection))
    stored = images_of(VideoFile(ODD / "land.mkv"))
    images = images_of(VideoFile(tmp_path / "clip.mkv"))
    assert len(images) == len(stored) == 30
    np.testing.assert_array_equal(images[7], UPRIGHT[number][0](stored[7]))


@pytest.mark.parametrize(
    "projection",
    [
        b"\x76\x71\x81\x01" + b"\x76\x75\x84" + struct.pack(">f", 90),  # a sphere
        b"\x76\x74\x84" + struct.pack(">f", 30) + b"\x76\x75\x84" + struct.pack(">f", 90),  # tilted
        b"\x76\x75\x84" + struct.pack(">f", np.nan),
        b"\x76\x75\x83abc",
        b"\x76\x75",
    ],
)
def test_projections_that_are_no_rotation(tmp_path, projection):
    (tmp_path / "clip.mkv").write_bytes(projected((ODD / "land.mkv").read_bytes(), projection))
    assert matroska.read_orientation(tmp_path / "clip.mkv") == 1


def exif(number):
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, number, 0, 0)


def oriented_jpeg(image, number):
    content, data = cv2.imencode(".jpg", image)[1].tobytes(), b"Exif\0\0" + exif(number)
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + content[2:]


def oriented_png(image, number):
    content, data = cv2.imencode(".png", image)[1].tobytes(), b"eXIf" + exif(number)
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return content[:33] + chunk + content[33:]


def oriented_webp(image, number):
    content = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    height, width = image.shape[:2]
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<II", 10, 8) + sizes + content[12:]
    body += b"EXIF" + struct.pack("<I", len(exif(number))) + exif(number)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize("number", UPRIGHT)
@pytest.mark.parametrize("write", [oriented_jpeg, oriented_png, oriented_webp])
def test_the_orientation_in_exif_data(tmp_path, write, number):
    path = tmp_path / "image"
    path.write_bytes(write(colour_frame(0), number))
    expected = UPRIGHT[number][0](colour_frame(0)).astype(int)
    read = read_image(path)
    assert read.shape == expected.shape
    assert np.abs(read - expected).mean() < 8


def test_a_depth_png_of_16_bits_is_turned_as_well(tmp_path):
    (tmp_path / "1.png").write_bytes(oriented_png(depth_frame(0), 6))
    np.testing.assert_array_equal(read_image(tmp_path / "1.png"), np.rot90(depth_frame(0), -1))
