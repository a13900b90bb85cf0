"""MP4 and QuickTime files: what their boxes say of the video track, which OpenCV does not tell.

ISO/IEC 14496-12. A cut without re-encoding is an edit list: all frames are declared and still there, but only some are
shown. A phone that is held upright turns the picture by a matrix.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.video.opening import naming, open_file
from dmcl_tf.errors import InputError

_LARGEST = 2**28  # bytes of the box "moov"; that of a hundred thousand frames has some megabytes
_CONTAINERS = (b"mdia", b"minf", b"stbl", b"edts")
# (a, b, c, d) of the matrix → EXIF's number: x' = a·x + c·y, y' = b·x + d·y, with y pointing down
_ORIENTATIONS = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


class Movie(NamedTuple):
    """The first video track of a file.

    Attributes:
        codec: its four letters, such as avc1 or av01.
        orientation: EXIF's number 1 … 8 for how decoded frames must be turned.
        shown: frames that its edit list shows; None where fragments hold them.
    """

    codec: str
    orientation: int
    shown: int | None


def read_movie(path: Path) -> Movie | None:
    """Reads the boxes of a file; None where it is of another kind, or has no video track that can be understood.

    Raises:
        InputError: it cannot be opened.
    """
    with open_file(path) as file, naming(path):
        position = 0
        while True:
            file.seek(position)
            head = file.read(16)
            if len(head) < 8 or not head[4:8].isascii():
                return None
            size, kind = struct.unpack_from(">I4s", head)
            offset = 8
            if size == 1 and len(head) == 16:
                size, offset = struct.unpack_from(">Q", head, 8)[0], 16
            if kind == b"moov":
                break
            if size < offset:  # 0: to the end of the file
                return None
            position += size
        if not offset < size < _LARGEST:
            return None
        file.seek(position + offset)
        content = file.read(size - offset)
    try:
        return _movie(content)
    except (struct.error, IndexError, KeyError, ValueError, ZeroDivisionError, MemoryError):
        return None


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        offset = 8
        if size == 1:
            size, offset = struct.unpack_from(">Q", content, position + 8)[0], 16
        size = size or len(content) - position
        if size < offset:
            return
        yield kind, content[position + offset : position + size]
        position += size


def _flat(content: bytes) -> dict[bytes, bytes]:
    """The boxes of a track by name, those of the containers inside it included."""
    found: dict[bytes, bytes] = {}
    for kind, inner in _boxes(content):
        # the first of a name counts: QuickTime has a second "hdlr", of how the data are stored
        found = {**(_flat(inner) if kind in _CONTAINERS else {kind: inner}), **found}
    return found


def _movie(content: bytes) -> Movie | None:
    header = _versioned(next(inner for kind, inner in _boxes(content) if kind == b"mvhd"))
    time_scale, whole = header.scale, header.matrix
    for kind, inner in _boxes(content):
        track = _flat(inner) if kind == b"trak" else {}
        if track.get(b"hdlr", b"")[8:12] == b"vide":
            matrix = _versioned(track[b"tkhd"], is_track=True).matrix @ whole
            a, b, c, d = (int(value) for value in np.sign(matrix).ravel())
            codec = track[b"stsd"][12:16].decode("latin-1")
            return Movie(codec, _ORIENTATIONS.get((a, b, c, d), 1), _shown(track, time_scale))
    return None


class _Header(NamedTuple):
    scale: int  # units of a second; of no meaning for a track
    matrix: np.ndarray  # (2, 2)


def _versioned(box: bytes, *, is_track: bool = False) -> _Header:
    """The header of the movie or of a track, whose fields are longer in version 1."""
    longer = box[0] == 1
    scale = struct.unpack_from(">I", box, 20 if longer else 12)[0]
    start = (52 if longer else 40) if is_track else (48 if longer else 36)
    a, b, _, c, d = struct.unpack_from(">5i", box, start)
    return _Header(scale, np.rint(np.array([[a, b], [c, d]]) / 65536))


def _shown(track: dict[bytes, bytes], movie_scale: int) -> int | None:
    """How many frames lie within the track's edits."""
    count = struct.unpack_from(">I", track[b"stsz"], 8)[0] if b"stsz" in track else 0
    if not count:
        return None
    starts = np.cumsum(np.concatenate([[0], _runs(track[b"stts"])[:-1]]))[:count]
    if len(starts) < count:
        raise ValueError("times are missing")
    if b"ctts" in track:
        starts = starts + _runs(track[b"ctts"])[:count]
    edits = list(_edits(track[b"elst"])) if b"elst" in track else []
    if not any(start >= 0 for _, start in edits):
        return count
    media = track[b"mdhd"]
    scale = struct.unpack_from(">I", media, 20 if media[0] == 1 else 12)[0]
    shown = 0
    for duration, start in edits:
        if start >= 0:  # -1: nothing is shown for a while
            end = start + duration * scale / movie_scale if duration else np.inf
            shown += int(np.count_nonzero((starts >= start) & (starts < end)))
    return shown


def _runs(box: bytes) -> np.ndarray:
    """The value of each frame, from a table of (how many frames, value)."""
    count = struct.unpack_from(">I", box, 4)[0]
    table = np.frombuffer(box, ">i4", 2 * count, 8).reshape(-1, 2).astype(np.int64)
    if table[:, 0].min(initial=0) < 0 or table[:, 0].sum() > _LARGEST // 8:
        raise ValueError("more frames than a file has")
    return np.repeat(table[:, 1], table[:, 0])


def _edits(box: bytes) -> Iterator[tuple[int, int]]:
    """Duration, in units of the movie, and start, in units of the track, of each edit."""
    layout = ">QqI" if box[0] == 1 else ">IiI"
    for index in range(struct.unpack_from(">I", box, 4)[0]):
        yield struct.unpack_from(layout, box, 8 + index * struct.calcsize(layout))[:2]


def check_no_playlist(head: bytes) -> None:
    """Raises `InputError` for a text that would have the decoder open other files or addresses."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"#EXT", b"ffconcat", b"<?xml", b"<MPD", b"<smil", b"v=0", b"[playlist]")):
        raise InputError("a playlist, which names other files; expected a video file")
    if head.startswith(
        b"ID3"
    ):  # a decoder looks behind the tag, where a playlist may be; no container of video has one
        raise InputError("it begins with the tag of a piece of music; expected a video file")
