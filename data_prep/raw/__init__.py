"""The data sets by name. A new one is a reader in this package and an entry here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from data_prep.raw import custom, ntu, nwucla, uwa3dii
from data_prep.raw.base import Dataset


def _render_demo(data_dir: Path, *, workers: int) -> None:
    from data_prep.synthetic.rendering.dataset import render_demo  # needed for this data set alone

    render_demo(data_dir, workers=workers)


_DEMO = dataclasses.replace(
    nwucla.DATASET,
    name="demo",
    title="demo data set (procedurally animated, rendered)",
    how_to_get="it is rendered: run python data_prep/make_tfrecords.py",
    scale="compact",
    expected={"videos": 240},
    # small, and made to be over in a few minutes: clips of 56² pixels in few colours; batches of 8 make of 150 videos
    # the 800 or so steps that RGB needs
    default_flags=(
        "--scale=compact",
        "--frame_size=64",
        "--crop_size=56",
        "--epochs=44",
        "--batch_size=8",
        "--warmup_epochs=2",
        "--batch_norm_momentum=0.9",
        "--crop_jitter=0",
        "--color_probability=0",
        "--validate_every=8",
    ),
    generate=_render_demo,
)

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset for dataset in (_DEMO, nwucla.DATASET, uwa3dii.DATASET, *ntu.DATASETS, custom.DATASET)
}
