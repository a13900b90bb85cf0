"""The modalities of one video, frame by frame: element i of each shows the same moment.

Streams of different length are aligned on the shortest, as cameras that start together stop one frame apart. What
differs by more than a tolerance is no such case, and the video cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from data_prep.video.base import Frame, Source
from data_prep.video.opening import DEFAULT_LIMITS, Limits, shown
from dmcl_tf.errors import InputError


class AlignedReader:
    """Iterates over the moments of a video, each `{modality: Frame}`, decoding all modalities side by side.

    A moment of which one modality cannot be read is left out of all. Iterating ends with an `InputError` where the
    video cannot be used; only then are `lengths` and `warnings` complete.

    Args:
        sources: of each modality.
        tolerance: see `allowed_difference`.
        limits: of each source.

    Attributes:
        lengths: frames of each modality, those that cannot be read included.
        warnings: what was left out, in a line each.
    """

    def __init__(self, sources: Mapping[str, Source], tolerance: float, limits: Limits = DEFAULT_LIMITS):
        self._sources, self._tolerance, self._limits = sources, tolerance, limits
        self.lengths = dict.fromkeys(sources, 0)
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[dict[str, Frame]]:
        """Yields the moments.

        Raises:
            InputError: a source cannot be opened, gives fewer frames than it has, or another number than the
                others, by more than the tolerance; or no moment is left.
        """
        streams = {modality: source.frames(self._limits) for modality, source in self._sources.items()}
        read = 0
        while True:
            frames = {modality: next(stream, None) for modality, stream in streams.items()}
            for modality, frame in frames.items():
                self.lengths[modality] += frame is not None
            if all(frame is None for frame in frames.values()):
                break
            if any(frame is None for frame in frames.values()):
                continue  # beyond the shortest stream: the others are only counted
            errors = [frame for frame in frames.values() if isinstance(frame, InputError)]
            if errors:
                self.warnings.append(f"{errors[0]}; its frame is left out")
                continue
            read += 1
            yield {modality: frame for modality, frame in frames.items() if isinstance(frame, Frame)}
        if not read:
            first = f"; the first: {self.warnings[0]}" if self.warnings else ""
            raise InputError(f"no frame can be read{first}")
        self._compare_with_declared()
        self._compare_with_each_other()

    def _compare_with_declared(self) -> None:
        for modality, source in self._sources.items():
            found = self.lengths[modality]
            lacking = source.lacking(found)
            if not lacking:
                continue
            counts = f"{shown(source.files[0])}: {found} frames can be decoded, but the file declares {found + lacking}"
            if lacking > allowed_difference(found + lacking, self._tolerance):
                raise InputError(f"{counts}; copy it again, or raise --length_tolerance")
            self.warnings.append(counts)

    def _compare_with_each_other(self) -> None:
        shortest, longest = min(self.lengths.values()), max(self.lengths.values())
        if shortest == longest:
            return
        counts = ", ".join(f"{modality} {length}" for modality, length in self.lengths.items())
        if longest - shortest > allowed_difference(longest, self._tolerance):
            raise InputError(
                f"the modalities differ in their number of frames ({counts}) by more than --length_tolerance="
                f"{self._tolerance:g}; copy the video again, or raise it"
            )
        self.warnings.append(
            f"the modalities differ in their number of frames ({counts}): aligned on the first {shortest}"
        )


def allowed_difference(length: int, tolerance: float) -> int:
    """Frames by which two lengths may differ.

    Args:
        length: the greater of the two.
        tolerance: 1 or more: frames; less: a share of the length, one frame at least unless it is 0.
    """
    if tolerance >= 1:
        return int(tolerance)
    return max(1, int(tolerance * length)) if tolerance > 0 else 0
