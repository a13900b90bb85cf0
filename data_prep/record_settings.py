"""What records are made of, and where they go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from data_prep.extract_frames import DataSettings
from data_prep.flow.settings import FlowSettings, GivenFlowSettings


@dataclass(frozen=True)
class RecordSettings:
    """What records are made of, and where."""

    data: DataSettings
    output: Path
    protocol: Mapping[str, object]
    modalities: tuple[str, ...]
    flow: FlowSettings | GivenFlowSettings | None
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
