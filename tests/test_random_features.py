"""Features of untrained networks and their k-NN accuracy, from records to the table."""

import dataclasses
import re
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from absl import flags
from tiny import write_records
from tiny_run import SETTINGS, noisy_frame, small_networks

from dmcl_tf import random_features
from dmcl_tf.config import resolve
from dmcl_tf.data import pipeline as input_pipeline
from dmcl_tf.data import records
from dmcl_tf.data.records import DatasetInfo
from dmcl_tf.datasets import paper
from dmcl_tf.errors import InputError
from dmcl_tf.networks.ensemble import make_ensemble

__all__ = ["small_networks"]  # acts on every test here

VIDEOS = {"train": 7, "validation": 1, "test": 5}
MODALITIES = ("rgb", "depth")
CONFIG = resolve("authors", "paper", {**SETTINGS, "modalities": MODALITIES, "batch_size": 3, "value_range": "-1..1"})
CONFIG_RGB = dataclasses.replace(CONFIG, modalities=("rgb",), select_by="rgb")


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    settings = {"modalities": MODALITIES, "size": 40, "lengths": (8, 11), "frame": noisy_frame}
    return write_records(tmp_path_factory.mktemp("records"), VIDEOS, **settings)


@pytest.fixture(scope="module")
def networks():
    return [random_features.initial_weights(CONFIG, seed, 3) for seed in (0, 4)]


def test_networks_are_those_with_which_a_training_begins(networks):
    keras.utils.set_random_seed(CONFIG.seed + 1)
    ensemble = make_ensemble(CONFIG, 3)
    for modality, network in ensemble.networks.items():
        for weight, expected in zip(networks[0][modality], network.get_weights()):
            np.testing.assert_array_equal(weight, expected)
    assert not np.array_equal(networks[0]["rgb"][0], networks[1]["rgb"][0])
    assert not np.array_equal(networks[0]["rgb"][0], networks[0]["depth"][0])


def test_training_videos_get_clips_by_the_rule_of_test_videos(info):
    prepared = random_features.with_training_clips(info)
    assert prepared.clips["test"] == info.clips["test"]
    assert set(prepared.clips["train"]) == {f"train-{k}" for k in range(7)}
    for k in range(7):
        expected = records.draw_clips(f"train-{k}", (8, 11)[k % 2], clips=3)
        np.testing.assert_array_equal(prepared.clips["train"][f"train-{k}"], expected)


def features_by_hand(info, network, modality, split, training):
    """Mean over clips, video by video in the order of the batches that `extract` takes."""
    keras.utils.set_random_seed(1)
    model = keras.Model(network.input, network.get_layer("features").output)
    dataset = input_pipeline.evaluation_dataset(info, CONFIG, split, CONFIG.batch_size, shuffle_buffer=512)
    features, labels = [], []
    for batch in dataset:
        clips = batch["clips"][modality].numpy() / 127.5 - 1.0
        features.append(np.mean([model(clips[:, k], training=training) for k in range(clips.shape[1])], axis=0))
        labels += batch["label"].numpy().tolist()
    return np.concatenate(features), labels


@pytest.mark.parametrize(("way", "training"), [("inference", False), ("batch statistics", True)])
def test_features_of_a_split(info, networks, way, training):
    keras.utils.set_random_seed(1)
    features, labels = random_features.extract(info, CONFIG, "test", networks)
    assert set(features) == {(w, m) for w in random_features.BATCH_NORM for m in MODALITIES}
    assert sorted(labels) == [0, 0, 1, 1, 2]
    ensemble = make_ensemble(dataclasses.replace(CONFIG, batch_norm_momentum=1.0), 3)
    for row, weights in enumerate(networks):
        for modality, network in ensemble.networks.items():
            network.set_weights(weights[modality])
            expected, order = features_by_hand(info, network, modality, "test", training)
            assert order == labels.tolist()
            actual = features[way, modality]
            assert actual.shape == (2, 5, 8)
            np.testing.assert_allclose(actual[row], expected, rtol=1e-4, atol=1e-5)
    other = features["inference" if training else "batch statistics", "rgb"]
    assert not np.allclose(features[way, "rgb"], other, rtol=1e-2)


def test_moving_statistics_stay_as_they_are(info, networks):
    """The second of two equal networks sees what the first saw, whatever was computed in between."""
    (first, _), (second, _) = (random_features.extract(info, CONFIG, "test", [networks[0]] * 2) for _ in range(2))
    for features in (first, second):
        for key, values in features.items():
            np.testing.assert_allclose(values[0], values[1], rtol=1e-5, err_msg=str(key))


def test_test_videos_of_different_classes_share_a_batch(tmp_path):
    """Their records are sorted by class."""
    labels = [0] * 8 + [1] * 8
    info = write_records(tmp_path, {"test": 16}, modalities=("rgb",), lengths=(8,), size=40, shards=1, classes=16)
    dataset = input_pipeline.evaluation_dataset(info, CONFIG_RGB, "test", 4, shuffle_buffer=512)
    batches = [[labels[label] for label in batch["label"].numpy()] for batch in dataset]
    assert sum(len(set(batch)) == 2 for batch in batches) >= 3
    plain = input_pipeline.evaluation_dataset(info, CONFIG_RGB, "test", 4)
    assert [batch["label"].numpy().tolist() for batch in plain] == np.arange(16).reshape(4, 4).tolist()


def test_k_nearest_neighbours_by_hand():
    examples = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]])
    classes = np.array([1, 0, 0, 2, 2])
    queries, labels = np.array([[0.1], [1.6], [10.4]]), np.array([1, 0, 2])
    assert random_features.knn_accuracy(examples, classes, queries, labels, 1) == 100.0
    # the first query's three nearest are of classes 1, 0 and 0
    assert random_features.knn_accuracy(examples, classes, queries, labels, 3) == pytest.approx(200 / 3)
    # all five: two of class 0, two of class 2, of which the lower wins
    assert random_features.knn_accuracy(examples, classes, queries, labels, 5) == pytest.approx(100 / 3)


def parse(*arguments):
    flag_values = flags.FlagValues()
    random_features.define_flags(flag_values)
    flag_values(["random_features", *arguments])
    return flag_values


@pytest.fixture
def run_main(info, tmp_path, monkeypatch):
    """`run_main(flag, …)` runs the script; the CSV goes to `tmp_path / "out.csv"`."""
    settings = ["--modalities=rgb,depth", "--frame_size=40", "--crop_size=32", "--batch_size=3"]
    places = [f"--records={info.directory}", f"--output={tmp_path / 'out.csv'}"]

    def run(*arguments):
        monkeypatch.setattr(flags, "FLAGS", parse(*places, *settings, *arguments))
        random_features.main()

    return run


def test_the_script_writes_every_accuracy_and_prints_the_table(run_main, tmp_path, capsys, info):
    run_main("--seeds=0,3", "--neighbours=1,5,50")
    out = capsys.readouterr().out
    assert "k = 50 is left out: there are 7 training videos" in out
    assert f"written: {tmp_path / 'out.csv'}" in out
    results = pd.read_csv(tmp_path / "out.csv")
    assert len(results) == 2 * 2 * 2 * 2
    assert {"seed", "batch_norm", "modality", "k", "accuracy"} <= set(results)
    assert set(results["k"]) == {1, 5}
    assert set(results["batch_norm"]) == {"inference", "batch statistics"}
    assert results["accuracy"].isin([0.0, 20.0, 40.0, 60.0, 80.0, 100.0]).all()
    assert (results["train_videos"] == 7).all()
    mean = results[(results["modality"] == "depth") & (results["batch_norm"] == "inference") & (results["k"] == 5)]
    values = mean["accuracy"].tolist()
    assert f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}" in out
    assert "paper" not in out  # another data set
    run_main("--seeds=0,3", "--neighbours=1,5,50")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv"), results)


def test_the_table_has_the_papers_numbers_of_the_same_data_set():
    rows = [
        (seed, way, m, k) for seed in (0, 1) for way in random_features.BATCH_NORM for m in MODALITIES for k in (1, 7)
    ]
    results = pd.DataFrame(rows, columns=["seed", "batch_norm", "modality", "k"])
    results = results.assign(accuracy=10.0 * results["seed"], dataset="nwucla", train_videos=9, test_videos=4)
    printed = random_features.table(results)
    assert re.search(r"rgb +inference +5\.00 ± 7\.07 +5\.00 ± 7\.07\n", printed)
    assert re.search(r"depth .*\n +batch statistics +5\.00 ± 7\.07 +5\.00 ± 7\.07\n +paper +9\.72", printed)
    assert paper.random_features()["depth"][1] == 9.72
    alone = random_features.table(results[results["seed"] == 1].reset_index())
    assert re.search(r"rgb +inference +10\.00 +10\.00\n", alone)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--records=", "--records is missing: expected a folder of TFRecords"),
        ("--seeds=0,x", "--seeds=0,x: expected whole numbers separated by commas"),
        ("--seeds=", "--seeds=: expected different numbers of 0 or more"),
        ("--seeds=1,1", "--seeds=1,1: expected different numbers of 0 or more"),
        ("--neighbours=0,5", "--neighbours=0,5: expected different numbers of 1 or more"),
        ("--neighbours=50,120", "--neighbours=50,120: expected one of at most 7"),
        ("--frame_size=48", "records of rgb,depth at 40 pixels, but rgb,depth at 48 pixels are asked for"),
        ("--clip_frames=4", "clips have 8 frames, but --clip_frames=4 is asked for"),
        ("--scale=kompact", "did you mean compact?"),
    ],
)
def test_bad_input_is_named(run_main, tmp_path, flag, message):
    with pytest.raises(InputError) as caught:
        run_main(flag)
    assert message in str(caught.value)
    assert not (tmp_path / "out.csv").exists()


def test_a_corrupt_shard_and_an_empty_split_are_named(run_main, info, tmp_path):
    shutil.copytree(info.directory, tmp_path / "records")
    copy = DatasetInfo.load(tmp_path / "records")
    shard = copy.shard_paths("test")[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=rf"{shard.name} is corrupt: delete it"):
        run_main(f"--records={tmp_path / 'records'}", "--seeds=0", "--neighbours=1")
    empty = dataclasses.replace(copy, shards={**copy.shards, "test": ()}).save(tmp_path / "records")
    with pytest.raises(InputError, match="no videos in the test split"):
        run_main(f"--records={empty.directory}", "--seeds=0", "--neighbours=1")
