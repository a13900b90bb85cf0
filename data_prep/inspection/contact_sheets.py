"""Pictures of records for people: a few videos of a class, a row of frames for each modality."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from data_prep.video.frames import decode_image, encode_jpeg
from dmcl_tf.errors import InputError

_FRAMES = 8  # in a row
_TILE = 80  # pixels
_LINE = 18  # height of a line of text
_QUALITY = 92


def strip(contents: Mapping[str, Sequence[bytes]]) -> bytes:
    """Returns the JPEG of one video's pictures: a row for each modality, eight frames spread evenly over its length.

    A frame that is missing or cannot be decoded is a grey tile.
    """
    rows = []
    for frames in contents.values():
        chosen = np.linspace(0, max(len(frames) - 1, 0), _FRAMES).round().astype(int)
        rows.append(np.hstack([_tile(frames[index]) if frames else _blank_tile() for index in chosen]))
    return encode_jpeg(np.vstack(rows), _QUALITY, full_chroma=True) if rows else b""


def _tile(content: bytes) -> np.ndarray:
    try:
        image = decode_image(content)
    except InputError:
        return _blank_tile()
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    return cv2.resize(image, (_TILE, _TILE), interpolation=cv2.INTER_AREA)


def _blank_tile() -> np.ndarray:
    return np.full((_TILE, _TILE, 3), 128, np.uint8)


def sheet(title: str, modalities: Sequence[str], strips: Mapping[str, bytes]) -> np.ndarray:
    """Returns a class's sheet `(H, W, 3)` uint8 (blue, green, red).

    Args:
        title: the headline.
        modalities: of the rows of each strip, from above.
        strips: caption → `strip` of a video.
    """
    width = _TILE * _FRAMES
    parts = [_text(title, width), _text(f"rows: {', '.join(modalities)}", width)]
    for caption, content in strips.items():
        parts.append(_text(caption, width))
        if content:
            parts.append(decode_image(content))
    return np.vstack(parts)


def _text(text: str, width: int) -> np.ndarray:
    line = np.full((_LINE, width, 3), 255, np.uint8)
    drawable = text.encode("ascii", "replace").decode()  # OpenCV's fonts know no other letters
    return cv2.putText(line, drawable, (4, _LINE - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)


def file_name(label: int, class_name: str) -> str:
    """Returns e.g. `003_walk_around.png`."""
    readable = re.sub(r"[^\w-]+", "_", class_name).strip("_")
    return f"{label:03d}_{readable}.png"
