"""What every dataset reader produces, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data_prep.video.depth import DepthSettings
from data_prep.video.sources import Source


@dataclass(frozen=True)
class Video:
    """One video with its label and the raw frames of each modality that was recorded (not of computed ones)."""

    video_id: str  # also the name of its folder of frames
    label: int  # 0 … number of classes - 1
    sources: Mapping[str, Source]
    subject: int | str | None = None
    view: int | str | None = None


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
    excluded: tuple[Skipped, ...] = ()  # whole videos that the data set's users are known to leave out


@dataclass(frozen=True)
class Setting:
    """A setting that some data sets have and others do not; a flag of the same name changes it.

    Attributes:
        default: a text, a number, a truth value, a tuple of numbers, or None for a text without default.
        help: what it means, for `--help`.
        choices: the possible texts; empty: any.
    """

    default: object
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A dataset: its reader, its protocol and where to get it.

    Attributes:
        name: the name under `--dataset`.
        title: its name in prose.
        class_names: by label; empty before `configure` where that says them.
        list_videos: `list_videos(data_dir)` → `Listing`; raises `InputError` where the layout is not there.
        split_videos: `split_videos(videos, **protocol)` → `{"train": […], "validation": […], "test": […]}`,
            each a list of videos in a fixed order; raises `InputError` for an impossible protocol.
        protocol: the settings that make the splits.
        options: the settings that say what the raw data are; `configure(**options)` returns the data set so described.
        configure: None where there are no options.
        how_to_get: what to download, from where, how to unpack it, and where to put it.
        family: data sets of one family have their raw videos and frames in common; "" stands for `name`.
        recorded: the modalities of its videos.
        modalities: what records hold unless `--modalities` says otherwise; flow that is not recorded is computed.
        depth: how depth becomes 8 bits unless flags say otherwise.
        group: of a test video; where there are several, accuracies are reported for each and averaged over them.
        apart: `apart(video, **protocol)` → what no test video may share with the others by the protocol, such as
            "subject 5"; None where the protocol keeps nothing apart.
        expected: published numbers of videos, by "videos" for all, or by class name, or "view 1" and the like.
        scale: the frame size it is meant for unless `--scale` says otherwise: `paper` (256²) or `compact` (80²).
        default_flags: of all stages, before those that the user gives.
        generate: `generate(data_dir, workers=n)` makes the raw data, continuing where it was interrupted; None where
            they have to be downloaded.
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    list_videos: Callable[[Path], Listing]
    split_videos: Callable[..., dict[str, list[Video]]]
    protocol: Mapping[str, Setting] = field(default_factory=dict)
    options: Mapping[str, Setting] = field(default_factory=dict)
    configure: Callable[..., Dataset] | None = None
    how_to_get: str = ""
    family: str = ""
    recorded: tuple[str, ...] = ("rgb", "depth")
    modalities: tuple[str, ...] = ("rgb", "depth", "flow")
    depth: DepthSettings = field(default_factory=DepthSettings)
    group: Callable[[Video], str] | None = None
    apart: Callable[..., str] | None = None
    expected: Mapping[str, int] = field(default_factory=dict)
    scale: str = "paper"
    default_flags: tuple[str, ...] = ()
    generate: Callable[..., None] | None = None

    @property
    def folder(self) -> str:
        """The name of the folder that holds its raw data."""
        return self.family or self.name


def draw_validation(
    videos: list[Video], num_classes: int, *, fraction: float = 0.05, per_class: int | None = None
) -> tuple[list[Video], list[Video]]:
    """Splits training videos into (training, validation), balanced over the classes.

    The authors' rule (make_list_dset_nwucla.py): sort, shuffle with seed 0, then from each class draw
    `int(total / num_classes · fraction)` videos without replacement with the class index as seed. Deviation: at
    least one per class where the class has two or more, as the rule draws none from small data sets.

    Args:
        videos: to be split.
        num_classes: labels are below it.
        fraction: of the average class.
        per_class: videos of each class, instead of the fraction; of a class that is incomplete a tenth at most.
    """
    videos = sorted(videos, key=lambda video: video.video_id)
    np.random.RandomState(0).shuffle(videos)
    wanted = max(1, int(len(videos) / num_classes * fraction)) if per_class is None else per_class
    members: dict[int, list[Video]] = {label: [] for label in range(num_classes)}
    for video in videos:
        members[video.label].append(video)
    train, validation = [], []
    for label, of_class in members.items():
        count = min(wanted, len(of_class) - 1)
        if per_class is not None:
            count = min(count, max(1, len(of_class) // 10))
        chosen = set(np.random.RandomState(label).choice(len(of_class), count, replace=False)) if count > 0 else set()
        train += [video for i, video in enumerate(of_class) if i not in chosen]
        validation += [video for i, video in enumerate(of_class) if i in chosen]
    return train, validation


def by_id(videos: Iterable[Video]) -> list[Video]:
    """The videos in the order of their names."""
    return sorted(videos, key=lambda video: video.video_id)
