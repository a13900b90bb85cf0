"""One raw video → a folder of aligned, resized JPEG frames with a `video.json` that says what they are."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from data_prep.raw.base import Skipped, Video
from data_prep.video.alignment import AlignedReader
from data_prep.video.depth import DepthSettings, encode_depth, reading_range
from data_prep.video.frames import encode_jpeg, resize
from data_prep.video.given_flow import accept_given_flow
from data_prep.video.sources import IMAGE_SUFFIXES, Frame, Source
from dmcl_tf.errors import InputError
from dmcl_tf.files import atomic_path, discard, is_partial, remove, write_json

MINIMUM_FRAMES = 9  # shorter videos repeat their last frame, as the authors do
_VIDEO_FILE = "video.json"
_END_BYTES = 65536
_BLANK_LEVELS = 2  # an image of no more grey levels than decoding noise shows nothing


@dataclass(frozen=True)
class FrameSettings:
    """How frames are made.

    Attributes:
        dataset: name of the family of data sets that share the frames.
        size: height and width in pixels.
        quality: JPEG quality, 1 … 100.
        interpolation: the method, for the record.
        depth: how distances become 8 bits.
        depth_modalities: the modalities that hold distances.
        length_tolerance: by how much the modalities may differ in length, see `alignment.allowed_difference`.
    """

    dataset: str
    size: int
    quality: int = 95
    interpolation: str = "area"
    depth: DepthSettings = field(default_factory=DepthSettings)
    depth_modalities: tuple[str, ...] = ("depth",)
    length_tolerance: float = 0.1

    def describe_depth(self, modalities: Iterable[str]) -> dict[str, object] | None:
        """Which of some modalities hold distances, and how these became 8 bits; None where none does."""
        distances = [modality for modality in modalities if modality in self.depth_modalities]
        return {"modalities": distances, **self.depth.to_json()} if distances else None


@dataclass(frozen=True)
class ExtractedVideo:
    """What a folder of frames holds, as its `video.json` says.

    Attributes:
        video_id: its folder's name.
        label: 0 … number of classes - 1.
        frames: moments that the raw video has, before a short one is padded.
        length: files of each modality.
        fingerprint: of the raw files, see `fingerprint`.
        warnings: what was left out or is peculiar, in a line each.
        raw_lengths: frames of each raw modality, before they were aligned.
    """

    video_id: str
    label: int
    frames: int
    length: int
    fingerprint: str
    warnings: tuple[str, ...] = ()
    raw_lengths: Mapping[str, int] = field(default_factory=dict)


def fingerprint(video: Video) -> str:
    """Returns a checksum of a video's raw files: it changes when one is downloaded again, or another takes its place.

    Of images it holds names and sizes; of video files and volumes, which may be of one size, beginning and end as well.
    """
    checksum = zlib.crc32(str(video.label).encode())
    for modality, source in sorted(video.sources.items()):
        for path in source.files:
            size = file_size(path)
            checksum = zlib.crc32(f"{modality}/{path.name}:{size}\n".encode(), checksum)
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                checksum = zlib.crc32(_both_ends(path, size), checksum)
    return f"{checksum:08x}"


def _both_ends(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(_END_BYTES)
            file.seek(max(0, size - _END_BYTES))
            return start + file.read(_END_BYTES)
    except OSError:  # extraction says what is wrong with it
        return b""


def file_size(path: Path) -> int:
    """Bytes of a file; -1 where there is none, or where it may not be seen."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1


def read_video_file(folder: Path) -> ExtractedVideo | None:
    """Reads the `video.json` of a folder of frames; None where there is none."""
    try:
        content = json.loads((folder / _VIDEO_FILE).read_text(encoding="utf-8"))
        return ExtractedVideo(**{**content, "warnings": tuple(content["warnings"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder / _VIDEO_FILE} is damaged ({error}); delete the folder {folder}") from error


def remove_frames(folder: Path) -> None:
    """Removes the frames of a video, of all modalities, and leaves what its `video.json` says."""
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        if is_partial(path):
            remove(path)
        elif path.is_dir():
            discard(path)


def extract_video(video: Video, *, frames_dir: Path, settings: FrameSettings) -> ExtractedVideo | Skipped:
    """Writes `frames_dir/<video_id>`, unless it is complete and the raw files are those it was made from.

    A folder whose frames were removed, see `remove_frames`, is made again.
    """
    folder = frames_dir / video.video_id
    current = fingerprint(video)
    existing = read_video_file(folder)
    if existing and existing.fingerprint == current and all((folder / modality).is_dir() for modality in video.sources):
        return existing
    remove(folder)
    try:
        with atomic_path(folder) as unfinished:
            result = _write_frames(video, unfinished, settings, current)
            write_json(unfinished / _VIDEO_FILE, asdict(result))
        return result
    except InputError as error:
        return Skipped(video.video_id, str(error))


def _write_frames(video: Video, folder: Path, settings: FrameSettings, current: str) -> ExtractedVideo:
    """Writes the frames into `folder/<modality>`, one moment after the other."""
    sources = accept_given_flow(video.sources)
    encoders = {modality: FrameEncoder(modality, source, settings) for modality, source in sources.items()}
    for modality in encoders:
        (folder / modality).mkdir(parents=True)
    reader = AlignedReader(sources, settings.length_tolerance)
    contents: dict[str, bytes] = {}
    count = 0
    for moment in reader:
        images = {modality: encoders[modality](frame) for modality, frame in moment.items()}
        contents = {
            # halved chroma would blur u and v, which are independent channels
            modality: encode_jpeg(image, settings.quality, full_chroma=modality == "flow")
            for modality, image in images.items()
        }
        _write_moment(folder, count, contents)
        count += 1
    length = max(count, MINIMUM_FRAMES)
    for index in range(count, length):
        _write_moment(folder, index, contents)
    warnings = [*reader.warnings, *peculiarities(count, encoders)]
    return ExtractedVideo(video.video_id, video.label, count, length, current, tuple(warnings), reader.lengths)


def _write_moment(folder: Path, index: int, contents: Mapping[str, bytes]) -> None:
    for modality, content in contents.items():
        (folder / modality / f"{index:06d}.jpg").write_bytes(content)


class FrameEncoder:
    """Brings the frames of one modality of one video to 8 bits and to their size.

    Attributes:
        is_blank: whether every frame so far was of one grey level.
    """

    def __init__(self, modality: str, source: Source, settings: FrameSettings):
        self._settings = settings
        self._is_depth = modality in settings.depth_modalities
        self.is_blank = True
        self._clip_range = None
        if self._is_depth and settings.depth.mode == "per_clip":
            frames = (frame for frame in source.frames() if isinstance(frame, Frame))
            self._clip_range = reading_range(frame.image for frame in frames)

    def __call__(self, frame: Frame) -> np.ndarray:
        """Returns the image of a frame, `(size, size)` or `(size, size, 3)` uint8.

        Raises:
            InputError: it is no 8-bit image, and no depth image that the mode takes.
        """
        size = self._settings.size
        try:
            if self._is_depth:
                image = encode_depth(frame.image, size, self._settings.depth, self._clip_range)
            elif frame.image.dtype == np.uint8:
                image = resize(frame.image, size)
            else:
                raise InputError(
                    "more than 8 bits per pixel; where these are distances, name the modality in --depth_modalities"
                )
        except InputError as error:
            raise InputError(f"{frame.where}: {error}") from None
        self.is_blank = self.is_blank and int(np.ptp(image)) <= _BLANK_LEVELS
        return image


def peculiarities(count: int, encoders: Mapping[str, FrameEncoder]) -> list[str]:
    """Warnings about a video of `count` frames that can be read and still is not what it should be."""
    warnings = [
        f"{modality} is blank: every frame is of one grey level"
        for modality, encoder in encoders.items()
        if encoder.is_blank
    ]
    return warnings + (["it has one frame only, and so no motion"] if count == 1 else [])
