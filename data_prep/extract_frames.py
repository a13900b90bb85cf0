"""Raw videos of a data set → folders of aligned, resized JPEG frames.

    python data_prep/extract_frames.py --dataset=nwucla --data_dir=data/nwucla

writes `<frames_dir>/<video_id>/<modality>/000000.jpg …` and a `video.json` beside the modalities. Complete videos whose
raw files have not changed are kept, so the same command continues an interrupted run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep import dataset_flags
from data_prep.dataset_flags import define_dataset_flags, read_dataset_flags
from data_prep.raw import DATASETS
from data_prep.raw.base import Dataset, Listing, Skipped, Video
from data_prep.running.processes import Run, default_workers, run_parallel
from data_prep.video.depth import MODES, DepthSettings
from data_prep.video.extract_video import ExtractedVideo, FrameSettings, extract_video
from dmcl_tf.errors import InputError, run_script
from dmcl_tf.files import record_settings, remove, write_json

SCALES = {"paper": 256, "compact": 80}
_SETTINGS_FILE = "frames.json"


def extract_frames(
    videos: Sequence[Video],
    frames_dir: Path,
    settings: FrameSettings,
    *,
    workers: int,
    description: str = "frames",
    run: Run = run_parallel,
) -> tuple[dict[str, ExtractedVideo], list[Skipped]]:
    """Extracts many videos in parallel processes.

    Returns:
        What was extracted, now or before, by video id; and the videos that cannot be used.

    Raises:
        InputError: `frames_dir` holds frames made with other settings.
    """
    remedy = f"use another --frames_dir, or delete {frames_dir}"
    record_settings(frames_dir / _SETTINGS_FILE, asdict(settings), remedy)
    extracted, skipped = {}, []
    work = partial(extract_video, frames_dir=frames_dir, settings=settings)
    for result in run(work, videos, workers=workers, description=description):
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            extracted[result.video_id] = result
    if videos and not extracted:  # so that other settings may be tried at once
        remove(frames_dir / _SETTINGS_FILE)
    return extracted, sorted(skipped, key=lambda video: video.video_id)


def list_videos(dataset: Dataset, data_dir: Path) -> Listing:
    """Lists a data set's raw videos; raises `InputError` where its folders are missing or may not be read."""
    try:
        return dataset.list_videos(data_dir)
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; {dataset.title} is read from there") from error


def list_raw_videos(dataset: Dataset, data_dir: Path, *, workers: int) -> Listing:
    """Lists a data set's raw videos, after making them where the data set is a generated one.

    Raises:
        InputError: the raw data are not there, or hold no usable video.
    """
    if dataset.generate:
        dataset.generate(data_dir, workers=workers)
    listing = list_videos(dataset, data_dir)
    if not listing.videos:
        example = f", for example {listing.skipped[0].reason}" if listing.skipped else ""
        raise InputError(f"{data_dir}: no usable video among {len(listing.skipped)} folders{example}")
    return listing


def define_data_flags(flag_values: flags.FlagValues) -> None:
    """Flags that every script shares which starts from a raw data set."""
    flags.DEFINE_enum("dataset", "demo", list(DATASETS), "The data set.", flag_values=flag_values)
    folders = dict.fromkeys(f"data/{dataset.folder}" for dataset in DATASETS.values())
    flags.DEFINE_string("data_dir", None, f"Where its raw files are [{', '.join(folders)}].", flag_values=flag_values)
    define_dataset_flags("options", flag_values)
    flags.adopt_module_key_flags(dataset_flags, flag_values)  # for --help, which lists a module's own flags
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
    flags.DEFINE_enum(
        "depth_mode",
        None,
        list(MODES),
        "How depth becomes 8 bits: as it is; millimetres from --depth_near to --depth_far, clipped (clip_mm); from the "
        "nearest to the farthest reading of each clip (per_clip); or clip_mm in colours (jet). Readings become 16 … "
        "255, and 0 stays no reading [clip_mm for NTU RGB+D, else as_is].",
        flag_values=flag_values,
    )
    for name, text in (("near", "nearest"), ("far", "farthest")):
        flags.DEFINE_float(
            f"depth_{name}",
            None,
            f"clip_mm and jet: the {text} distance in millimetres [{getattr(DepthSettings, name):g}].",
            0.0,
            flag_values=flag_values,
        )
    flags.DEFINE_list(
        "depth_modalities",
        ["depth"],
        "The modalities that hold distances, to which --depth_mode applies.",
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "length_tolerance",
        FrameSettings.length_tolerance,
        "How much the modalities of a video may differ in length: a share of the longest (below 1; one frame at "
        "least), or frames (1 and more). Within it they are aligned on the shortest, else the video is skipped.",
        0.0,
        flag_values=flag_values,
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
        """Reads the flags.

        Raises:
            InputError: one that the data set does not have, or whose value it cannot use.
        """
        dataset = DATASETS[values.dataset]
        options = read_dataset_flags("options", dataset, values)
        if dataset.configure:
            dataset = dataset.configure(**options)
        data_dir = Path(values.data_dir or f"data/{dataset.folder}")
        scale = values.scale or dataset.scale
        size = values.size or SCALES[scale]
        return cls(
            dataset=dataset,
            data_dir=data_dir,
            frames_dir=Path(values.frames_dir or data_dir / "frames" / str(size)),
            frames=FrameSettings(
                dataset.folder,
                size,
                values.jpeg_quality,
                depth=_depth_settings(dataset, values),
                depth_modalities=tuple(values.depth_modalities),
                length_tolerance=values.length_tolerance,
            ),
            scale=scale,
            workers=values.workers or default_workers(),
        )


def _depth_settings(dataset: Dataset, values: flags.FlagValues) -> DepthSettings:
    given = {name: values[f"depth_{name}"].value for name in ("mode", "near", "far")}
    depth = replace(dataset.depth, **{name: value for name, value in given.items() if value is not None})
    if not depth.near < depth.far:
        raise InputError(f"--depth_near={depth.near:g} --depth_far={depth.far:g}: expected near below far")
    for name in ("near", "far"):
        if given[name] is not None and name not in depth.to_json():
            raise InputError(
                f"--depth_{name}={given[name]:g} is of no use with --depth_mode={depth.mode}: choose clip_mm or jet"
            )
    return depth


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
    """Returns what was left out, each `{"video_id", "reason"}`, by video id.

    Under `skipped` are whole videos, excluded ones included, under `warnings` the peculiarities of kept ones.
    """
    unread = [Skipped(video.video_id, reason) for video in extracted for reason in video.warnings]
    lists = {"skipped": [*listing.skipped, *listing.excluded, *unreadable], "warnings": [*listing.warnings, *unread]}
    return {
        name: [asdict(entry) for entry in sorted(entries, key=lambda entry: (entry.video_id, entry.reason))]
        for name, entries in lists.items()
    }


if __name__ == "__main__":
    define_flags()
    run_script(main)
