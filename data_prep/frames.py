"""One image: read it strictly, resize it, encode it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dmcl_tf.errors import InputError

_START = b"\xff\xd8"
_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA


def read_image(path: Path) -> np.ndarray:
    """Decodes a JPEG: `(H, W)` uint8 where it is grey, else `(H, W, 3)` uint8 in OpenCV's order blue, green, red.

    Decoders fill what is missing from a cut-off file with grey and say nothing, so the end marker is checked too.

    Raises:
        InputError: the file is missing, unreadable, empty, cut off or not a JPEG.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; download it again") from error
    if not content:
        raise InputError(f"{path}: the file is empty; download it again")
    if not content.startswith(_START):
        raise InputError(f"{path}: not a JPEG image; download it again")
    if not _is_complete(content):
        raise InputError(f"{path}: the JPEG is cut off; download it again")
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR)
    if image is None:
        raise InputError(f"{path}: the JPEG cannot be decoded; download it again")
    return image


def _is_complete(content: bytes) -> bool:
    """Whether the end marker follows the image data; one inside an embedded thumbnail does not count."""
    position = len(_START)
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == _START_OF_SCAN:
            return content.find(_END, position) >= 0
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
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
