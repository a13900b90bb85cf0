"""The worked examples of docs/extending.md: a data set, a method and a network that are added, and then used."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep import make_tfrecords
from data_prep.raw import READERS
from dmcl_tf import evaluate, train
from dmcl_tf.datasets import DATASETS
from dmcl_tf.methods import LOSSES
from dmcl_tf.networks import NETWORKS
from dmcl_tf.registry import METHODS, VARIANTS
from workflow import stages

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "extending.md"
REGISTRIES = (READERS, DATASETS, LOSSES, METHODS, NETWORKS, VARIANTS)


@pytest.fixture
def examples():
    """Runs the code of the document; what it registers is gone afterwards."""
    before = [dict(registry) for registry in REGISTRIES]
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    try:
        for block in blocks:
            exec(block, {})
        assert all(len(registry) == len(old) + 1 for registry, old in zip(REGISTRIES, before))
        yield
    finally:
        for registry, old in zip(REGISTRIES, before):
            registry.clear()
            registry.update(old)


def test_the_examples_work_together(examples, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.delenv("CALLED_FROM", raising=False)
    for label, step in (("left", -2), ("right", 2)):
        for subject in ("anna", "ben", "cleo", "dora"):
            folder = tmp_path / "data/squares/squares" / label / subject
            folder.mkdir(parents=True)
            for index in range(10):
                image = np.full((32, 32, 3), 40, np.uint8)
                start = 12 + step * (index - 5)
                image[10:20, start : start + 8] = 200
                cv2.imwrite(str(folder / f"{index}.png"), image)
    arguments = ["--frame_size=24", "--crop_size=16", "--epochs=2", "--batch_size=2", "--width=4", "--workers=1"]
    arguments += ["--method=softened", "--variant=one_convolution", "--test_subject=ben", "--temperature=3"]
    arguments += ["--warmup_epochs=0", f"--checkpoints={tmp_path}/checkpoints"]
    pipeline = stages.make_pipeline(stages.parse("squares", arguments))
    records = make_tfrecords.make_records(pipeline.prepare)
    assert len(records.videos) == 8
    folder = train.train(pipeline.train)
    run = folder.load()
    assert run.protocol["test_subject"] == "ben"
    assert run.videos == {"train": 4, "validation": 2, "test": 2}
    assert folder.read_history()["epoch"].tolist() == [0, 1]
    results = evaluate.evaluate(pipeline.evaluate)
    assert results.evaluated.videos == 2
    assert 0 <= results.accuracy["rgb"] <= 100
