"""What every reader of raw folders produces, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from data_prep.video.depth import DepthSettings
from data_prep.video.sources import Source
from dmcl_tf.datasets.base import Setting


@dataclass(frozen=True)
class RawVideo:
    """One video with the raw frames of each modality that was recorded (not of computed ones).

    Attributes:
        video_id: also the name of its record.
        label: name of its class.
        sources: by modality.
        attributes: what protocols ask for, as texts: subject, view, setup; of own videos also split.
    """

    video_id: str
    label: str
    sources: Mapping[str, Source]
    attributes: Mapping[str, str] = field(default_factory=dict)


class Listed(NamedTuple):
    """What a table of videos says of one; attributes as of `RawVideo`."""

    label: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Skipped:
    """Something that was left out: a video, or single frames of it; `reason` names the file and what to do."""

    video_id: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What a reader found."""

    videos: tuple[RawVideo, ...]
    skipped: tuple[Skipped, ...] = ()  # whole videos
    warnings: tuple[Skipped, ...] = ()  # single frames; the video is kept
    excluded: tuple[Skipped, ...] = ()  # whole videos that the data set's users are known to leave out
    away: tuple[str, ...] = ()  # those of the skipped whose files are not there at all


@dataclass(frozen=True)
class Reader:
    """How the raw folders of a data set, or of a family of data sets, are read.

    Attributes:
        list_videos: `list_videos(data_dir)` → `Listing`; raises `InputError` where the layout is not there,
            which says what to download, from where, how to unpack it, and where to put it.
        recorded: the modalities of its videos.
        optional: further modalities that its videos may have; records hold them where `--modalities` names them.
        modalities: what records hold unless `--modalities` says otherwise; flow that is not recorded is computed.
        flow_from: the modality that flow is computed from unless `--flow_from` says otherwise.
        person_in: the modality that says where in the frames the person is, for `--crop=person`; "" where none does.
        class_names: by label, of all data sets of the family; empty before `configure` where that says them.
        listed: what a table says of each video, by its name; empty where the raw folders say it.
        depth: how depth becomes 8 bits unless flags say otherwise.
        options: the settings that say what the raw data are; `configure(**options, modalities=…)` returns the reader so
            described, of all modalities where these are None.
        configure: None where there are no options.
        generate: `generate(data_dir, workers=n)` makes the raw data, continuing where it was interrupted; None where
            they have to be downloaded.
    """

    list_videos: Callable[[Path], Listing]
    recorded: tuple[str, ...] = ("rgb", "depth")
    optional: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ("rgb", "depth", "flow")
    flow_from: str = "rgb"
    person_in: str = "depth"
    class_names: tuple[str, ...] = ()
    listed: Mapping[str, Listed] = field(default_factory=dict)
    depth: DepthSettings = field(default_factory=DepthSettings)
    options: Mapping[str, Setting] = field(default_factory=dict)
    configure: Callable[..., Reader] | None = None
    generate: Callable[..., None] | None = None
