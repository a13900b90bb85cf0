"""Results of a run: every accuracy can be computed again from the predictions, and what is there is kept."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny import MODALITIES
from tiny_run import make_config, make_run, save_checkpoint, small_networks, write_noisy_records

from dmcl_tf import evaluate as script
from dmcl_tf.data import records
from dmcl_tf.datasets import paper
from dmcl_tf.errors import InputError
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import RunFolder, write_text

__all__ = ["small_networks"]  # acts on every test here

ROOT = Path(__file__).resolve().parents[1]
KEYS = {
    *("dataset", "method", "recipe", "seed", "split", "videos", "clips_per_video", "checkpoint", "accuracy"),
    *("per_class", "config"),
    *("scale", "protocol", "origin", "epoch", "weights"),  # what tells these results from others
}
PAIRS = ["rgb+depth", "rgb+flow", "depth+flow"]


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    return write_noisy_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, info):
    """A run, not to be changed."""
    return make_run(tmp_path_factory.mktemp("trained"), info, make_config())


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, trained):
    """A copy of it with results, not to be changed, and what `evaluate` returned."""
    folder = copy(trained, tmp_path_factory.mktemp("evaluated"))
    return folder, script.evaluate(folder, "test", "best")


def copy(folder, directory):
    shutil.copytree(folder.directory, directory / "run")
    return RunFolder(directory / "run")


@pytest.fixture
def own(evaluated, tmp_path):
    """A copy of the run with results, to be changed."""
    return copy(evaluated[0], tmp_path)


def read_predictions(folder, class_names):
    """Video ids, labels and probabilities (M, V, C) of predictions.csv."""
    table = pd.read_csv(folder.directory / "predictions.csv")
    columns = [[f"{modality}:{name}" for name in class_names] for modality in MODALITIES]
    assert list(table.columns) == ["video_id", "label", *itertools.chain(*columns)]
    return list(table["video_id"]), table["label"].to_numpy(), np.stack([table[names].to_numpy() for names in columns])


def percent(correct):
    return pytest.approx(100 * np.mean(correct))


def test_results_hold_every_setting_and_accuracy(evaluated, info):
    folder, returned = evaluated
    results = json.loads((folder.directory / "results.json").read_text())
    assert results == returned
    assert set(results) == KEYS
    expected = {"dataset": "tiny", "method": "dmcl", "recipe": "authors", "scale": "paper", "seed": 0, "split": "test"}
    expected.update(videos=7, clips_per_video=3, checkpoint="best", epoch=5, origin="drawn", protocol={})
    assert {name: results[name] for name in expected} == expected
    assert results["config"] == make_config().to_json()
    assert list(results["accuracy"]) == [*MODALITIES, "sum", "sum_probabilities", "oracle", "subsets"]
    assert list(results["accuracy"]["subsets"]) == [*PAIRS, "rgb+depth+flow"]
    assert list(results["per_class"]) == [*MODALITIES, "sum"]
    for classes in results["per_class"].values():
        assert list(classes) == list(info.class_names)


def test_every_accuracy_follows_from_the_predictions(evaluated, info):
    folder, results = evaluated
    video_ids, labels, probabilities = read_predictions(folder, info.class_names)
    assert sorted(video_ids) == [f"test-{k}" for k in range(7)]
    assert labels.tolist() == [int(name.split("-")[1]) % 6 for name in video_ids]
    np.testing.assert_allclose(probabilities.sum(axis=2), 1, rtol=1e-5)
    alone = probabilities.argmax(axis=2)
    assert all(len(set(classes)) > 1 for classes in alone)  # else nothing would be shown below
    accuracy = results["accuracy"]
    for row, modality in enumerate(MODALITIES):
        assert accuracy[modality] == percent(alone[row] == labels)
        for label, name in enumerate(info.class_names):
            assert results["per_class"][modality][name] == percent(alone[row][labels == label] == label)
    logits = np.log(probabilities)  # but for a constant, which no comparison of classes sees
    for name, value in accuracy["subsets"].items():
        rows = [MODALITIES.index(modality) for modality in name.split("+")]
        assert value == percent(logits[rows].sum(axis=0).argmax(axis=1) == labels)
    assert accuracy["sum"] == accuracy["subsets"]["rgb+depth+flow"]
    assert accuracy["sum_probabilities"] == percent(probabilities.sum(axis=0).argmax(axis=1) == labels)
    assert accuracy["oracle"] == percent((alone == labels).any(axis=0))


def test_confusion_counts_every_video_once(evaluated, info):
    folder, results = evaluated
    table = pd.read_csv(folder.directory / "confusion.csv")
    assert list(table.columns) == ["prediction by", "true class", *info.class_names]
    assert list(table["prediction by"].unique()) == [*MODALITIES, "sum"]
    for name, block in table.groupby("prediction by"):
        assert list(block["true class"]) == list(info.class_names)
        counts = block[list(info.class_names)].to_numpy()
        assert counts.sum(axis=1).tolist() == list(info.counts["test"].values())
        assert 100 * np.trace(counts) / 7 == pytest.approx(results["accuracy"][name])


def test_logits_are_the_average_over_the_fixed_clips(evaluated, trained, info):
    """Against a plain loop: decode every frame, crop, one clip at a time through the networks."""
    ensemble, _ = restore_ensemble(trained, "best")
    video_ids, _, probabilities = read_predictions(evaluated[0], info.class_names)
    serialized = {}
    for path in info.shard_paths("test"):
        for video in tf.data.TFRecordDataset(str(path)):
            context, frames = records.parse_video(video, MODALITIES)
            serialized[context["video_id"].numpy().decode()] = frames
    for column, video_id in enumerate(video_ids[:3]):
        clips = info.clips["test"][video_id]
        assert len({tuple(indices) for indices in clips}) > 1
        for row, modality in enumerate(MODALITIES):
            frames = [tf.io.decode_jpeg(jpeg, 3).numpy() for jpeg in serialized[video_id][modality]]
            images = [np.stack([frames[index][4:36, 4:36] for index in indices]) for indices in clips]
            logits = [ensemble({modality: image[None].astype(np.float32)})[modality][0].numpy() for image in images]
            expected = tf.nn.softmax(np.mean(logits, axis=0)).numpy()
            np.testing.assert_allclose(probabilities[row, column], expected, atol=1e-5)


def test_results_of_the_same_weights_are_kept(own, monkeypatch):
    monkeypatch.setattr(script, "restore_ensemble", None)  # evaluating again would need it
    paths = [own.directory / name for name in ("results.json", "predictions.csv", "confusion.csv")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    again = script.evaluate(own, "test", "best")
    assert json.loads(before[0][0]) == again
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths] == before


@pytest.mark.parametrize("epoch", [5, 6])
def test_results_of_other_weights_are_made_again_even_of_the_same_epoch(own, evaluated, info, epoch):
    save_checkpoint(own, info, "best", epoch=epoch, seed=3)
    results = script.evaluate(own, "test", "best")
    assert results["epoch"] == epoch
    assert results["weights"] != evaluated[1]["weights"]
    before, after = (read_predictions(folder, info.class_names)[2] for folder in (evaluated[0], own))
    assert np.abs(before - after).max() > 0.01


def test_the_other_checkpoint_and_the_other_split(own, evaluated):
    last = script.evaluate(own, "test", "last")
    assert (last["checkpoint"], last["epoch"]) == ("last", 7)
    assert last["accuracy"] != evaluated[1]["accuracy"]
    results_of_last = (own.directory / "results.json").read_bytes()
    validation = script.evaluate(own, "validation", "best")
    assert (validation["split"], validation["videos"]) == ("validation", 2)
    assert validation["per_class"]["rgb"]["class 5"] is None  # two videos do not have all six classes
    for name in ("results", "predictions", "confusion"):
        assert list(own.directory.glob(f"{name}_validation.*"))
    assert (own.directory / "results.json").read_bytes() == results_of_last


@pytest.mark.parametrize("name", ["results.json", "confusion.csv"])
def test_a_missing_or_damaged_file_is_made_again(own, evaluated, name):
    expected = (own.directory / name).read_bytes()
    if name == "results.json":
        (own.directory / name).write_text('{"accuracy": ')
    else:
        (own.directory / name).unlink()
    assert script.evaluate(own, "test", "best") == evaluated[1]
    assert (own.directory / name).read_bytes() == expected


def test_records_elsewhere(own, evaluated, info, tmp_path):
    shutil.copytree(info.directory, tmp_path / "moved")
    (own.directory / "results.json").unlink()
    assert script.evaluate(own, "test", "best", tmp_path / "moved") == evaluated[1]


def test_records_of_other_videos_are_evaluated_afresh(own, evaluated, info, tmp_path):
    other = shutil.copytree(info.directory, tmp_path / "other")
    dataclasses.replace(info, protocol={"train_views": [1, 3], "test_view": 2}).save(other)
    results = script.evaluate(own, "test", "best", other)
    assert results["protocol"] == {"train_views": [1, 3], "test_view": 2}
    assert results["accuracy"] == evaluated[1]["accuracy"]


def test_groups_of_test_videos_are_reported_singly_and_averaged(own, evaluated, info, tmp_path):
    """Two test views, for one: each alone, all together, and the mean in which both views count the same."""
    views = {f"test-{k}": "view 3" if k < 5 else "view 4" for k in range(7)}
    other = shutil.copytree(info.directory, tmp_path / "other")
    dataclasses.replace(info, groups={"test": views}).save(other)
    (own.directory / "results.json").unlink()
    results = script.evaluate(own, "test", "best", other)
    groups = results["groups"]
    assert {name: group["videos"] for name, group in groups.items()} == {"view 3": 5, "view 4": 2, "mean": 7}
    video_ids, labels, probabilities = read_predictions(own, info.class_names)
    right = probabilities.argmax(axis=2) == labels
    for name in ("view 3", "view 4"):
        of_view = [views[video_id] == name for video_id in video_ids]
        assert groups[name]["accuracy"]["depth"] == percent(right[1, of_view])
        assert groups[name]["accuracy"]["oracle"] == percent(right[:, of_view].any(axis=0))
    for name, value in groups["mean"]["accuracy"].items():
        assert value == pytest.approx((groups["view 3"]["accuracy"][name] + groups["view 4"]["accuracy"][name]) / 2)
    assert results["accuracy"] == evaluated[1]["accuracy"]  # pooled
    lines = script.table(results).splitlines()
    assert lines[3].split() == ["accuracy", "%", "view", "3", "%", "view", "4", "%", "mean", "%"]
    columns = [
        f"{accuracy['rgb']:.2f}" for accuracy in (results["accuracy"], *(g["accuracy"] for g in groups.values()))
    ]
    assert lines[4].split() == ["rgb", *columns]


def test_the_paper_stands_beside_ours_where_it_has_the_same_experiment(evaluated):
    results = evaluated[1]
    assert "paper %" not in script.table(results)
    config = results["config"]
    ours = {**results, "dataset": "nwucla", "protocol": {"train_views": [1, 2], "test_view": 3}}
    lines = script.table(ours).splitlines()
    assert "nwucla · dmcl · authors recipe · paper scale · seed 0" in lines[0]
    assert "7 test videos × 3 clips · best checkpoint, epoch 6" in lines[1]
    assert lines[2] == "drawn · train_views [1, 2], test_view 3"
    assert lines[3].split() == ["accuracy", "%", "paper", "%"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[4:]}
    accuracy = results["accuracy"]
    assert rows["rgb"] == [f"{accuracy['rgb']:.2f}", "93.64"]
    assert rows["oracle"] == [f"{accuracy['oracle']:.2f}", "97.64"]
    assert rows["sum_probabilities"] == [f"{accuracy['sum_probabilities']:.2f}"]
    assert rows["rgb+depth"] == [f"{accuracy['subsets']['rgb+depth']:.2f}"]
    for other in (
        {"split": "validation"},
        {"method": "smcl_of_ours"},
        {"config": {**config, "modalities": ["rgb", "depth"]}},
    ):
        assert "paper %" not in script.table({**ours, **other})


def test_the_papers_numbers():
    table = {"rgb": 93.64, "depth": 83.29, "flow": 91.07, "sum": 93.28, "oracle": 97.64}
    assert paper.reported("nwucla", "dmcl", ("flow", "depth", "rgb")) == table
    assert paper.reported("nwucla", "independent", MODALITIES)["depth"] == 80.30
    assert paper.reported("nwucla", "dmcl", ("rgb", "depth")) == {}
    assert paper.reported("demo", "dmcl", MODALITIES) == {}


def test_no_run_folder(tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path / 'none'}.*does not exist: expected a run, checkpoints/"):
        script.evaluate(RunFolder(tmp_path / "none"), "test", "best")


def test_no_checkpoint(own):
    shutil.rmtree(own.directory / "last")
    with pytest.raises(InputError, match=f"{own.directory}: no last checkpoint; train the run first"):
        script.evaluate(own, "test", "last")


@pytest.mark.parametrize("pattern", ["*.index", "*.data-*"])
def test_a_damaged_checkpoint(own, pattern):
    (file,) = (own.directory / "last").glob(pattern)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=f"{own.directory}/last/.* cannot be restored .*: remove .*/last to start"):
        script.evaluate(own, "test", "last")


def test_records_that_do_not_fit(own, info, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}/none/dataset.json.*make them with data_prep/make_tfrecords.py"):
        script.evaluate(own, "test", "best", tmp_path / "none")
    other = shutil.copytree(info.directory, tmp_path / "other")
    dataclasses.replace(info, class_names=tuple("abcdef")).save(other)
    with pytest.raises(InputError, match=rf"{other}: its classes are not those of {own.directory}; give its own"):
        script.evaluate(own, "test", "best", other)
    settings = json.loads(own.config_path.read_text())
    write_text(own.config_path, json.dumps({**settings, "protocol": {"test_view": 3}}))
    dataclasses.replace(info, protocol={"test_view": 1}).save(other)
    with pytest.raises(InputError, match=rf"{other}: records of another split .*test_view': 1.* than {own.directory}"):
        script.evaluate(own, "test", "best", other)
    write_text(own.config_path, json.dumps(settings))
    dataclasses.replace(info, modalities=("rgb", "depth")).save(other)
    with pytest.raises(
        InputError, match=f"{other}: records of rgb,depth at 40 pixels, but rgb,depth,flow at 40 .*asked"
    ):
        script.evaluate(own, "test", "best", other)
    dataclasses.replace(info, shards={**info.shards, "validation": ()}).save(other)
    with pytest.raises(InputError, match=f"{other}: no videos in the validation split"):
        script.evaluate(own, "validation", "best", other)


def test_corrupt_and_half_written_shards(own, info, tmp_path):
    other = shutil.copytree(info.directory, tmp_path / "other")
    shard = other / info.shards["test"][1].name
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    (own.directory / "results.json").unlink()
    with pytest.raises(InputError, match=f"{shard} is corrupt: delete it and run data_prep/make_tfrecords.py again"):
        script.evaluate(own, "test", "best", other)
    shard.write_bytes(content[:-9])
    with pytest.raises(InputError, match=f"{shard} has .* bytes instead of"):
        script.evaluate(own, "test", "best", other)


def test_the_script_says_what_is_wrong_in_one_line():
    command = [sys.executable, "-m", "dmcl_tf.evaluate", "--run_dir=checkpoints/none"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("error: checkpoints/none/config.json does not exist: expected a run")
