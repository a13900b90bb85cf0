"""One image: read it strictly, resize it, encode it."""

from __future__ import annotations

import zlib
from pathlib import Path

import cv2
import numpy as np

from dmcl_tf.errors import InputError

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND"
_START_OF_SCAN = 0xDA


def read_image(path: Path) -> np.ndarray:
    """Decodes a JPEG or PNG, whatever its name ends in.

    Decoders fill what is missing from a cut-off file with grey and say nothing, so that is checked first.

    Returns:
        `(H, W)` where it is grey, else `(H, W, 3)` in OpenCV's order blue, green, red; uint8, or uint16 for a PNG of
        16 bits. Transparency is left out.

    Raises:
        InputError: the file is missing, unreadable, empty, cut off or of another format.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; download it again") from error
    try:
        return decode_image(content)
    except InputError as error:
        raise InputError(f"{path}: {error}; download it again") from None


def decode_image(content: bytes) -> np.ndarray:
    """As `read_image`, of a file's content; the message of its `InputError` says what is wrong, not where."""
    kind = _kind(content)
    if kind == "JPEG" and not is_complete_jpeg(content):
        raise InputError("the JPEG is cut off")
    if kind == "PNG" and not _is_complete_png(content):
        raise InputError("the PNG is cut off or damaged")
    flags = cv2.IMREAD_ANYCOLOR if kind == "JPEG" else cv2.IMREAD_UNCHANGED
    image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if image is None:
        raise InputError(f"the {kind} cannot be decoded")
    return image[..., :3] if image.ndim == 3 else image


def check_header(path: Path) -> None:
    """Checks that a file is there and begins like a JPEG or PNG, without decoding it; raises `InputError` if not."""
    try:
        with Path(path).open("rb") as file:
            _kind(file.read(len(_PNG)))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; download it again") from error
    except InputError as error:
        raise InputError(f"{path}: {error}; download it again") from None


def _kind(content: bytes) -> str:
    if not content:
        raise InputError("the file is empty")
    if content.startswith(_JPEG):
        return "JPEG"
    if content.startswith(_PNG):
        return "PNG"
    raise InputError("neither a JPEG nor a PNG image")


def is_complete_jpeg(content: bytes) -> bool:
    """Whether the end marker follows the image data; one inside an embedded thumbnail does not count."""
    position = len(_JPEG)
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == _START_OF_SCAN:
            return content.find(_JPEG_END, position) >= 0
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return False


def _is_complete_png(content: bytes) -> bool:
    """Whether every chunk is whole, by its checksum, up to the last one."""
    position = len(_PNG)
    while position + 12 <= len(content):
        end = position + 8 + int.from_bytes(content[position : position + 4], "big")
        if zlib.crc32(content[position + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return False
        if content[position + 4 : position + 8] == _PNG_END:
            return True
        position = end + 4
    return False


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resizes to `(size, size)`, ignoring the aspect ratio as the authors do.

    Deviation: area interpolation, which averages all source pixels, instead of the bilinear samples of TensorFlow 1,
    which alias when shrinking 640×480 to 256². Enlarging is bilinear.
    """
    shrinks = image.shape[0] >= size and image.shape[1] >= size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def encode_jpeg(image: np.ndarray, quality: int, *, full_chroma: bool = False) -> bytes:
    """Encodes `(H, W)` or `(H, W, 3)` uint8 (blue, green, red); `full_chroma` halves no channel."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if full_chroma:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    encoded, content = cv2.imencode(".jpg", image, options)
    if not encoded:
        raise ValueError(f"cannot encode an image of shape {image.shape} and type {image.dtype} as JPEG")
    return content.tobytes()
