"""Optical flow that comes with a data set, as images: it is taken as it is, once it has been counted and checked.

Flow lies between frames, so that N frames have N - 1 flow images; some tools write N. Either is accepted, and the last
image is repeated where one is lacking, as for computed flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_prep.video.base import Frame, Source
from data_prep.video.opening import DEFAULT_LIMITS, Limits, shown
from data_prep.video.videos import VideoFile
from dmcl_tf.errors import InputError


@dataclass(frozen=True)
class GivenFlow:
    """The flow images of one video as a `Source`.

    Attributes:
        source: the images.
        repeat_last: whether the last one stands for two frames.
    """

    source: Source
    repeat_last: bool

    @property
    def files(self) -> tuple[Path, ...]:
        """The raw files."""
        return self.source.files

    def frames(self, limits: Limits = DEFAULT_LIMITS) -> Iterator[Frame | InputError]:
        """Yields every image, or in its place why it is no flow image like the first one."""
        shape, last = None, None
        for frame in self.source.frames(limits):
            if not isinstance(frame, InputError):
                shape = shape or frame.image.shape
                frame = self._check(frame, shape)
            last = frame
            yield frame
        if self.repeat_last and last is not None:
            yield last

    def declared_length(self) -> int | None:
        """The number of images, the repeated one included."""
        length = self.source.declared_length()
        return None if length is None else length + self.repeat_last

    def lacking(self, found: int) -> int:
        """Images that the file should have given as well."""
        return self.source.lacking(found - self.repeat_last)

    def problems(self) -> Iterator[str]:
        """Problems of the raw files."""
        return self.source.problems()

    @staticmethod
    def _check(frame: Frame, shape: tuple[int, ...]) -> Frame | InputError:
        if frame.image.ndim != 3:
            return InputError(f"{frame.where}: a grey image; flow images have three channels, such as u, v, magnitude")
        if frame.image.shape != shape:
            sizes = (f"{width}×{height}" for height, width, _ in (frame.image.shape, shape))
            return InputError(f"{frame.where}: of {' pixels, but the first flow image is of '.join(sizes)}")
        return frame


def is_estimated(source: Source) -> bool:
    """Whether the declared length of a source is a rough one, which only reading can tell."""
    return isinstance(source, VideoFile) and source.estimates_length


def accept_given_flow(sources: Mapping[str, Source]) -> dict[str, Source]:
    """Returns the sources of a video with its `flow`, if it has one, as `GivenFlow`.

    Raises:
        InputError: there are neither as many flow images as frames nor one fewer.
    """
    if "flow" not in sources or len(sources) == 1:
        return dict(sources)
    flow = sources["flow"]
    count = flow.declared_length()
    name, frames = min(
        ((name, source.declared_length()) for name, source in sources.items() if name != "flow"),
        key=lambda entry: float("inf") if entry[1] is None else entry[1],
    )
    estimated = is_estimated(flow) or is_estimated(sources[name])
    if count is None or frames is None or (estimated and count not in (frames, frames - 1)):
        # containers say no number of frames, or a rough one: the lengths are compared when they are read
        return {**sources, "flow": GivenFlow(flow, repeat_last=False)}
    if count not in (frames, frames - 1):
        raise InputError(
            f"{shown(flow.files[0].parent)}: {count} flow images for {frames} frames of {name}; expected as many, or "
            "one fewer"
        )
    return {**sources, "flow": GivenFlow(flow, repeat_last=count == frames - 1)}
