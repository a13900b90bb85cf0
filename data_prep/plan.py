"""What a folder of records is made of, written down before the first shard, so that an interrupted run can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dmcl_tf.errors import InputError
from dmcl_tf.files import check_settings, write_json

if TYPE_CHECKING:
    from dmcl_tf.data.records import Shard

_PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class Plan:
    """What a folder of records is made of; the same plan always gives the same bytes.

    Attributes:
        settings: every setting that shapes the records.
        sources: checksum of the raw files of every video asked for, by video id.
        shards: video ids by shard name, in order.
    """

    settings: Mapping[str, object]
    sources: Mapping[str, str]
    shards: Mapping[str, Sequence[str]]

    @classmethod
    def load(cls, output: Path) -> Plan | None:
        """Reads the plan of a folder of records; None where none was begun."""
        path = output / _PLAN_FILE
        if not path.exists():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error}); delete {output} and run the same command again") from error

    def save(self, output: Path) -> None:
        """Writes the plan."""
        write_json(output / _PLAN_FILE, asdict(self))

    def check_settings(self, output: Path, settings: Mapping[str, object]) -> None:
        """Checks that records begun by this plan were begun with the given settings.

        Raises:
            InputError: they were not.
        """
        check_settings(output, self.settings, settings, _remedy(output))

    def check_sources(self, output: Path, sources: Mapping[str, str]) -> None:
        """Checks that the raw files are those that this plan was made for.

        Raises:
            InputError: videos were added, removed or changed since.
        """
        if sources == self.sources:
            return
        new, gone = sources.keys() - self.sources.keys(), self.sources.keys() - sources.keys()
        changed = [video for video in sources.keys() & self.sources.keys() if sources[video] != self.sources[video]]
        raise InputError(
            f"{output} holds records of other raw videos ({len(new)} are new, {len(changed)} changed and {len(gone)} "
            f"gone since, for example {min([*new, *changed, *gone])}): {_remedy(output)}"
        )

    def complete_videos(self, output: Path) -> set[str]:
        """The videos of the shards that are there, each of its size where that is recorded."""
        recorded = recorded_shards(output)
        return {
            video_id
            for name, video_ids in self.shards.items()
            if is_complete_shard(output / name, recorded.get(name))
            for video_id in video_ids
        }

    def is_complete(self, output: Path) -> bool:
        """Whether `dataset.json` and every shard are there, each of its recorded size."""
        recorded = recorded_shards(output)
        return recorded.keys() == self.shards.keys() and all(
            is_complete_shard(output / name, shard) for name, shard in recorded.items()
        )


def is_complete_shard(path: Path, recorded: Shard | None) -> bool:
    """Whether a shard is there, of its recorded size where `dataset.json` was written before."""
    return path.is_file() and (recorded is None or path.stat().st_size == recorded.bytes)


def _remedy(output: Path) -> str:
    return f"delete {output} to make them again, or use another --output"


def recorded_shards(output: Path) -> dict[str, Shard]:
    """The shards that a finished `dataset.json` lists, by name; none where it is missing or damaged."""
    from dmcl_tf.data.records import DatasetInfo  # here, as it takes TensorFlow, which plans do not

    try:
        info = DatasetInfo.load(output)
    except InputError:
        return {}
    return {shard.name: shard for members in info.shards.values() for shard in members}
