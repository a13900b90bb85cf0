"""Matroska and WebM files: how their picture must be turned, which OpenCV does not tell.

RFC 9559: a rectangular projection of the video track with a roll, and perhaps a half turn (yaw), which mirrors it.
FFmpeg understands it so since version 7, and writes it where a phone's video is remuxed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data_prep.video.opening import naming, open_file

_HEAD = b"\x1a\x45\xdf\xa3"
_SEGMENT, _TRACKS, _CLUSTER = 0x18538067, 0x1654AE6B, 0x1F43B675
_TRACK, _KIND, _VIDEO, _PROJECTION, _PROJECTION_KIND = 0xAE, 0x83, 0xE0, 0x7670, 0x7671
_YAW, _PITCH, _ROLL = 0x7673, 0x7674, 0x7675
_LARGEST = 2**24  # bytes of the description of all tracks; some hundred are usual
_MOST = 1000  # elements before it
# (whether mirrored, degrees counter-clockwise) → EXIF's number
_ORIENTATIONS = {
    (False, 0): 1,
    (True, 0): 2,
    (False, 180): 3,
    (True, 180): 4,
    (True, 90): 5,
    (False, 270): 6,
    (True, 270): 7,
    (False, 90): 8,
}


def read_orientation(path: Path) -> int:
    """EXIF's number 1 … 8 for how decoded frames must be turned; 1 for files of other kinds.

    Raises:
        InputError: the file cannot be opened.
    """
    with open_file(path) as file, naming(path):
        if file.read(4) != _HEAD:
            return 1
        file.seek(0)
        try:
            return _orientation(_read_tracks(file))
        except (struct.error, IndexError, ValueError, OverflowError):
            return 1


def _read_tracks(file: BinaryIO) -> bytes:
    """The content of the element that describes the tracks; empty where it does not come before the frames."""
    position = 0
    for _ in range(_MOST):
        file.seek(position)
        kind, size, length = _element(file.read(16), 0)
        if kind == _TRACKS:
            file.seek(position + length)
            return file.read(min(size, _LARGEST))
        if kind == _CLUSTER:
            return b""
        position += length if kind == _SEGMENT else length + size
    return b""


def _element(content: bytes, position: int) -> tuple[int, int, int]:
    """Kind and size of the element at a position, and the length of this head."""
    kind_length = 9 - content[position].bit_length()
    kind = int.from_bytes(content[position : position + kind_length], "big")
    first = content[position + kind_length]
    size_length = 9 - first.bit_length()
    size = int.from_bytes(content[position + kind_length : position + kind_length + size_length], "big")
    return kind, size - (1 << 7 * size_length), kind_length + size_length


def _children(content: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position < len(content):
        kind, size, length = _element(content, position)
        yield kind, content[position + length : position + length + size]
        position += length + size


def _orientation(tracks: bytes) -> int:
    """That of the first video track."""
    for kind, track in _children(tracks):
        elements = dict(_children(track)) if kind == _TRACK else {}
        if int.from_bytes(elements.get(_KIND, b""), "big") == 1:
            projection = dict(_children(dict(_children(elements.get(_VIDEO, b""))).get(_PROJECTION, b"")))
            if int.from_bytes(projection.get(_PROJECTION_KIND, b""), "big"):
                return 1  # a sphere
            yaw, pitch, roll = (_float(projection.get(name, b"")) for name in (_YAW, _PITCH, _ROLL))
            if pitch or abs(yaw) not in (0, 180):
                return 1
            return _ORIENTATIONS.get((bool(yaw), int(roll) % 360), 1)
    return 1


def _float(content: bytes) -> float:
    return struct.unpack(">d" if len(content) == 8 else ">f", content)[0] if content else 0.0
