"""Own videos from the CSV file to predictions: ten real RGB and depth clips of five gestures, with a small network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from absl import flags
from tiny_run import small_networks

from data_prep import make_tfrecords
from dmcl_tf import evaluate, export
from dmcl_tf.config import resolve
from dmcl_tf.data import records
from dmcl_tf.learning import loop as training
from dmcl_tf.runs.folder import Run, RunFolder
from workflow import predict

__all__ = ["small_networks"]  # acts on every test here

GESTURES = Path(__file__).parents[2] / "shared/data/rgbd_gestures"
CLIP = GESTURES / "class_03/subject11_r1"
CLASSES = tuple(f"class_{number:02d}" for number in range(1, 6))

pytestmark = pytest.mark.skipif(not GESTURES.exists(), reason=f"needs the real clips in {GESTURES}")


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    values = flags.FlagValues()
    make_tfrecords.define_flags(values)
    arguments = ["--dataset=custom", f"--videos={GESTURES}/videos.csv", "--size=40", "--workers=2"]
    values(["make_tfrecords", *arguments, f"--data_dir={tmp_path_factory.mktemp('data')}"])
    settings = make_tfrecords.settings_from_flags(values)
    make_tfrecords.make_records(settings)
    return records.DatasetInfo.load(settings.output)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, info):
    """A run of a few epochs."""
    changes = {"frame_size": 40, "crop_size": 32, "batch_size": 5, "epochs": 3, "warmup_epochs": 1}
    config = resolve("authors", "compact", {**changes, "modalities": ("rgb", "depth")})
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.create_or_match(Run(info.dataset, str(info.directory), info.class_names, config, depth=info.depth))
    training.train(config, info, folder, tf.distribute.get_strategy())
    return folder


def test_records(info):
    assert (info.class_names, info.modalities, info.skipped) == (CLASSES, ("rgb", "depth"), ())
    assert info.counts["train"] == info.counts["test"] == dict.fromkeys(CLASSES, 1)
    assert not any(info.counts["validation"].values())  # one training video of a class is too few to give one away
    aligned = [entry["video_id"] for entry in info.warnings if "aligned on the first 240" in entry["reason"]]
    assert aligned == ["class_02_subject3_r1", "class_05_subject7_r0"]
    lengths = {}
    for path in (*info.shard_paths("train"), *info.shard_paths("test")):
        for serialized in tf.data.TFRecordDataset(str(path)):
            context, frames = records.parse_video(serialized, info.modalities)
            lengths[context["video_id"].numpy().decode()] = int(context["length"])
            assert len(frames["rgb"]) == len(frames["depth"]) == int(context["length"])
    assert len(lengths) == 10
    assert set(lengths.values()) == {238, 240, 241}


def test_from_training_to_predictions(info, folder, tmp_path):
    results = evaluate.evaluate(folder, "test", "best")
    assert (results["videos"], results["epoch"]) == (5, 2)
    assert set(results["accuracy"]) == {"rgb", "depth", "sum", "sum_probabilities", "oracle", "subsets"}
    model, record = predict.find_version(export.export(folder, tmp_path, "best", ()))
    assert record["class_names"] == list(CLASSES)
    for subset in (("rgb",), ("depth",), ("rgb", "depth")):
        sources = {modality: predict.open_source(CLIP / f"{modality}.avi") for modality in subset}
        probabilities, moments = predict.predict(model, record, sources, "class_03_subject11_r1", clips=10)
        assert moments == 238
        assert probabilities.sum() == pytest.approx(1, abs=1e-5)
        evaluated = _evaluated(folder, subset)
        # but for the JPEG of the records
        np.testing.assert_allclose(probabilities, evaluated, atol=0.02)


def _evaluated(folder: RunFolder, subset: tuple[str, ...]) -> np.ndarray:
    """The clip's probabilities from the evaluation's predictions.csv."""
    row = pd.read_csv(folder.directory / "predictions.csv", index_col="video_id").loc["class_03_subject11_r1"]
    logits = np.log([[float(row[f"{modality}:{name}"]) for name in CLASSES] for modality in subset]).mean(axis=0)
    return np.exp(logits) / np.exp(logits).sum()
