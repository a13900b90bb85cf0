"""Own videos from the CSV file to predictions: RGB as phones and depth as sensors write it, with a tiny network."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from preparing import prepare
from raw import depth_frame, write_image, write_video

from data_prep.raw.base import RawVideo
from data_prep.video.record import VideoSettings, make_frames
from data_prep.video.sources import open_source
from dmcl_tf import evaluate, export, train
from dmcl_tf.config import resolve
from dmcl_tf.data.records import decode_video, read_record
from dmcl_tf.datasets import DATASETS
from dmcl_tf.scoring.accuracy import softmax
from workflow import predict

ODD = Path(__file__).parent / "odd_inputs"
CLASSES = ("left", "right")
CONFIG = {"frame_size": 40, "crop_size": 32, "batch_size": 2, "epochs": 1, "warmup_epochs": 0, "variant": "testing"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four videos of two classes; RGB of one is upright, of one trimmed; depth is in folders, one frame short."""
    folder = tmp_path_factory.mktemp("own")
    for index, name in enumerate(("rot90.mp4", "trim.mp4", "plain.avi", "test.avi")):
        path = folder / name
        if path.suffix == ".avi":
            write_video(path, 20, index)
        else:
            shutil.copy(ODD / name, path)
        for frame in range(len(list(open_source(path).frames())) - 1):
            write_image(folder / f"{path.stem}_depth" / f"{frame:03}.png", depth_frame(frame, index))
    rows = [("video_id", "label", "split", "RGB", "depth")]
    # by name: plain, rot90, test, trim; the one that is turned is predicted in the end
    kinds = zip(("left", "left", "right", "right"), ("train", "test", "train", "val"), sorted(folder.glob("*.*")))
    for label, split, name in kinds:
        rows.append((name.stem, label, split, name.name, f"{name.stem}_depth"))
    with (folder / "videos.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    return folder


@pytest.fixture(scope="module")
def records(folder):
    flags = ("--dataset=custom", f"--videos={folder}/videos.csv", "--frame_size=40", "--depth_mode=clip_mm")
    return prepare(*flags, f"--data_dir={folder}/data")


def test_records(folder, records):
    about = records.description
    assert (about.class_names, about.modalities) == (CLASSES, ("rgb", "depth"))
    lengths = {video.video_id: video.length for video in records.videos}
    assert lengths == {"plain": 19, "rot90": 29, "test": 19, "trim": 18}
    assert all("aligned on the first" in video.warnings for video in records.videos)
    stored = decode_video(read_record(records.path(records.by_id["rot90"])))[1]
    video = RawVideo("rot90", "left", {"rgb": open_source(folder / "rot90.mp4")})
    assert stored["rgb"] == make_frames(video, VideoSettings(("rgb",), 40))[0]["rgb"][:29]


def test_from_training_to_predictions(folder, records, tmp_path):
    config = resolve("authors", "full", {**CONFIG, "modalities": ("rgb", "depth")})
    protocol = DATASETS["custom"].protocol()
    run = train.train(train.TrainSettings(config, "custom", records.directory, protocol, tmp_path / "run"))
    results = evaluate.evaluate(evaluate.EvaluateSettings(run.directory))
    assert set(results.accuracy) == {"rgb", "depth", "rgb+depth", "sum", "sum_probabilities", "oracle"}
    table = pd.read_csv(run.directory / "predictions.csv", index_col="video_id")
    model, exported = predict.find_model(export.export(export.ExportSettings(run.directory, tmp_path / "model")))
    assert exported.class_names == CLASSES
    (video_id,) = table.index
    assert video_id == "rot90"
    for subset in (("depth",), ("rgb", "depth")):
        files = {"rgb": next(folder.glob(f"{video_id}.*")), "depth": folder / f"{video_id}_depth"}
        paths = {modality: files[modality] for modality in subset}
        if subset == ("depth",):  # its name seeds the choice of frames
            paths = {"depth": shutil.copytree(files["depth"], tmp_path / video_id)}
        probabilities, moments = predict.predict_video(predict.PredictSettings(model, exported, paths))
        assert moments == 29
        assert probabilities.sum() == pytest.approx(1, abs=1e-5)
        logits = [[table.loc[video_id, f"{modality}:{name}"] for name in CLASSES] for modality in subset]
        # but for the JPEG of the records
        np.testing.assert_allclose(probabilities, softmax(np.mean(logits, axis=0)), atol=0.05)
