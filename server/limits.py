"""What a request may ask for, and how it is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

from data_prep.video.opening import Limits
from dmcl_tf.errors import InputError, printable

_HIGHEST_RATE = 120  # frames per second, as a file may claim any


class Refused(Exception):
    """A request that is not served.

    Args:
        status: of HTTP, 4xx or 503.
        message: what is wrong, what was expected, and what to do, in one line.
    """

    def __init__(self, status: int, message: str):
        super().__init__(printable(message))
        self.status = status


@dataclass(frozen=True)
class ServerLimits:
    """What a request may ask for.

    Attributes:
        upload_bytes: of its body.
        duration: of a video, in seconds.
        pixels: of one frame.
        requests: that are served or wait at once.
        seconds: from its first byte to its answer.
        memory: bytes that resizing the clips of a prediction may take.
    """

    upload_bytes: int = 200 * 10**6
    duration: float = 120.0
    pixels: int = 4096 * 2304
    requests: int = 32
    seconds: float = 60.0
    memory: int = 2**30

    def check_clips(self, shape: tuple[int, ...], crop: int) -> None:
        """Raises `Refused` for clips (N, T, H, W, 3) that take too much memory to resize to a side of `crop` pixels."""
        count, height, width = math.prod(shape[:-3]), *shape[-3:-1]
        # in floats: frames as they are, resized down, and across, and the matrices that do it
        floats = count * (3 * height * width + 6 * crop * width + 9 * crop * crop + crop * height) + crop * width
        if 4 * floats > self.memory:
            raise Refused(
                413,
                f"{count} frames of {height}×{width} pixels take {4 * floats / 1e6:.0f} MB; expected "
                f"{self.memory / 1e6:.0f} at most: send fewer clips at a time, or smaller frames",
            )


class TooMuch(InputError):
    """A video asks for more than the limits allow."""


@dataclass(frozen=True)
class RequestLimits(Limits):
    """The limits of reading raw files, in the words of a server.

    Attributes:
        duration: of a video, in seconds.
    """

    duration: float = 0.0

    @classmethod
    def of(cls, limits: ServerLimits, rate: float) -> RequestLimits:
        """The limits of a video of so many frames per second."""
        frames = math.ceil(limits.duration * min(rate, _HIGHEST_RATE))
        return cls(pixels=limits.pixels, frames=frames, duration=limits.duration)

    def check_image(self, width: int, height: int) -> None:
        """Raises `TooMuch` for a frame that is too large."""
        if width * height > self.pixels:
            raise TooMuch(f"its frames are of {width}×{height} pixels; expected {self.pixels:,} at most: scale it down")

    def check_frames(self, count: int) -> None:
        """Raises `TooMuch` for a video that is too long."""
        if count > self.frames:
            raise TooMuch(f"it is longer than {self.duration:g} seconds ({self.frames:,} frames): cut it")
