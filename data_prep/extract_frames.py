"""Raw videos of a data set → folders of aligned, resized JPEG frames.

    python data_prep/extract_frames.py --dataset=nwucla --data_dir=data/nwucla

writes `<frames_dir>/<video_id>/<modality>/000000.jpg …` and a `video.json` beside the modalities. Complete videos whose
raw files have not changed are kept, so the same command continues an interrupted run.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.datasets import DATASETS
from data_prep.datasets.base import Dataset, Listing, Skipped, Video
from data_prep.files import atomic_path, record_settings, remove, write_json
from data_prep.frames import encode_jpeg, read_image, resize
from data_prep.parallel import default_workers, run_parallel
from dmcl_tf.errors import InputError, run_script

MINIMUM_FRAMES = 9  # shorter videos repeat their last frame, as the authors do
SCALES = {"paper": 256, "compact": 80}
_SETTINGS_FILE = "frames.json"
_VIDEO_FILE = "video.json"


@dataclass(frozen=True)
class FrameSettings:
    """How frames are made.

    Attributes:
        dataset: name of the data set.
        size: height and width in pixels.
        quality: JPEG quality, 1 … 100.
        interpolation: the method, for the record.
    """

    dataset: str
    size: int
    quality: int = 95
    interpolation: str = "area"


@dataclass(frozen=True)
class ExtractedVideo:
    """What a folder of frames holds, as its `video.json` says.

    Attributes:
        video_id: its folder's name.
        label: 0 … number of classes - 1.
        frames: moments that the raw video has, before a short one is padded.
        length: files of each modality.
        fingerprint: of the raw files, see `fingerprint`.
        warnings: each file that could not be read.
    """

    video_id: str
    label: int
    frames: int
    length: int
    fingerprint: str
    warnings: tuple[str, ...] = ()


def fingerprint(video: Video) -> str:
    """Returns a checksum of the names and sizes of a video's raw files: it changes when one is downloaded again."""
    checksum = zlib.crc32(str(video.label).encode())
    for modality, source in sorted(video.sources.items()):
        for path in source.paths:
            size = path.stat().st_size if path.is_file() else -1
            checksum = zlib.crc32(f"{modality}/{path.name}:{size}\n".encode(), checksum)
    return f"{checksum:08x}"


def read_video_file(folder: Path) -> ExtractedVideo | None:
    """Reads the `video.json` of a folder of frames; None where there is none."""
    try:
        content = json.loads((folder / _VIDEO_FILE).read_text(encoding="utf-8"))
        return ExtractedVideo(**{**content, "warnings": tuple(content["warnings"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder / _VIDEO_FILE} is damaged ({error}); delete the folder {folder}") from error


def extract_video(video: Video, *, frames_dir: Path, settings: FrameSettings) -> ExtractedVideo | Skipped:
    """Writes `frames_dir/<video_id>`, unless it is complete and the raw files are those it was made from.

    A moment whose image cannot be read in one modality is left out of all of them, so that they stay aligned.
    """
    folder = frames_dir / video.video_id
    current = fingerprint(video)
    existing = read_video_file(folder)
    if existing and existing.fingerprint == current:
        return existing
    remove(folder)
    modalities = list(video.sources)
    moments: list[list[bytes]] = []
    warnings: list[str] = []
    for paths in zip(*(video.sources[modality].paths for modality in modalities)):
        try:
            images = [read_image(path) for path in paths]
        except InputError as error:
            warnings.append(f"{error}; its frame is left out")
        else:
            moments.append([encode_jpeg(resize(image, settings.size), settings.quality) for image in images])
    if not moments:
        return Skipped(video.video_id, f"no frame can be read; the first: {warnings[0]}")
    length = max(len(moments), MINIMUM_FRAMES)
    result = ExtractedVideo(video.video_id, video.label, len(moments), length, current, tuple(warnings))
    with atomic_path(folder) as unfinished:
        for position, modality in enumerate(modalities):
            (unfinished / modality).mkdir(parents=True)
            for index in range(length):
                content = moments[min(index, len(moments) - 1)][position]
                (unfinished / modality / f"{index:06d}.jpg").write_bytes(content)
        write_json(unfinished / _VIDEO_FILE, asdict(result))
    return result


def extract_frames(
    videos: Sequence[Video], frames_dir: Path, settings: FrameSettings, *, workers: int
) -> tuple[dict[str, ExtractedVideo], list[Skipped]]:
    """Extracts many videos in parallel processes.

    Returns:
        What was extracted, now or before, by video id; and the videos of which no frame can be read.

    Raises:
        InputError: `frames_dir` holds frames made with other settings.
    """
    remedy = f"use another --frames_dir, or delete {frames_dir}"
    record_settings(frames_dir / _SETTINGS_FILE, asdict(settings), remedy)
    extracted, skipped = {}, []
    work = partial(extract_video, frames_dir=frames_dir, settings=settings)
    for result in run_parallel(work, videos, workers=workers, description="frames"):
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            extracted[result.video_id] = result
    return extracted, sorted(skipped, key=lambda video: video.video_id)


def list_raw_videos(dataset: Dataset, data_dir: Path, *, workers: int) -> Listing:
    """Lists a data set's raw videos, after making them where the data set is a generated one.

    Raises:
        InputError: the raw data are not there, or hold no usable video.
    """
    if dataset.generate:
        dataset.generate(data_dir, workers=workers)
    listing = dataset.list_videos(data_dir)
    if not listing.videos:
        example = f", for example {listing.skipped[0].reason}" if listing.skipped else ""
        raise InputError(f"{data_dir}: no usable video among {len(listing.skipped)} folders{example}")
    return listing


def define_data_flags(flag_values: flags.FlagValues) -> None:
    """Flags that every script shares which starts from a raw data set."""
    flags.DEFINE_enum("dataset", "demo", list(DATASETS), "The data set.", flag_values=flag_values)
    flags.DEFINE_string("data_dir", None, "Where its raw files are [data/<dataset>].", flag_values=flag_values)
    flags.DEFINE_enum(
        "scale",
        None,
        list(SCALES),
        "Size of the frames: paper = 256², cropped to 224² in training; compact = 80², cropped to 64², for machines "
        "without a GPU [compact for the demo data set, else paper].",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "size", None, "Height and width of the frames, instead of the scale's.", 16, flag_values=flag_values
    )
    flags.DEFINE_integer("jpeg_quality", 95, "Quality of the stored frames.", 1, 100, flag_values=flag_values)
    flags.DEFINE_string(
        "frames_dir", None, "Where the resized frames are kept [<data_dir>/frames/<size>].", flag_values=flag_values
    )
    flags.DEFINE_integer("workers", None, "Parallel processes [one per core].", 1, flag_values=flag_values)


@dataclass(frozen=True)
class DataSettings:
    """The flags of `define_data_flags`, with their defaults filled in."""

    dataset: Dataset
    data_dir: Path
    frames_dir: Path
    frames: FrameSettings
    scale: str
    workers: int

    @classmethod
    def from_flags(cls, values: flags.FlagValues) -> DataSettings:
        """Reads the flags."""
        dataset = DATASETS[values.dataset]
        data_dir = Path(values.data_dir or f"data/{dataset.name}")
        scale = values.scale or dataset.scale
        size = values.size or SCALES[scale]
        return cls(
            dataset=dataset,
            data_dir=data_dir,
            frames_dir=Path(values.frames_dir or data_dir / "frames" / str(size)),
            frames=FrameSettings(dataset.name, size, values.jpeg_quality),
            scale=scale,
            workers=values.workers or default_workers(),
        )


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    define_data_flags(flag_values)


def main() -> None:
    """Extracts every video of the data set and lists what was left out in `skipped.json`."""
    settings = DataSettings.from_flags(flags.FLAGS)
    listing = list_raw_videos(settings.dataset, settings.data_dir, workers=settings.workers)
    extracted, unreadable = extract_frames(
        listing.videos, settings.frames_dir, settings.frames, workers=settings.workers
    )
    report = report_left_out(listing, extracted.values(), unreadable)
    write_json(settings.frames_dir / "skipped.json", report)
    print(
        f"{len(extracted)} videos in {settings.frames_dir}; {len(report['skipped'])} skipped and "
        f"{len(report['warnings'])} warnings, listed in {settings.frames_dir / 'skipped.json'}"
    )


def report_left_out(
    listing: Listing, extracted: Iterable[ExtractedVideo], unreadable: Sequence[Skipped]
) -> dict[str, list[dict[str, str]]]:
    """Returns the skipped videos and the warnings about kept ones, each `{"video_id", "reason"}`, by video id."""
    unread = [Skipped(video.video_id, reason) for video in extracted for reason in video.warnings]
    lists = {"skipped": [*listing.skipped, *unreadable], "warnings": [*listing.warnings, *unread]}
    return {
        name: [asdict(entry) for entry in sorted(entries, key=lambda entry: (entry.video_id, entry.reason))]
        for name, entries in lists.items()
    }


if __name__ == "__main__":
    define_flags()
    run_script(main)
