"""One raw video → its record, the whole way: raw files, aligned and resized frames, optical flow, JPEGs, bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Optional, Union

import cv2
import numpy as np

from data_prep.flow.algorithms import ALGORITHMS, compute_flow
from data_prep.flow.encoding import bound_in_pixels, encode_flow
from data_prep.flow.settings import FlowSettings, GivenFlowSettings
from data_prep.raw.base import RawVideo, Skipped
from data_prep.video.alignment import AlignedReader
from data_prep.video.base import Frame, Source
from data_prep.video.crop import Box, Crop, cut, find_boxes
from data_prep.video.depth import WIDE_COLOR, DepthSettings, encode_depth, reading_range
from data_prep.video.fingerprint import fingerprint
from data_prep.video.frames import BLANK, encode_jpeg, is_blank, resize
from data_prep.video.given_flow import accept_given_flow
from data_prep.video.opening import Limits, shown
from data_prep.video.skeletons import DRAWN, SKELETON
from data_prep.video.videos import TO_GREY
from dmcl_tf.data.records import (
    MINIMUM_FRAMES,
    About,
    encode_video,
    read_about,
    record_path,
    write_record,
)
from dmcl_tf.data.table import Video
from dmcl_tf.errors import InputError, is_disk_full, is_wrong_place

FLOW = "flow"  # the modality that can be computed


@dataclass(frozen=True)
class VideoSettings:
    """How the record of a video is made: all that shapes it beside its raw files, and the limits of these.

    Attributes:
        modalities: what the record holds.
        size: height and width of every frame in pixels.
        jpeg_quality: 1 … 100.
        depth: how distances become 8 bits.
        depth_modalities: the modalities that hold distances.
        length_tolerance: by how much the modalities may differ in length, see `alignment.allowed_difference`.
        flow: how flow is computed, or that it is given; None without flow.
        crop: how frames are cut to the person; None leaves them whole.
        limits: what one raw file may ask for.
        root: the folder of the raw files, which warnings leave out, so that a record does not depend on where it is.
    """

    modalities: tuple[str, ...]
    size: int
    jpeg_quality: int = 95
    depth: DepthSettings = field(default_factory=DepthSettings)
    depth_modalities: tuple[str, ...] = ("depth",)
    length_tolerance: float = 0.1
    flow: Optional[Union[FlowSettings, GivenFlowSettings]] = None
    crop: Optional[Crop] = None
    limits: Limits = field(default_factory=Limits)
    root: Optional[Path] = None

    @property
    def computed_flow(self) -> FlowSettings | None:
        """How flow is computed; None where it is given or not asked for."""
        return self.flow if isinstance(self.flow, FlowSettings) else None

    @property
    def recorded(self) -> tuple[str, ...]:
        """The modalities whose raw files are read."""
        recorded = [modality for modality in self.modalities if not (modality == FLOW and self.computed_flow)]
        recorded += [self.computed_flow.source] if self.computed_flow else []
        recorded += [self.crop.found_in] if self.crop and set(recorded) - {SKELETON} else []
        return tuple(dict.fromkeys(recorded))

    def sources(self, video: RawVideo) -> dict[str, Source]:
        """The sources of a video that its record is made from.

        Raises:
            InputError: a modality is not recorded.
        """
        missing = next((modality for modality in self.recorded if modality not in video.sources), None)
        if missing:
            ways = ["--crop out"] if self.crop and self.crop.found_in == missing else []
            if missing in self.modalities or not ways:
                ways.append(f"{missing if missing in self.modalities else FLOW} out with --modalities")
            raise InputError(
                f"{video.video_id}: it has no {missing}, only {', '.join(video.sources)}; complete the raw files, "
                f"or leave {' and '.join(ways)}"
            )
        return {modality: video.sources[modality] for modality in self.recorded}

    def relative(self, text: str) -> str:
        """A text in which files are named relative to the folder of the raw files."""
        if self.root is None or set(self.root.parts) <= {".."}:  # whose names are short as they are
            return text
        begin = r"(?<![^\s:('\"])" if self.root.is_absolute() else r"(?:^|(?<=: )|(?<=\()|(?<=')|(?<=, )|(?<= and ))"
        return re.sub(begin + re.escape(shown(self.root)) + "/", "", text)

    @cached_property
    def description(self) -> dict[str, Any]:
        """All that shapes a record, as the attributes of `dmcl_tf.data.table.Description` and JSON values."""
        distances = [modality for modality in self.recorded if modality in self.depth_modalities]
        flow: dict[str, object] | None = asdict(self.flow) if self.flow else None
        if flow and self.computed_flow:
            flow["bound_in_pixels"] = bound_in_pixels(self.computed_flow.bound, self.size, self.size)
        return {
            "modalities": self.modalities,
            "frame_size": self.size,
            "jpeg_quality": self.jpeg_quality,
            "depth": {"modalities": distances, **self.depth.to_json()} if distances else None,
            "flow": flow,
            "crop": asdict(self.crop) if self.crop else None,
            "settings": {
                "interpolation": "area",
                "length_tolerance": self.length_tolerance,
                **({SKELETON: DRAWN} if SKELETON in self.recorded else {}),
            },
        }


def make_record(video: RawVideo, *, settings: VideoSettings, directory: Path) -> Video | Skipped:
    """Writes the record of a video, unless it is there, made from the same raw files with the same settings.

    Whatever is wrong with the raw video, the others go on: only a full or protected disk is raised.

    Returns:
        Its line in the table of videos, or why there is none.
    """
    try:
        path = record_path(directory, video.video_id)
        current = fingerprint(settings.sources(video), settings.description)
        row = _read_row(video, path, current)
        if row is None:
            write_record(path, record_video(video, settings, current))
            row = _read_row(video, path, current)
        return row or Skipped(video.video_id, f"{path} was changed while it was written")
    except Exception as error:
        here = str(directory) in str(getattr(error, "filename", ""))
        if is_disk_full(error) or (is_wrong_place(error) and here):
            raise
        return Skipped(video.video_id, reason_of(error))


def _read_row(video: RawVideo, path: Path, current: str) -> Video | None:
    """The line of a video whose record is complete; None where it has to be made."""
    try:
        about, checksum = read_about(path)
    except InputError:
        return None
    if (about.video_id, about.fingerprint) != (video.video_id, current):
        return None
    return Video(
        video_id=video.video_id,
        label=video.label,
        frames=about.frames,
        length=about.length,
        bytes=path.stat().st_size,
        checksum=checksum,
        fingerprint=current,
        grey=" ".join(about.grey),
        warnings=" | ".join(about.warnings),
        attributes=video.attributes,
    )


def reason_of(error: Exception) -> str:
    """Why a video cannot be used, in one line."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"it does not fit into memory ({str(error) or 'MemoryError'})"
    text = " ".join(str(error).split())
    return f"it cannot be read ({type(error).__name__}{': ' * bool(text)}{text})"


def record_video(video: RawVideo, settings: VideoSettings, current: str = "") -> bytes:
    """Returns a raw video as a serialized `SequenceExample`, a pure function of its files and the settings.

    Args:
        video: with its sources.
        settings: all that shapes the record.
        current: the fingerprint that the record shall hold.

    Raises:
        InputError: the video cannot be used.
    """
    frames, warnings, grey = make_frames(video, settings)
    count = len(next(iter(frames.values())))
    length = max(count, MINIMUM_FRAMES)
    padded = {modality: [*images, *images[-1:] * (length - count)] for modality, images in frames.items()}
    about = About(video.video_id, count, length, settings.size, settings.size, current, tuple(warnings), tuple(grey))
    return encode_video(about, padded)


def make_frames(video: RawVideo, settings: VideoSettings) -> tuple[dict[str, list[bytes]], list[str], list[str]]:
    """The JPEGs of a video by modality, one for each moment; what is peculiar about it, a line each; what is grey.

    Flow is computed from the resized frames themselves, before they become JPEGs.

    Raises:
        InputError: the video cannot be used.
    """
    sources = accept_given_flow(settings.sources(video))
    reader = AlignedReader(sources, settings.length_tolerance, settings.limits)
    encoders = make_encoders(sources, settings)
    frames: dict[str, list[bytes]] = {modality: [] for modality in settings.modalities}

    def images() -> Iterator[dict[str, np.ndarray]]:
        for moment in reader:
            resized = {modality: encoders[modality](frame) for modality, frame in moment.items()}
            for modality, image in resized.items():
                if modality in frames:
                    # halved chroma would blur channels that are independent: u and v, or views of a skeleton
                    full = modality in (FLOW, SKELETON)
                    frames[modality].append(encode_jpeg(image, settings.jpeg_quality, full_chroma=full))
            yield resized

    computed, count = settings.computed_flow, 0
    if computed:
        frames[FLOW] = list(flow_images((image[computed.source] for image in images()), computed))
        count = len(frames[FLOW])
    else:
        for _ in images():
            count += 1
    warnings = [settings.relative(line) for line in (*reader.warnings, *peculiarities(count, encoders))]
    return frames, warnings, [modality for modality in frames if modality in encoders and encoders[modality].is_grey]


def flow_images(images: Iterable[np.ndarray], settings: FlowSettings) -> Iterator[bytes]:
    """Yields the flow of a video as JPEGs, as many as frames, the last one repeated.

    Args:
        images: frames `(H, W)` or `(H, W, 3)` uint8 (blue, green, red) of one size.
        settings: how it is computed and stored.
    """
    grey = (image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images)
    for flow in compute_flow(grey, ALGORITHMS[settings.algorithm].make(settings.parameters)):
        bound = bound_in_pixels(settings.bound, *flow.shape[:2])
        blue_green_red = np.ascontiguousarray(encode_flow(flow, bound, settings.encoding)[..., ::-1])
        yield encode_jpeg(blue_green_red, settings.quality, full_chroma=True)


def make_encoders(sources: Mapping[str, Source], settings: VideoSettings) -> dict[str, FrameEncoder]:
    """The encoder of each modality of one video.

    Raises:
        InputError: its frames shall be cut to the person, who is not found.
    """
    boxes = find_boxes(sources, settings.crop, settings.limits) if settings.crop else {}
    return {name: FrameEncoder(name, source, settings, boxes.get(name)) for name, source in sources.items()}


class FrameEncoder:
    """Brings the frames of one modality of one video to 8 bits and to their size, cut to a box where there is one.

    Attributes:
        is_blank: whether every frame so far was of one colour.
        is_grey: whether every frame so far had one channel.
    """

    def __init__(self, modality: str, source: Source, settings: VideoSettings, box: Box | None = None):
        self._settings, self._box = settings, box
        self._is_depth = modality in settings.depth_modalities
        self.is_blank = self.is_grey = True
        self._clip_range: tuple[float, float] | None = None
        if self._is_depth and settings.depth.mode == "per_clip":
            frames = (frame for frame in source.frames(settings.limits) if isinstance(frame, Frame))
            self._clip_range = reading_range(frame.image for frame in frames)

    def __call__(self, frame: Frame) -> np.ndarray:
        """Returns the image of a frame, `(size, size)` or `(size, size, 3)` uint8.

        Raises:
            InputError: it is no 8-bit image, and no depth image that the mode takes.
        """
        size, whole = self._settings.size, frame.image
        pixels = cut(whole, self._box, self._settings.crop.margin) if self._box and self._settings.crop else whole
        try:
            if self._is_depth and frame.bits:
                raise InputError(
                    f"colour video of {frame.bits} bits, of which OpenCV gives 8, so that distances would be cut off: "
                    f"convert it with {TO_GREY}"
                )
            if self._is_depth:
                image = encode_depth(pixels, size, self._settings.depth, self._clip_range)
            elif pixels.dtype == np.uint8:
                image = resize(pixels, size)
            else:
                raise InputError(
                    WIDE_COLOR
                    if pixels.ndim == 3
                    else "more than 8 bits per pixel: where these are distances, name the modality in "
                    "--depth_modalities when the records are made; convert them to 8 bits else"
                )
        except InputError as error:
            raise InputError(f"{frame.where}: {error}") from None
        self.is_blank = self.is_blank and is_blank(image)
        self.is_grey = self.is_grey and image.ndim == 2
        return image


def peculiarities(count: int, encoders: Mapping[str, FrameEncoder]) -> list[str]:
    """Warnings about a video of `count` frames that can be read and still is not what it should be."""
    warnings = [f"{modality} is {BLANK}" for modality, encoder in encoders.items() if encoder.is_blank]
    return warnings + (["it has one frame only, and so no motion"] if count == 1 else [])
