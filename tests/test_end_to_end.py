"""One command from NW-UCLA's folders to a SavedModel, and the same command again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny_run import smooth_clips

from data_prep.video.frames import resize
from dmcl_tf import export
from dmcl_tf.data import records
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
MODALITIES = ("depth", "flow")  # rgb is what flow is computed from; two networks take half the time of three
CLASSES = 10
# A batch of as many videos as classes: the case in which a wrongly shaped selection of samples goes unnoticed.
SETTINGS = ["--frame_size=40", "--crop_size=32", "--width=4", f"--batch_size={CLASSES}", "--epochs=2"]
SETTINGS += [
    "--modalities=depth,flow",
    "--validate_every=1",
    "--warmup_epochs=0",
    "--flow_preset=fast",
    "--workers=2",
    "--run_name=mini",
]


def short_clip(folder: Path, frames: int) -> None:
    """Leaves the first frames of a clip alone."""
    for modality in ("rgb", "depth_vis"):
        paths = sorted(folder.glob(f"*_{modality}.jpg"), key=lambda path: int(path.name.split("_")[1]))
        for path in paths[frames:]:
            path.unlink()


@pytest.fixture(scope="module")
def done(tmp_path_factory, write_nwucla_tree):
    """The finished command: its folder, itself, and what it printed."""
    root = tmp_path_factory.mktemp("whole")
    raw = write_nwucla_tree(root / "data" / "nwucla") / "multiview_action"
    for view in (1, 3):
        for label, folder in enumerate(sorted((raw / f"view_{view}").iterdir())[:9]):
            short_clip(folder, 1 + label)  # 1 … 9 frames
    for path in (raw / "view_2/a03_s01_e00").glob("*_depth_vis.jpg"):
        path.unlink()
    return root, run(root)


def run(root):
    folders = [f"--checkpoints={root}/checkpoints", f"--export_dir={root}/exported"]
    return subprocess.run(
        [sys.executable, "-m", "workflow.stages", "nwucla", *SETTINGS, *folders],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "DATA_ROOT": str(root / "data")},
        check=False,
    )


def run_folder(root):
    return RunFolder(root / "checkpoints/nwucla/dmcl/mini")


def test_every_stage_runs_and_says_where_its_results_are(done):
    root, command = done
    assert command.returncode == 0, command.stderr
    parts = command.stdout.split("\n== nwucla: ")[1:]
    assert [part.split(" ==")[0] for part in parts] == ["prepare", "train", "evaluate", "export"]
    prepare, train, evaluate, export_ = parts
    assert "1 videos skipped" in prepare
    assert f"run: {run_folder(root).directory}" in train
    assert "nwucla · dmcl · authors recipe · paper scale · seed 0" in evaluate
    assert all(f"\n{name} " in evaluate for name in (*MODALITIES, "sum", "oracle", "depth+flow"))
    assert f"SavedModel: {root}/exported/1" in export_
    leftovers = [path for path in root.rglob("*") if "partial" in path.name]
    assert leftovers == []


def test_records_hold_short_clips_and_frames_in_order(done):
    root, _ = done
    info = records.DatasetInfo.load(root / "data/nwucla/records/40")
    assert {split: sum(counts.values()) for split, counts in info.counts.items()} == {
        "train": CLASSES,
        "validation": CLASSES - 1,  # drop trash has one video left in the training views
        "test": CLASSES,
    }
    (skipped,) = info.skipped
    assert skipped["video_id"] == "a03_s01_e00_v02"
    assert "it has no depth frames" in skipped["reason"]
    lengths = {}
    for path in info.shard_paths("test"):
        for serialized in tf.data.TFRecordDataset(str(path)):
            context, frames = records.parse_video(serialized, MODALITIES)
            lengths[context["video_id"].numpy().decode()] = int(context["length"])
            if context["video_id"].numpy() == b"a12_s01_e00_v03":
                stored = [tf.io.decode_jpeg(jpeg).numpy()[..., 0].astype(float) for jpeg in frames["depth"]]
    assert sorted(lengths.values()) == [9] * 9 + [10]
    folder = root / "data/nwucla/multiview_action/view_3/a12_s01_e00"
    raw = []
    for number in range(95, 105):  # 99 and 100 are neighbours
        (path,) = folder.glob(f"frame_{number}_tc_*_depth_vis.jpg")
        raw.append(resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), 40))
    for i, frame in enumerate(stored):
        distances = [np.abs(frame - other).mean() for other in raw]
        assert int(np.argmin(distances)) == i


def test_the_run_and_its_results(done):
    folder = run_folder(done[0])
    run = folder.load()
    assert (run.config.width, run.config.batch_size, run.config.epochs) == (4, CLASSES, 2)
    history = pd.read_csv(folder.history_path)
    assert history["epoch"].tolist() == [0, 1]
    assert np.isfinite(history.to_numpy(float)).all()
    np.testing.assert_allclose(sum(history[f"{modality}_wins"] for modality in MODALITIES), 1)
    results = json.loads((folder.directory / "results.json").read_text())
    assert (results["videos"], results["clips_per_video"], results["checkpoint"]) == (CLASSES, 10, "best")
    assert results["protocol"] == {"train_views": [1, 2], "test_view": 3}
    assert results["origin"] == "NW-UCLA"
    predictions = pd.read_csv(folder.directory / "predictions.csv")
    assert sorted(predictions["label"]) == list(range(CLASSES))
    for modality in MODALITIES:
        probabilities = predictions.filter(like=f"{modality}:").to_numpy()
        assert probabilities.shape == (CLASSES, CLASSES)
        accuracy = 100 * np.mean(probabilities.argmax(axis=1) == predictions["label"])
        assert results["accuracy"][modality] == pytest.approx(accuracy)


def test_the_saved_model_is_the_run(done):
    root, _ = done
    model = tf.saved_model.load(str(root / "exported/1"))
    assert sorted(model.signatures) == ["depth", "depth_flow", "flow", "serving_default"]
    ensemble, _ = restore_ensemble(run_folder(root), "best")
    run = run_folder(root).load()
    clips = {modality: smooth_clips(48, 64)[modality] for modality in MODALITIES}
    served = model.signatures["depth_flow"](**{name: tf.constant(clip) for name, clip in clips.items()})
    expected = export.predict(ensemble, clips, run.config, run.class_names)
    np.testing.assert_allclose(served["probabilities"], expected["probabilities"], atol=1e-5)
    assert served["classes"].numpy().tolist() == expected["classes"].numpy().tolist()


def test_the_same_command_again_changes_nothing(done):
    root, _ = done
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    again = run(root)
    assert again.returncode == 0, again.stderr
    assert "complete: 2 epochs" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
