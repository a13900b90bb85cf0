"""A data set's raw folders → TFRecords ready for training: frames, optical flow, shards, `dataset.json`.

    python data_prep/make_tfrecords.py                                               # the demo data set
    python data_prep/make_tfrecords.py --dataset=nwucla --data_dir=data/nwucla

Whatever is complete is kept, so the same command continues an interrupted run and ends with the same bytes.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep import dataset_flags
from data_prep import extract_flow as extract_flow_script
from data_prep import extract_frames as extract_frames_script
from data_prep.dataset_flags import define_dataset_flags, read_dataset_flags
from data_prep.datasets.base import Skipped, Video
from data_prep.extract_flow import define_flow_flags, extract_flow, flow_settings_from_flags
from data_prep.extract_frames import (
    DataSettings,
    define_data_flags,
    extract_frames,
    list_raw_videos,
    report_left_out,
)
from data_prep.extract_video import ExtractedVideo, fingerprint
from data_prep.optical_flow import FlowSettings, bound_in_pixels
from data_prep.plan import Plan
from dmcl_tf.errors import InputError, run_script

# Every worker process imports this script anew: TensorFlow, and modules that need it, are imported where they are used.
if TYPE_CHECKING:
    from dmcl_tf.records import DatasetInfo, Shard

_SHOWN = 5  # skipped videos whose reasons are printed; all are written down


@dataclass(frozen=True)
class RecordSettings:
    """What records are made of, and where."""

    data: DataSettings
    output: Path
    protocol: Mapping[str, object]
    modalities: tuple[str, ...]
    flow: FlowSettings | None
    videos_per_shard: int
    limit: int
    origin: str

    def to_json(self) -> dict[str, object]:
        """Every setting that shapes the records."""
        return {
            "dataset": self.data.dataset.name,
            "origin": self.origin,
            "protocol": dict(self.protocol),
            "modalities": self.modalities,
            "frames": asdict(self.data.frames),
            "flow": asdict(self.flow) if self.flow else None,
            "videos_per_shard": self.videos_per_shard,
            "limit": self.limit,
        }


def split_videos(settings: RecordSettings, videos: Sequence[Video]) -> dict[str, list[Video]]:
    """Splits videos by the protocol; with a limit, keeps the first ones of each class.

    Raises:
        InputError: an impossible protocol.
    """
    splits = settings.data.dataset.split_videos(videos, **settings.protocol)
    if settings.limit:
        return {split: _first_of_each_class(members, settings.limit) for split, members in splits.items()}
    return splits


def _first_of_each_class(videos: Sequence[Video], limit: int) -> list[Video]:
    kept: dict[int, list[Video]] = {}
    for video in videos:
        members = kept.setdefault(video.label, [])
        if len(members) < limit:
            members.append(video)
    return [video for members in kept.values() for video in members]


def check_splits(settings: RecordSettings, splits: Mapping[str, Sequence[Video | ExtractedVideo]]) -> list[Skipped]:
    """Returns a warning for each class that validation or test lacks.

    Raises:
        InputError: the training split lacks a class, or the test split is empty.
    """
    protocol = ", ".join(f"{name}={value}" for name, value in settings.protocol.items())
    warnings = []
    if not splits["validation"]:
        warnings.append(
            Skipped("validation split", "there are no validation videos: the last epoch counts as the best")
        )
    for split, videos in splits.items():
        if split == "validation" and not videos:
            continue
        present = {video.label for video in videos}
        for label, name in enumerate(settings.data.dataset.class_names):
            if label in present:
                continue
            reason = f"the {split} split ({protocol}) has no video of class {name!r}"
            if split == "train":
                raise InputError(
                    f"{settings.data.data_dir}: {reason}; training needs every class: complete the raw data"
                )
            warnings.append(Skipped(f"{split} split", reason))
    if not splits["test"]:
        raise InputError(f"{settings.data.data_dir}: the test split ({protocol}) has no videos; complete the raw data")
    return warnings


def check_modalities(settings: RecordSettings, videos: Iterable[Video]) -> None:
    """Checks that every modality asked for is recorded, or is flow and can be computed.

    Raises:
        InputError: the data set has no such modality.
    """
    available = {"flow"}.union(set.intersection(*(set(video.sources) for video in videos)))
    for modality in settings.modalities:
        if modality not in available:
            raise InputError(
                f"--modalities={','.join(settings.modalities)}: {settings.data.dataset.title} has no {modality!r}; "
                f"expected some of {', '.join(sorted(available))}"
            )


def group_videos(
    settings: RecordSettings, splits: Mapping[str, Sequence[ExtractedVideo]], videos: Mapping[str, Video]
) -> dict[str, dict[str, str]]:
    """Returns the group of each test video, by split and video id; nothing where the data set has no groups."""
    group = settings.data.dataset.group
    if not group:
        return {}
    return {"test": {video.video_id: group(videos[video.video_id]) for video in splits["test"]}}


def describe(
    settings: RecordSettings,
    splits: Mapping[str, Sequence[ExtractedVideo]],
    shards: Mapping[str, Shard],
    report: Mapping[str, Sequence[Mapping[str, str]]],
    groups: Mapping[str, Mapping[str, str]],
) -> DatasetInfo:
    """Returns what `dataset.json` says of these records."""
    import tensorflow as tf

    from dmcl_tf.records import DatasetInfo, draw_clips

    data, flow = settings.data, settings.flow
    size = data.frames.size
    class_names = data.dataset.class_names
    return DatasetInfo(
        dataset=data.dataset.name,
        title=data.dataset.title,
        origin=settings.origin,
        protocol=settings.protocol,
        class_names=class_names,
        modalities=settings.modalities,
        frame_size=size,
        jpeg_quality=data.frames.quality,
        depth=data.frames.describe_depth(settings.modalities),
        flow={**asdict(flow), "bound_in_pixels": bound_in_pixels(flow.bound, size, size)} if flow else None,
        counts={
            split: {name: sum(video.label == label for video in videos) for label, name in enumerate(class_names)}
            for split, videos in splits.items()
        },
        shards={
            split: tuple(shard for name, shard in shards.items() if name.startswith(f"{split}-")) for split in splits
        },
        clips={
            split: {video.video_id: draw_clips(video.video_id, video.length).tolist() for video in splits[split]}
            for split in ("validation", "test")
        },
        versions={
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
        skipped=_relative(report["skipped"], data),
        warnings=_relative(report["warnings"], data),
        groups=groups,
    )


def _relative(report: Sequence[Mapping[str, str]], data: DataSettings) -> tuple[dict[str, str], ...]:
    """Names files relative to the data, so that the description does not depend on where they are."""

    def shorten(reason: str) -> str:
        return reason.replace(f"{data.frames_dir}/", "").replace(f"{data.data_dir}/", "")

    return tuple({**entry, "reason": shorten(entry["reason"])} for entry in report)


def print_summary(output: Path) -> None:
    """Prints the videos per split and class, and what was left out."""
    from dmcl_tf.records import DatasetInfo

    info = DatasetInfo.load(output)
    width = max(len(name) for name in (*info.class_names, "all"))
    print(f"{'':{width}}" + "".join(f"{split:>12}" for split in info.counts))
    for name in info.class_names:
        print(f"{name:{width}}" + "".join(f"{counts[name]:12d}" for counts in info.counts.values()))
    print(f"{'all':{width}}" + "".join(f"{sum(counts.values()):12d}" for counts in info.counts.values()))
    print(f"{info.title}: {', '.join(info.modalities)} at {info.frame_size}² pixels in {output}")
    if info.skipped or info.warnings:
        for entry in info.skipped[:_SHOWN]:
            print(f"skipped {entry['video_id']}: {entry['reason']}")
        print(
            f"{len(info.skipped)} videos skipped, {len(info.warnings)} warnings about kept ones: "
            f"listed in {output / 'dataset.json'}"
        )


def make_records(settings: RecordSettings) -> None:
    """Makes the records, or what is missing of them.

    Raises:
        InputError: the raw data are missing or unusable, or a folder holds results of other settings.
    """
    data, output = settings.data, settings.output
    begun = Plan.load(output)
    try:
        listing = list_raw_videos(data.dataset, data.data_dir, workers=data.workers)
    except InputError as error:
        if begun and begun.is_complete(output):
            begun.check_settings(output, settings.to_json())
            print(f"the records are complete, so they are kept although the raw data cannot be read ({error})")
            print_summary(output)
            return
        raise
    splits = split_videos(settings, listing.videos)
    check_splits(settings, splits)
    videos = {video.video_id: video for members in splits.values() for video in members}
    check_modalities(settings, videos.values())
    sources = {video_id: fingerprint(video) for video_id, video in videos.items()}
    if begun:
        begun.check_settings(output, settings.to_json())
        begun.check_sources(output, sources)
        if begun.is_complete(output):
            print_summary(output)
            return
    from data_prep.shards import plan_shards, write_shards

    extracted, left_out = extract_frames(list(videos.values()), data.frames_dir, data.frames, workers=data.workers)
    if settings.flow:
        left_out += extract_flow(data.frames_dir, sorted(extracted), settings.flow, workers=data.workers)
    unusable = {video.video_id for video in left_out}
    if len(unusable) == len(videos):
        raise InputError(f"{data.data_dir}: no video can be used; the first: {left_out[0].reason}")
    usable = {
        split: [extracted[video.video_id] for video in members if video.video_id not in unusable]
        for split, members in splits.items()
    }
    check_splits(settings, usable)
    shards = plan_shards(usable, settings.videos_per_shard)
    shard_ids = {name: [video.video_id for video in members] for name, members in shards.items()}
    plan = Plan(settings.to_json(), sources, shard_ids)
    if begun and begun.shards != plan.shards:
        raise InputError(f"{output} holds records of other frames: delete it and run the same command again")
    plan.save(output)
    written = write_shards(
        shards,
        frames_dir=data.frames_dir,
        output=output,
        modalities=settings.modalities,
        size=data.frames.size,
        workers=data.workers,
    )
    about_used = replace(listing, warnings=tuple(entry for entry in listing.warnings if entry.video_id in videos))
    report = report_left_out(about_used, extracted.values(), left_out)
    report["warnings"] += [asdict(warning) for warning in check_splits(settings, usable)]
    describe(settings, usable, written, report, group_videos(settings, usable, videos)).save(output)
    print_summary(output)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    define_data_flags(flag_values)
    flags.DEFINE_string("output", None, "Where the records go [<data_dir>/records/<size>].", flag_values=flag_values)
    flags.DEFINE_list(
        "modalities",
        None,
        "What each record holds, separated by commas. Flow that the data set does not have is computed, and only where "
        "it is named [rgb,depth,flow; own data: the columns of the CSV file, and flow where --flow_from is given].",
        flag_values=flag_values,
    )
    flags.DEFINE_string("flow_from", None, "The modality that flow is computed from [rgb].", flag_values=flag_values)
    define_dataset_flags("protocol", flag_values)
    flags.DEFINE_integer(
        "videos_per_shard",
        64,
        "Videos per file. Many files shuffle better, few are read faster.",
        1,
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "limit",
        0,
        "Keep at most this many videos per class and split, for a quick try; 0 = all.",
        0,
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "origin",
        None,
        'Where the raw frames come from, in words for the result tables, e.g. "rendered from skeletons" [the title of '
        "the data set].",
        flag_values=flag_values,
    )
    define_flow_flags(flag_values)
    for module in (
        dataset_flags,
        extract_frames_script,
        extract_flow_script,
    ):  # for --help, which lists a module's own flags
        flags.adopt_module_key_flags(module, flag_values)


def settings_from_flags(values: flags.FlagValues) -> RecordSettings:
    """Reads the flags, with the defaults of the data set filled in.

    Raises:
        InputError: a list holds something else than it should.
    """
    data = DataSettings.from_flags(values)
    recorded = data.dataset.recorded
    default = data.dataset.modalities
    if values.flow_from and "flow" not in default:
        default = (*default, "flow")
    modalities = default if values.modalities is None else tuple(values.modalities)
    if not modalities or "" in modalities or len(set(modalities)) < len(modalities):
        raise InputError(f"--modalities={','.join(modalities)}: expected different names, separated by commas")
    flow_from = values.flow_from or "rgb"
    computes_flow = "flow" in modalities and "flow" not in recorded
    if computes_flow and flow_from not in recorded:
        raise InputError(
            f"flow cannot be computed from {flow_from!r}, which {data.dataset.title} do not have: give --flow_from="
            f"{'|'.join(recorded)}"
        )
    preset = "fast" if data.scale == "compact" else "default"
    flow = None
    if computes_flow:
        flow = replace(flow_settings_from_flags(values, default_preset=preset), source=flow_from)
    # data sets that share a folder do not share their records
    prefix = f"{data.dataset.name}-" if data.dataset.family else ""
    return RecordSettings(
        data=data,
        output=Path(values.output or data.data_dir / "records" / f"{prefix}{data.frames.size}"),
        protocol=read_dataset_flags("protocol", data.dataset, values),
        modalities=modalities,
        flow=flow,
        videos_per_shard=values.videos_per_shard,
        limit=values.limit,
        origin=values.origin or data.dataset.title,
    )


def main() -> None:
    """Makes the records."""
    make_records(settings_from_flags(flags.FLAGS))


if __name__ == "__main__":
    define_flags()
    run_script(main)
