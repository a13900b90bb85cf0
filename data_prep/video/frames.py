"""One image: read it strictly, resize it, encode it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from data_prep.video.headers import image_kind, read_header
from data_prep.video.opening import DEFAULT_LIMITS, Limits, naming, open_file, read_file
from dmcl_tf.errors import InputError

NUMPY = ".npy"
_AGAIN = "download it again"
_SILENT = 0  # OpenCV's level of messages
_HEAD = 16  # bytes that tell an image's format
_NOISE = 2  # levels by which decoding may change a colour
BLANK = "blank: every frame is of one colour"


def read_image(path: Path, limits: Limits = DEFAULT_LIMITS) -> np.ndarray:
    """Decodes an image file, whatever its name ends in; an array of NumPy's by its ending, `.npy`.

    Decoders fill what is missing from a cut-off file with grey and say nothing, so that is checked first.

    Returns:
        `(H, W)` where it is grey, else `(H, W, 3)` in OpenCV's order blue, green, red, turned as its EXIF data say;
        uint8, or uint16 for a PNG, TIFF or PNM of 16 bits; of an array its own type. Transparency is left out.

    Raises:
        InputError: the file is missing, unreadable, empty, cut off, larger than the limits or of another format.
    """
    if path.suffix.lower() == NUMPY:
        return read_array(path, limits)
    content = read_file(path, limits, _AGAIN)
    with naming(path, _AGAIN):
        try:
            return decode_image(content, limits)
        except InputError as error:
            raise InputError(f"{error}; {_AGAIN}") from None


def decode_image(content: bytes, limits: Limits = DEFAULT_LIMITS) -> np.ndarray:
    """As `read_image`, of a file's content; the message of its `InputError` says what is wrong, not where."""
    header = read_header(content)
    if not header.whole:
        raise InputError(f"the {header.kind} is cut off{'' if header.kind == 'JPEG' else ' or damaged'}")
    limits.check_image(header.width, header.height)
    try:
        with quietly():
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    except (cv2.error, MemoryError):
        image = None
    if image is None:
        raise InputError(f"the {header.kind} cannot be decoded")
    return upright(image, header.orientation)


@contextmanager
def quietly() -> Iterator[None]:
    """Keeps OpenCV from printing what is said here in a line, or meant."""
    level = cv2.setLogLevel(_SILENT)
    try:
        yield
    finally:
        cv2.setLogLevel(level)


def read_array(path: Path, limits: Limits) -> np.ndarray:
    """Reads one image from a NumPy file, `(H, W)` or `(H, W, 3)` in the order red, green, blue."""
    array = open_array(path)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise InputError(f"{path}: an array of the shape {array.shape}; expected height × width, or × 3")
    with naming(path):
        limits.check_image(array.shape[1], array.shape[0])
    return array_image(array)


def open_array(path: Path) -> np.ndarray:
    """Opens a NumPy file without reading its values, which must be numbers.

    Raises:
        InputError: it is none, is cut off, or holds something else.
    """
    open_file(path).close()
    with naming(path, problem="not a readable NumPy file"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
            raise InputError(f"it holds {getattr(array, 'dtype', 'several arrays')}; expected one array of numbers")
    return array


def array_image(values: np.ndarray) -> np.ndarray:
    """A copy of an image in memory and in the machine's byte order; red, green, blue become OpenCV's order."""
    image = np.array(values, values.dtype.newbyteorder("="))
    return np.ascontiguousarray(image[..., ::-1]) if image.ndim == 3 else image


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors a stored image as EXIF's number says; 1, or a number that is none, is upright already."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def check_header(path: Path) -> None:
    """Checks that a file is there and begins like an image, without decoding it; raises `InputError` if not."""
    if path.suffix.lower() == NUMPY:
        open_array(path)
        return
    with open_file(path, _AGAIN) as file, naming(path, _AGAIN):
        try:
            image_kind(file.read(_HEAD))
        except InputError as error:
            raise InputError(f"{error}; {_AGAIN}") from None


def is_blank(image: np.ndarray) -> bool:
    """Whether an image, `(H, W)` or `(H, W, 3)` of 8 bits, is of one colour and so shows nothing."""
    return int(np.ptp(image, axis=(0, 1)).max()) <= _NOISE


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
