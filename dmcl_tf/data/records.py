"""The TFRecord format: one file for each video, which holds one `tf.train.SequenceExample`.

Context features: `video_id`, `fingerprint` and `warnings` (bytes), `length` (frames stored), `frames` (moments that the
raw video has), `height`, `width` (pixels). One feature list per modality, named after it, with `length` JPEG strings;
element i of every modality shows the same moment. Labels and splits are no part of it: they are in the table of videos.

Files are written and their heads are read here without TensorFlow, whose import would cost every worker of a
preparation half a gigabyte. The encoding is protocol buffers' own, as `tf.train.SequenceExample` writes it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np

from dmcl_tf.errors import InputError
from dmcl_tf.files import atomic_path, open_regular

MINIMUM_FRAMES = 9  # shorter videos repeat their last frame, as the authors do
CLIPS = 10  # by which a validation or test video is judged
HEAD = 12  # bytes before the example: its length and the checksum of that
FOOT = 4  # bytes after it: its own checksum
_MASK_DELTA = 0xA282EAD8  # of TFRecord's checksums
_VARINT, _BYTES = 0, 2  # wire types of protocol buffers
_READ_FIRST = 4096  # bytes in which the context is looked for


@dataclass(frozen=True)
class About:
    """What a record says of its video, without the frames.

    Attributes:
        video_id: unique in the data set.
        frames: moments that the raw video has, before a short one is padded.
        length: frames of each modality.
        height: of every frame, in pixels.
        width: of every frame, in pixels.
        fingerprint: of the raw files and of the settings that the record was made with.
        warnings: what was left out or is peculiar, in a line each.
    """

    video_id: str
    frames: int
    length: int
    height: int
    width: int
    fingerprint: str = ""
    warnings: tuple[str, ...] = ()


def encode_video(about: About, frames: Mapping[str, Sequence[bytes]]) -> bytes:
    """Returns one video as a serialized `SequenceExample`; the same arguments always give the same bytes.

    Args:
        about: the context.
        frames: `about.length` JPEG strings in temporal order by modality.

    Raises:
        ValueError: a modality has another number of frames, or there are none.
    """
    lengths = {modality: len(images) for modality, images in frames.items()}
    if not frames or set(lengths.values()) != {about.length} or about.length < 1:
        raise ValueError(f"{about.video_id}: every modality needs {about.length} frames, at least one; got {lengths}")
    context = {name: getattr(about, name) for name in ("frames", "height", "length", "width")}
    texts = {"fingerprint": [about.fingerprint], "video_id": [about.video_id], "warnings": list(about.warnings)}
    features = {name: _field(3, _field(1, _varint(value))) for name, value in context.items()}
    features |= {name: _bytes_feature([text.encode() for text in values]) for name, values in texts.items()}
    lists = {modality: b"".join(_field(1, _bytes_feature([i])) for i in images) for modality, images in frames.items()}
    # example: context = 1, feature_lists = 2; a map is a list of entries: key = 1, value = 2
    return _field(1, _map(features)) + _field(2, _map(lists))


def decode_video(serialized: bytes) -> tuple[About, dict[str, list[bytes]]]:
    """The inverse of `encode_video`.

    Raises:
        ValueError: the bytes are no record of ours.
    """
    parts = dict(_fields(serialized))
    frames = {
        modality: [_feature_values(feature)[0] for _, feature in _fields(images)]
        for modality, images in _entries(parts.get(2, b""))
    }
    return _decode_context(parts.get(1, b"")), frames


def _decode_context(context: bytes) -> About:
    values = {name: _feature_values(feature) for name, feature in _entries(context)}
    try:
        numbers = {name: int(values[name][0]) for name in ("frames", "length", "height", "width")}
        texts = {name: values[name][0].decode() for name in ("video_id", "fingerprint")}
        warnings = tuple(text.decode() for text in values["warnings"])
        return About(texts["video_id"], **numbers, fingerprint=texts["fingerprint"], warnings=warnings)
    except (KeyError, IndexError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"its context lacks {error}") from None


def write_record(path: Path, serialized: bytes) -> None:
    """Writes a record as a TFRecord file, atomically."""
    length = struct.pack("<Q", len(serialized))
    with atomic_path(path) as partial:
        partial.write_bytes(b"".join((length, masked_checksum(length), serialized, masked_checksum(serialized))))


def read_record(path: Path) -> bytes:
    """The serialized example of a TFRecord file, every byte of which is checked.

    Raises:
        InputError: the file is missing, cut off or damaged.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2) - HEAD - FOOT
            file.seek(0)
            length = struct.pack("<Q", max(size, 0))
            if file.read(HEAD) == length + masked_checksum(length):  # else the size may be anything
                serialized = file.read(size)
                if file.read() == masked_checksum(serialized):
                    return serialized
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {REMAKE}") from None
    raise InputError(f"{path} is damaged: {REMAKE}")


def read_about(path: Path) -> tuple[About, str]:
    """What a record says of its video, and the checksum of its example, by a few bytes of the file.

    Raises:
        InputError: the file is missing, cut off or no record of ours.
    """
    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            content = file.read(HEAD + _READ_FIRST)
            tag, start = _read_varint(content, HEAD)
            length, start = _read_varint(content, start)
            if tag != _tag(1) or struct.unpack("<Q", content[:8])[0] != size - HEAD - FOOT:
                raise ValueError("it is cut off or no record")
            content += file.read(max(0, start + length - len(content)))
            file.seek(size - FOOT)
            return _decode_context(content[start : start + length]), file.read(FOOT)[::-1].hex()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {REMAKE}") from None
    except (ValueError, struct.error) as error:
        raise InputError(f"{path} is damaged ({error}): {REMAKE}") from None


REMAKE = "delete it and run data_prep/make_tfrecords.py again"


def record_path(directory: Path, video_id: str) -> Path:
    """Where a video's record is kept below a folder of records, in one of 256 folders by the name's checksum."""
    return directory / "videos" / f"{zlib.crc32(video_id.encode()) & 0xFF:02x}" / f"{video_id}.tfrecord"


def draw_clips(video_id: str, length: int, *, clips: int = CLIPS, frames: int = 8) -> np.ndarray:
    """Draws the fixed clips by which a validation or test video is judged.

    A video of L frames is cut into as many segments as a clip has frames; index j is uniform in
    [ceil(j·L/frames), ceil((j+1)·L/frames)), the sampling of the paper. The seed is the CRC-32 of `video_id`, so that
    every experiment sees the same clips. Deviation: the authors draw once without a seed and keep the result.

    Returns:
        `(clips, frames)` int64 frame indices, the same for all modalities.

    Raises:
        ValueError: fewer video frames than frames of a clip, which would leave segments empty.
    """
    if length < frames:
        raise ValueError(f"{video_id}: {length} frames are too few for clips of {frames}")
    bounds = -(-np.arange(frames + 1, dtype=np.int64) * length // frames)  # ceiling division
    random = np.random.RandomState(zlib.crc32(video_id.encode()))
    return random.randint(bounds[:-1], bounds[1:], size=(clips, frames), dtype=np.int64)


def masked_checksum(content: bytes) -> bytes:
    """The checksum of TFRecord's framing, CRC-32C masked as that format asks, 4 bytes."""
    checksum = google_crc32c.value(content)
    return struct.pack("<I", ((checksum >> 15 | checksum << 17) + _MASK_DELTA) & 0xFFFFFFFF)


def _tag(number: int) -> int:
    return number << 3 | _BYTES


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(_tag(number)) + _varint(len(content)) + content


def _bytes_feature(values: Sequence[bytes]) -> bytes:
    return _field(1, b"".join(_field(1, value) for value in values))


def _map(values: Mapping[str, bytes]) -> bytes:
    return b"".join(_field(1, _field(1, key.encode()) + _field(2, values[key])) for key in sorted(values))


def _read_varint(content: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and the position after it."""
    value = shift = 0
    while True:
        if position >= len(content):
            raise ValueError("it is cut off")
        digit = content[position]
        value |= (digit & 127) << shift
        position, shift = position + 1, shift + 7
        if digit < 128:
            return value, position


def _fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields number and content of each field, all of which are of variable length in these messages."""
    position = 0
    while position < len(content):
        tag, position = _read_varint(content, position)
        length, position = _read_varint(content, position)
        if tag & 7 != _BYTES or position + length > len(content):
            raise ValueError("it is no sequence example")
        yield tag >> 3, content[position : position + length]
        position += length


def _entries(content: bytes) -> Iterator[tuple[str, bytes]]:
    for _, entry in _fields(content):
        parts = dict(_fields(entry))
        yield parts.get(1, b"").decode(), parts.get(2, b"")


def _feature_values(feature: bytes) -> list:
    """The values of a feature: byte strings, or whole numbers."""
    values: list = []
    for kind, content in _fields(feature):
        if kind == 1:
            values += [value for _, value in _fields(content)]
        elif kind == 3:
            position = 0
            for _, packed in _fields(content):
                while position < len(packed):
                    value, position = _read_varint(packed, position)
                    values.append(value)
    return values
