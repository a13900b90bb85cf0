"""What every kind of raw video gives: one decoded frame after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from data_prep.video.opening import DEFAULT_LIMITS, Limits
from dmcl_tf.errors import InputError


class Frame(NamedTuple):
    """One decoded image.

    Attributes:
        where: file, and place in it, that it is from.
        image: `(H, W)`, or `(H, W, 3)` in the order blue, green, red.
        bits: of each channel in the file, where decoding left fewer; 0 elsewhere.
    """

    where: str
    image: np.ndarray
    bits: int = 0


class Source(Protocol):
    """The frames of one modality of one video, in temporal order.

    Memory is bounded by a few frames, however long the video is.
    """

    @property
    def files(self) -> tuple[Path, ...]:
        """The raw files; they may be missing."""

    def frames(self, limits: Limits = DEFAULT_LIMITS) -> Iterator[Frame | InputError]:
        """Yields every frame, or in its place why that one cannot be read.

        Raises:
            InputError: nothing can be read, or more than the limits allow.
        """

    def declared_length(self) -> int | None:
        """The number of frames that there should be, known without decoding any; None where nothing says so.

        Raises:
            InputError: the file cannot be opened.
        """

    def lacking(self, found: int) -> int:
        """How many more frames the file should have given than the `found` ones, at least; 0 where it is whole."""

    def problems(self) -> Iterator[str]:
        """Yields a line for each file that is unusable by its size and first bytes alone; decodes nothing."""


class SingleFile:
    """What sources have in common whose one file is read whole or not at all: they say their length, and lack nothing.

    Attributes:
        path: of the file.
    """

    path: Path

    def declared_length(self) -> int:
        """The number of frames, by the header."""
        raise NotImplementedError

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    def lacking(self, found: int) -> int:
        """Nothing."""
        return 0

    def problems(self) -> Iterator[str]:
        """Reads the header."""
        try:
            self.declared_length()
        except InputError as error:
            yield str(error)
