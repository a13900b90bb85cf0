"""What `dataset.json` says of records, and the summary that is printed of it."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf

from data_prep.extract_frames import DataSettings
from data_prep.flow.encoding import bound_in_pixels
from data_prep.flow.settings import FlowSettings
from data_prep.raw.base import Video
from data_prep.record_settings import RecordSettings
from data_prep.video.extract_video import ExtractedVideo
from dmcl_tf.data.records import DatasetInfo, Shard, draw_clips

_SHOWN = 5  # skipped videos whose reasons are printed; all are written down


def group_videos(
    settings: RecordSettings, splits: Mapping[str, Sequence[ExtractedVideo]], videos: Mapping[str, Video]
) -> dict[str, dict[str, dict[str, str]]]:
    """Returns `groups` and `apart` of `DatasetInfo`, each by split and video id; empty where the data set has none."""
    dataset = settings.data.dataset
    grouped = {"test": splits["test"]} if dataset.group else {}
    return {
        "groups": {
            split: {video.video_id: dataset.group(videos[video.video_id]) for video in members}
            for split, members in grouped.items()
        },
        "apart": {
            split: {video.video_id: dataset.apart(videos[video.video_id], **settings.protocol) for video in members}
            for split, members in (splits if dataset.apart else {}).items()
        },
    }


def describe(
    settings: RecordSettings,
    splits: Mapping[str, Sequence[ExtractedVideo]],
    shards: Mapping[str, Shard],
    report: Mapping[str, Sequence[Mapping[str, str]]],
    groups: Mapping[str, Mapping[str, Mapping[str, str]]],
) -> DatasetInfo:
    """Returns what `dataset.json` says of these records."""
    data = settings.data
    class_names = data.dataset.class_names
    return DatasetInfo(
        dataset=data.dataset.name,
        title=data.dataset.title,
        origin=settings.origin,
        protocol=settings.protocol,
        class_names=class_names,
        modalities=settings.modalities,
        frame_size=data.frames.size,
        jpeg_quality=data.frames.quality,
        depth=data.frames.describe_depth(settings.modalities),
        flow=_describe_flow(settings),
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
        **groups,
    )


def _describe_flow(settings: RecordSettings) -> dict[str, object] | None:
    if not isinstance(settings.flow, FlowSettings):
        return asdict(settings.flow) if settings.flow else None
    size = settings.data.frames.size
    return {**asdict(settings.flow), "bound_in_pixels": bound_in_pixels(settings.flow.bound, size, size)}


def _relative(report: Sequence[Mapping[str, str]], data: DataSettings) -> tuple[dict[str, str], ...]:
    """Names files relative to the data, so that the description does not depend on where they are."""

    def shorten(reason: str) -> str:
        return reason.replace(f"{data.frames_dir}/", "").replace(f"{data.data_dir}/", "")

    return tuple({**entry, "reason": shorten(entry["reason"])} for entry in report)


def print_summary(output: Path) -> None:
    """Prints the videos per split and class, and what was left out."""
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
