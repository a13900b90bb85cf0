"""Video files, decoded by OpenCV's FFmpeg: every frame once, upright, and of as many bits as it has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from data_prep.video.base import Frame
from data_prep.video.frames import quietly, upright
from data_prep.video.isomedia import check_no_playlist, read_movie
from data_prep.video.matroska import read_orientation
from data_prep.video.opening import AGAIN, DEFAULT_LIMITS, Limits, check_file, naming, open_file, shown
from dmcl_tf.errors import InputError

_VIDEO_THREADS = 1  # videos are decoded in parallel processes
_PACKETS = -1  # OpenCV's format for data that are not decoded
_HEAD = 4096
_MISSING = {"av01": "AV1", "vvc1": "VVC", "vvi1": "VVC", "evc1": "EVC", "aprn": "ProRes RAW", "aprh": "ProRes RAW"}
TO_GREY = "ffmpeg -i IN -c:v ffv1 -pix_fmt gray16le OUT.mkv"
_CONVERT = "convert it with ffmpeg -i IN -c:v libx264 -crf 12 OUT.mp4"

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a damaged video gets one line, not the decoder's many


@dataclass(frozen=True)
class VideoFile:
    """A video that OpenCV can decode."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The video."""
        return (self.path,)

    def frames(self, limits: Limits = DEFAULT_LIMITS) -> Iterator[Frame]:
        """Decodes one frame after the other until the decoder gives no more."""
        movie, where, count = read_movie(self.path), shown(self.path), 0
        with self._open() as capture, naming(self.path):
            limits.check_image(
                *(int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
            )
            turn = movie.orientation if movie else read_orientation(self.path)
            bits = self._keep_bits(capture)
            while True:
                decoded, image = capture.read()
                if not decoded:
                    break
                limits.check_frames(count + 1)
                yield Frame(f"{where}, frame {count}", upright(image, turn), bits)
                count += 1
            if not count:
                raise InputError(self._undecodable(capture))

    def declared_length(self) -> int | None:
        """The number of frames that the container shows; of some kinds its own estimate from duration and rate."""
        movie = read_movie(self.path)
        if movie and movie.shown is not None:
            return movie.shown
        with self._open() as capture:
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return count if count > 0 else None

    def frame_rate(self) -> float | None:
        """Frames per second by the container; None where it does not say so.

        Raises:
            InputError: the file cannot be opened.
        """
        with self._open() as capture:
            rate = capture.get(cv2.CAP_PROP_FPS)
        return rate if 0 < rate < 1000 else None

    def lacking(self, found: int) -> int:
        """Frames that the file has and that were not decoded, or that lie between where it breaks off and its end.

        A container that counts frames without showing them, or estimates how many there are, lacks nothing as long as
        its last frame lies at its end.
        """
        declared = self.declared_length()
        if declared is None or found >= declared:
            return 0
        movie = read_movie(self.path)
        if movie and movie.shown is not None:
            return declared - found
        slack = 1 if check_file(self.path, 4) == b"RIFF" else 3  # AVI counts its frames; others say when they end
        packets, end = 0, 0.0
        with self._open(cv2.CAP_PROP_FORMAT, _PACKETS) as capture:
            rate = capture.get(cv2.CAP_PROP_FPS) or 1.0
            while capture.grab():
                packets += 1
                end = max(end, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        reaches_end = round(end * rate) + slack >= declared
        return min(packets - found, declared - found) if reaches_end else declared - found

    @property
    def estimates_length(self) -> bool:
        """Whether the declared length is made of rate and duration: only AVI and MP4 count their frames."""
        try:
            movie = read_movie(self.path)
            return not check_file(self.path, 4).startswith(b"RIFF") and (movie is None or movie.shown is None)
        except InputError:
            return True

    def problems(self) -> Iterator[str]:
        """Opens the container."""
        try:
            with self._open() as capture, naming(self.path):
                self._keep_bits(capture)
        except InputError as error:
            yield str(error)

    @contextmanager
    def _open(self, *options: int) -> Iterator[cv2.VideoCapture]:
        head = check_file(self.path, _HEAD)
        # an absolute path, as "a:b.avi" would be taken for a protocol; named, as other backends read "%d" in names
        location = str(self.path.absolute())
        if shown(location) != location:
            raise InputError(f"{shown(self.path)}: OpenCV opens no file of such a name; rename it in plain letters")
        with naming(self.path):
            check_no_playlist(head)
            with quietly():
                settings = [cv2.CAP_PROP_N_THREADS, _VIDEO_THREADS, *options]
                capture = cv2.VideoCapture(location, cv2.CAP_FFMPEG, settings)
            try:
                if not capture.isOpened():
                    raise InputError(self._undecodable(None))
                yield capture
            finally:
                capture.release()

    def _undecodable(self, capture: cv2.VideoCapture | None) -> str:
        """Why a video gives no frame: it is damaged, or OpenCV lacks the decoder for a sound file."""
        codec = _codec(self.path)
        if codec.lower() in _MISSING:
            name = _MISSING[codec.lower()]
            return f"the file may be sound, but OpenCV has no decoder for its codec {codec} ({name}): {_CONVERT}"
        if capture is None:
            return f"not a video that can be decoded; {AGAIN}"
        return f"no frame can be decoded; {AGAIN}"

    @staticmethod
    def _keep_bits(capture: cv2.VideoCapture) -> int:
        """Lets grey frames arrive as they are: OpenCV would make eight bits of them.

        Returns:
            How many bits a channel of a colour video has, where OpenCV cuts them to eight; else 0.

        Raises:
            InputError: it cannot give that many bits of a grey video.
        """
        pixels = int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFFFFFF
        letters = pixels.to_bytes(4, "little")
        kind, bits = _channels(letters)
        if letters in (b"Y800", b"Y1\x00\x10"):
            with quietly():
                capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
            return 0
        if kind == b"Y1" and bits > 8:
            scaled = "" if bits == 16 else f", which multiplies its values by {2 ** (16 - bits)}"
            raise InputError(
                f"grey video of {bits} bits in a form of which OpenCV gives 8: convert it with {TO_GREY}{scaled}"
            )
        return bits if bits > 8 else 0


def _channels(letters: bytes) -> tuple[bytes, int]:
    """Kind and bits of a pixel format by FFmpeg's four letters for it, such as Y1 or G3, a zero, and the bits."""
    if letters in (b"RGB0", b"BGR0", b"RBA@", b"BRA@"):  # 48 and 64 bits a pixel, by their characters
        return letters[:2], 16
    for ordered in (letters, letters[::-1]):  # the second where the most significant byte is first
        if re.match(rb"[YG][1-4]", ordered) and ordered[3] <= 32:
            return ordered[:2], ordered[3]
    return b"", 8


def _codec(path: Path) -> str:
    """The four letters of a video's codec; empty where they are not found."""
    movie = read_movie(path)
    if movie:
        return movie.codec
    with open_file(path) as file, naming(path):
        head = file.read(2**20)
    matroska = re.search(rb"\x86.(V_[A-Z0-9/_]+)", head, re.DOTALL) if head.startswith(b"\x1a\x45\xdf\xa3") else None
    if matroska:
        return {b"V_AV1": "av01"}.get(matroska[1], matroska[1].decode())
    avi = re.search(rb"strh....vids(.{4})", head, re.DOTALL) if head.startswith(b"RIFF") else None
    return avi[1].decode("latin-1") if avi else ""
