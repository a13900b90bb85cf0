"""What records are made of, and where they go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from data_prep.extract_frames import DataSettings
from data_prep.flow.settings import FlowSettings, GivenFlowSettings
from data_prep.running.beam import run_beam
from data_prep.running.processes import Run, run_parallel


@dataclass(frozen=True)
class RecordSettings:
    """What records are made of, where, and how the work is done.

    Attributes:
        data: the raw data set and its frames.
        output: the folder of the records.
        protocol: the settings that make the splits.
        modalities: what each record holds.
        flow: how flow is computed, or that it is given; None without flow.
        videos_per_shard: videos of one file.
        limit: videos kept of each class and split; 0 = all.
        origin: where the raw frames come from, in words.
        keep_frames: whether frames stay when their shard is complete.
        max_open: shards that are written at once.
        ignore_disk_space: whether to begin although the disk seems too small.
        beam_options: None runs in processes of this machine, a text as a Beam pipeline with these options.
    """

    data: DataSettings
    output: Path
    protocol: Mapping[str, object]
    modalities: tuple[str, ...]
    flow: FlowSettings | GivenFlowSettings | None
    videos_per_shard: int
    limit: int
    origin: str
    keep_frames: bool = True
    max_open: int = 1
    ignore_disk_space: bool = False
    beam_options: str | None = None

    def run(self, *, at_once: int | None = None) -> Run:
        """Returns what runs a function over many videos or shards."""
        if self.beam_options is None:
            return run_parallel
        return partial(run_beam, options=self.beam_options, exchange=self.output, at_once=at_once)

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
