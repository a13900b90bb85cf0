"""The data sets by name. A new one is a reader in this package and an entry here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from data_prep.datasets import nwucla
from data_prep.datasets.base import Dataset


def _render_demo(data_dir: Path, *, workers: int) -> None:
    from data_prep.rendering.dataset import render_demo  # needed for this data set alone

    render_demo(data_dir, workers=workers)


_DEMO = dataclasses.replace(
    nwucla.DATASET,
    name="demo",
    title="demo data set (procedurally animated, rendered)",
    how_to_get="it is rendered: run python data_prep/make_tfrecords.py",
    scale="compact",
    generate=_render_demo,
)

DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in (_DEMO, nwucla.DATASET)}
