"""What the header of an image says, read before anything is decoded: its kind and size, and whether it is whole."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from dmcl_tf.errors import InputError

_JPEG_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_STARTS_OF_FRAME = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG = b"\x89PNG\r\n\x1a\n"
_PNM = re.compile(rb"P([1-6])(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)?\s?")
_TYPE_SIZES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # TIFF's types of whole numbers
_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of strips and of tiles


class Header(NamedTuple):
    """What an image file says of itself.

    Attributes:
        kind: the format's name.
        width: in pixels, as stored.
        height: in pixels, as stored.
        whole: whether nothing is cut off, as far as the file's structure tells; decoders fill what is missing with
            grey and say nothing.
        orientation: EXIF's number 1 … 8 where OpenCV does not heed it; 1 elsewhere.
    """

    kind: str
    width: int
    height: int
    whole: bool
    orientation: int = 1


def image_kind(content: bytes) -> str:
    """The format that a file begins like.

    Raises:
        InputError: it is empty, or begins like none of those that can be read.
    """
    if not content:
        raise InputError("the file is empty")
    for kind, (pattern, _) in _FORMATS.items():
        if re.match(pattern, content, re.DOTALL):
            return kind
    raise InputError(f"neither a JPEG nor a PNG image, nor {', '.join(list(_FORMATS)[2:])}")


def read_header(content: bytes) -> Header:
    """Reads the header of an image file's content.

    Raises:
        InputError: it is empty, of none of the formats, or cut off within the header.
    """
    kind = image_kind(content)
    try:
        return _FORMATS[kind][1](content)
    except (struct.error, IndexError, ValueError):
        raise InputError(f"the {kind} is cut off or damaged") from None


def _jpeg(content: bytes) -> Header:
    """The end marker must follow the image data; one inside an embedded thumbnail does not count."""
    position, width, height = 2, 0, 0
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker in _STARTS_OF_FRAME:
            height, width = struct.unpack_from(">HH", content, position + 5)
        if marker == _START_OF_SCAN:
            return Header("JPEG", width, height, content.find(_JPEG_END, position) >= 0)
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return Header("JPEG", width, height, False)


def _png(content: bytes) -> Header:
    """Every chunk must be whole, by its checksum, up to the last one."""
    width, height = struct.unpack_from(">II", content, 16)
    position = len(_PNG)
    while position + 12 <= len(content):
        end = position + 8 + int.from_bytes(content[position : position + 4], "big")
        if zlib.crc32(content[position + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            break
        if content[position + 4 : position + 8] == b"IEND":
            return Header("PNG", width, height, True)
        position = end + 4
    return Header("PNG", width, height, False)


def _bmp(content: bytes) -> Header:
    start, size = struct.unpack_from("<II", content, 10)
    width, height, _, bits = struct.unpack_from("<HHHH" if size == 12 else "<iiHH", content, 18)
    height = abs(height)
    is_packed = size > 12 and struct.unpack_from("<I", content, 30)[0] in (1, 2)  # run lengths
    needed = start if is_packed else start + (width * bits + 31) // 32 * 4 * height
    return Header("BMP", width, height, len(content) >= needed)


def _webp(content: bytes) -> Header:
    whole = struct.unpack_from("<I", content, 4)[0] + 8 <= len(content) + 1
    kind, orientation = content[12:16], 1
    if kind == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
        position = 12
        while position + 8 <= len(content):
            size = struct.unpack_from("<I", content, position + 4)[0]
            if content[position : position + 4] == b"EXIF":
                exif = content[position + 8 : position + 8 + size]
                tags = _tiff_tags(exif[6:] if exif.startswith(b"Exif\0\0") else exif)
                orientation = tags.get(_ORIENTATION, [1])[0]
            position += 8 + size + size % 2
    elif kind == b"VP8L":
        bits = struct.unpack_from("<I", content, 21)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", content, 26))
    return Header("WebP", width, height, whole, orientation)


def _tiff(content: bytes) -> Header:
    tags = _tiff_tags(content)
    offsets, counts = ([value for tag in pair for value in tags.get(tag, ())] for pair in (_OFFSETS, _COUNTS))
    whole = all(offset + count <= len(content) for offset, count in zip(offsets, counts))
    return Header("TIFF", tags.get(_WIDTH, [0])[0], tags.get(_HEIGHT, [0])[0], whole and bool(offsets))


def _tiff_tags(content: bytes) -> dict[int, tuple[int, ...]]:
    """The whole numbers of the first directory of a TIFF, or of the EXIF data, which are one."""
    order = "<" if content[:1] == b"I" else ">"
    is_big = struct.unpack_from(f"{order}H", content, 2)[0] == 43
    word, entry, inside = ("Q", "HHQ", 8) if is_big else ("I", "HHI", 4)
    start = struct.unpack_from(f"{order}{word}", content, 8 if is_big else 4)[0]
    number = struct.unpack_from(f"{order}{'Q' if is_big else 'H'}", content, start)[0]
    tags, position = {}, start + (8 if is_big else 2)
    for _ in range(number):
        tag, kind, count = struct.unpack_from(f"{order}{entry}", content, position)
        value = position + struct.calcsize(f"={entry}")
        position = value + inside
        code = _TYPE_SIZES.get(kind)
        if code and tag in (_WIDTH, _HEIGHT, _ORIENTATION, *_OFFSETS, *_COUNTS):
            if count * struct.calcsize(f"={code}") > inside:
                value = struct.unpack_from(f"{order}{word}", content, value)[0]
            if value + count * struct.calcsize(f"={code}") > len(content):
                raise ValueError("the directory is cut off")
            tags[tag] = struct.unpack_from(f"{order}{count}{code}", content, value)
    return tags


def _pnm(content: bytes) -> Header:
    kind, width, height, most = (int(value or 1) for value in _PNM.match(content).groups())
    row = width * (3 if kind == 6 else 1) * (2 if most > 255 else 1)
    needed = {4: (width + 7) // 8 * height, 5: row * height, 6: row * height}.get(kind, 0)  # 1 … 3 are text
    return Header("PNM", width, height, len(content) >= needed)


_FORMATS: dict[str, tuple[bytes, Callable[[bytes], Header]]] = {
    "JPEG": (rb"\xff\xd8", _jpeg),
    "PNG": (re.escape(_PNG), _png),
    "TIFF": (rb"II[*+]\x00|MM\x00[*+]", _tiff),
    "BMP": (rb"BM", _bmp),
    "WebP": (rb"RIFF....WEBP", _webp),
    "PNM": (rb"P[1-6][\s#]", _pnm),
}
