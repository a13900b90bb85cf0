"""Own videos: their table says the classes, and its column `split` which videos are for what."""

from __future__ import annotations

from dmcl_tf.data.table import Video
from dmcl_tf.datasets.base import Dataset, Protocol


def side(video: Video, protocol: Protocol) -> str:
    """What the CSV file says."""
    return video.attributes["split"]


DATASET = Dataset(name="custom", title="own videos", class_names=(), side=side, modalities=())
