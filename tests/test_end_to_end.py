"""From NW-UCLA's folders to a SavedModel, every stage with the settings of one command line, and the same again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny_run import smooth_clips

from data_prep.video.frames import resize
from dmcl_tf import serving
from dmcl_tf.data.records import decode_video, read_record
from dmcl_tf.data.table import Records
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.scoring.results import read_results
from workflow import stages

MODALITIES = ("depth", "flow")  # rgb is what flow is computed from; two networks take half the time of three
CLASSES = 10
# A batch of as many videos as classes: the case in which a wrongly shaped selection of samples goes unnoticed.
SETTINGS = ["--frame_size=40", "--crop_size=32", "--variant=testing", f"--batch_size={CLASSES}", "--epochs=2"]
SETTINGS += [
    "--modalities=depth,flow",
    "--validate_every=1",
    "--warmup_epochs=0",
    "--flow_preset=fast",
    "--workers=1",
    "--run_name=mini",
]


def short_clip(folder: Path, frames: int) -> None:
    """Leaves the first frames of a clip alone."""
    for modality in ("rgb", "depth_vis"):
        paths = sorted(folder.glob(f"*_{modality}.jpg"), key=lambda path: int(path.name.split("_")[1]))
        for path in paths[frames:]:
            path.unlink()


def run_stages(root):
    """Every stage of the command, in this process."""
    folders = [f"--checkpoints={root}/checkpoints", f"--export_dir={root}/exported"]
    pipeline = stages.make_pipeline(stages.parse("nwucla", [*SETTINGS, *folders]))
    for name, stage in stages.STAGES.items():
        stage(getattr(pipeline, name))


@pytest.fixture(scope="module")
def root(tmp_path_factory, write_nwucla_tree):
    """The folder of a finished command."""
    root = tmp_path_factory.mktemp("whole")
    raw = write_nwucla_tree(root / "data" / "nwucla") / "multiview_action"
    for view in (1, 3):
        for label, folder in enumerate(sorted((raw / f"view_{view}").iterdir())[:9]):
            short_clip(folder, 1 + label)  # 1 … 9 frames
    for path in (raw / "view_2/a03_s01_e00").glob("*_depth_vis.jpg"):
        path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ROOT", str(root / "data"))
        run_stages(root)
        yield root
    keras.mixed_precision.set_global_policy("float32")


def run_folder(root):
    return RunFolder(root / "checkpoints/nwucla/dmcl/mini")


def test_records_hold_short_clips_and_frames_in_order(root):
    records = Records.load(root / "data/nwucla/records/40")
    skipped = pd.read_csv(records.directory / "skipped.csv")
    assert skipped["video_id"].tolist() == ["a03_s01_e00_v02"]
    assert "depth" in skipped["reason"][0]
    assert len(records.videos) == 3 * CLASSES - 1
    lengths = {video.video_id: video.length for video in records.videos if video.attributes["view"] == "3"}
    assert sorted(lengths.values()) == [9] * 9 + [10]
    _, frames = decode_video(read_record(records.path(records.by_id["a12_s01_e00_v03"])))
    folder = root / "data/nwucla/multiview_action/view_3/a12_s01_e00"
    raw = []
    for number in range(95, 105):  # 99 and 100 are neighbours
        (path,) = folder.glob(f"frame_{number}_tc_*_depth_vis.jpg")
        raw.append(resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), 40))
    for i, image in enumerate(frames["depth"]):
        stored = tf.io.decode_jpeg(image).numpy()[..., 0].astype(float)
        assert int(np.argmin([np.abs(stored - other).mean() for other in raw])) == i
    assert not [path for path in root.rglob("*") if "partial" in path.name]


def test_the_run_and_its_results(root):
    folder = run_folder(root)
    run = folder.load()
    assert (run.config.variant, run.config.batch_size, run.config.epochs) == ("testing", CLASSES, 2)
    # drop trash has one video left in the training views, which cannot be spared for validation
    assert run.videos == {"train": CLASSES, "validation": CLASSES - 1, "test": CLASSES}
    assert (run.protocol["train_views"], run.protocol["test_view"], run.origin) == ([1, 2], 3, "NW-UCLA")
    history = pd.read_csv(folder.history_path)
    assert history["epoch"].tolist() == [0, 1]
    assert np.isfinite(history.to_numpy(float)).all()
    np.testing.assert_allclose(sum(history[f"{modality}_wins"] for modality in MODALITIES), 1)
    results = read_results(folder.directory)
    assert (results.evaluated.videos, results.evaluated.checkpoint) == (CLASSES, "best")
    predictions = pd.read_csv(folder.directory / "predictions.csv")
    assert sorted(predictions["label"]) == list(range(CLASSES))
    for modality in MODALITIES:
        logits = predictions.filter(like=f"{modality}:").to_numpy()
        assert logits.shape == (CLASSES, CLASSES)
        accuracy = 100 * np.mean(logits.argmax(axis=1) == predictions["label"])
        assert results.accuracy[modality] == pytest.approx(accuracy)


def test_the_saved_model_is_the_run(root):
    model = tf.saved_model.load(str(root / "exported/1"))
    assert sorted(model.signatures) == ["depth", "depth_flow", "flow", "serving_default"]
    ensemble = restore_ensemble(run_folder(root), "best")
    run = run_folder(root).load()
    clips = {modality: smooth_clips(48, 64)[modality] for modality in MODALITIES}
    served = model.signatures["depth_flow"](**{name: tf.constant(clip) for name, clip in clips.items()})
    networks = {m: partial(serving.clip_logits, network, run.config) for m, network in ensemble.networks.items()}
    expected = serving.predict(networks, clips, run.config, run.class_names)
    np.testing.assert_allclose(served["probabilities"], expected["probabilities"], atol=1e-5)
    assert served["classes"].numpy().tolist() == expected["classes"].numpy().tolist()


def test_the_same_command_again_changes_nothing(root, capsys):
    def state(path):
        """When a file was written; of the tables of records, which are written anew, the content."""
        return path.read_bytes() if path.parent == root / "data/nwucla/records/40" else path.stat().st_mtime_ns

    def files():
        return {path: state(path) for path in root.rglob("*") if path.is_file() and path.name != ".lock"}

    before = files()
    run_stages(root)
    assert files() == before
    assert "complete: 2 epochs" in capsys.readouterr().out
