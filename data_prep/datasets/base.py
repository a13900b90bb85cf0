"""What every dataset reader produces, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class ImageSequence:
    """The frames of one modality of one video, as image files in temporal order.

    Sequences of the same video are aligned: element i of each shows the same moment.
    """

    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Video:
    """One video with its label and the raw frames of each modality that was recorded (not of computed ones)."""

    video_id: str
    label: int  # 0 … number of classes - 1
    sources: Mapping[str, ImageSequence]
    subject: int | None = None
    view: int | None = None


@dataclass(frozen=True)
class Skipped:
    """Something that was left out: a video, or single frames of it; `reason` names the file and what to do."""

    video_id: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What a reader found."""

    videos: tuple[Video, ...]
    skipped: tuple[Skipped, ...] = ()  # whole videos
    warnings: tuple[Skipped, ...] = ()  # single frames; the video is kept


@dataclass(frozen=True)
class Dataset:
    """A dataset: its reader, its protocol and where to get it.

    Attributes:
        name: the name under `--dataset`.
        title: its name in prose.
        class_names: by label.
        list_videos: `list_videos(data_dir)` → `Listing`; raises `InputError` where the layout is not there.
        split_videos: `split_videos(videos, **protocol)` → `{"train": […], "validation": […], "test": […]}`,
            each a list of videos in a fixed order; raises `InputError` for an impossible protocol.
        protocol: the protocol's default settings, which flags override.
        how_to_get: what to download, from where, and where to put it.
        scale: the frame size it is meant for unless `--scale` says otherwise: `paper` (256²) or `compact` (80²).
        generate: `generate(data_dir, workers=n)` makes the raw data, continuing where it was interrupted; None where
            they have to be downloaded.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    list_videos: Callable[[Path], Listing]
    split_videos: Callable[..., dict[str, list[Video]]]
    protocol: Mapping[str, object] = field(default_factory=dict)
    how_to_get: str = ""
    scale: str = "paper"
    generate: Callable[..., None] | None = None


def draw_validation(
    videos: list[Video], num_classes: int, *, fraction: float = 0.05
) -> tuple[list[Video], list[Video]]:
    """Splits training videos into (training, validation), balanced over the classes.

    The authors' rule (make_list_dset_nwucla.py): sort, shuffle with seed 0, then from each class draw
    `int(total / num_classes · fraction)` videos without replacement with the class index as seed. Deviation: at
    least one per class where the class has two or more, as the rule draws none from small data sets.
    """
    videos = sorted(videos, key=lambda video: video.video_id)
    np.random.RandomState(0).shuffle(videos)
    per_class = max(1, int(len(videos) / num_classes * fraction))
    train, validation = [], []
    for label in range(num_classes):
        members = [video for video in videos if video.label == label]
        count = min(per_class, len(members) - 1)
        chosen = set(np.random.RandomState(label).choice(len(members), count, replace=False)) if count > 0 else set()
        train += [video for i, video in enumerate(members) if i not in chosen]
        validation += [video for i, video in enumerate(members) if i in chosen]
    return train, validation
