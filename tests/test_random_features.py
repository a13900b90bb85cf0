"""Features of untrained networks and their k-NN accuracy, from records to the table."""

import dataclasses
import re
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny import split, write_records
from tiny_run import SETTINGS, noisy_frame, parse_flags

from dmcl_tf import random_features
from dmcl_tf.config import resolve
from dmcl_tf.data.records import decode_video, draw_clips, read_record
from dmcl_tf.data.table import Records, Video
from dmcl_tf.datasets import paper
from dmcl_tf.datasets.splits import Splits
from dmcl_tf.errors import InputError
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.scoring import features

VIDEOS = {"train": 7, "validation": 1, "test": 5}
MODALITIES = ("rgb", "depth")
CONFIG = resolve("authors", "full", {**SETTINGS, "modalities": MODALITIES, "batch_size": 3, "value_range": "-1..1"})


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    def frame(modality, video, index):
        return noisy_frame(modality, video, index)[..., : 1 if modality == "depth" else 3]

    settings = {"modalities": MODALITIES, "size": 40, "lengths": (8, 11), "frame": frame}
    return write_records(tmp_path_factory.mktemp("records"), VIDEOS, **settings)


@pytest.fixture(scope="module")
def networks():
    return [features.initial_weights(CONFIG, seed, 3) for seed in (0, 4)]


def test_networks_are_those_with_which_a_training_begins(networks):
    keras.utils.set_random_seed(CONFIG.seed + 1)
    ensemble = make_ensemble(CONFIG, 3)
    for modality, network in ensemble.networks.items():
        for weight, expected in zip(networks[0][modality], network.get_weights()):
            np.testing.assert_array_equal(weight, expected)
    assert not np.array_equal(networks[0]["rgb"][0], networks[1]["rgb"][0])
    assert not np.array_equal(networks[0]["rgb"][0], networks[0]["depth"][0])


def features_by_hand(records, network, modality, name, training):
    """Mean over clips in batches of three videos, whose clips are drawn as those of any evaluated video."""
    result, videos = [], getattr(split(records), name)
    for start in range(0, len(videos), CONFIG.batch_size):
        batch = []
        for video in videos[start : start + CONFIG.batch_size]:
            _, frames = decode_video(read_record(records.path(video)))
            images = np.stack([tf.io.decode_jpeg(jpeg, 3)[4:36, 4:36] for jpeg in frames[modality]])
            batch.append(images[draw_clips(video.video_id, video.length)] / np.float32(127.5) - 1)
        clips = np.stack(batch, axis=1)  # (K, B, …)
        result.append(np.mean([network(clip, training=training)["features"] for clip in clips], axis=0))
    return np.concatenate(result)


def test_features_of_both_splits(records, networks):
    ensemble = make_ensemble(dataclasses.replace(CONFIG, batch_norm_momentum=1.0), 3)
    for name, videos in (("train", 7), ("test", 5)):
        found = features.extract(records, split(records), name, CONFIG, networks)
        assert set(found) == {(way, modality) for way in features.BATCH_NORM for modality in MODALITIES}
        for (way, modality), values in found.items():
            assert values.shape == (2, videos, 8)
            for row, weights in enumerate(networks):
                ensemble.networks[modality].set_weights(weights[modality])
                training = features.BATCH_NORM[way]
                expected = features_by_hand(records, ensemble.networks[modality], modality, name, training)
                np.testing.assert_allclose(values[row], expected, rtol=1e-4, atol=1e-5)
        assert not np.allclose(found["inference", "rgb"], found["batch statistics", "rgb"], rtol=1e-2)


def test_moving_statistics_stay_as_they_are(records, networks):
    """The second of two equal networks sees what the first saw, whatever was computed in between."""
    found = features.extract(records, split(records), "test", CONFIG, [networks[0]] * 2)
    for key, values in found.items():
        np.testing.assert_allclose(values[0], values[1], rtol=1e-5, err_msg=str(key))


def test_videos_of_different_classes_share_a_batch():
    """By name, those of one class may follow each other, and a batch of one class has no usual statistics."""
    videos = [Video(f"a{k // 8}-{k}", f"class {k // 8}", 9, 9, 1, "", "") for k in range(16)]
    splits = Splits(tuple(videos), (), tuple(videos[::-1]), ("class 0", "class 1"))
    shuffled = random_features._shuffled(splits)
    for name in ("train", "test"):
        videos = getattr(shuffled, name)
        assert sorted(videos, key=lambda video: video.video_id) == sorted(
            splits.train, key=lambda video: video.video_id
        )
        assert sum(len(set(batch)) == 2 for batch in splits.labels(videos).reshape(4, 4)) >= 3
    assert random_features._shuffled(splits) == shuffled


def test_k_nearest_neighbours_by_hand():
    examples = np.array([[0.0], [1.0], [2.0], [10.0], [11.0]])
    classes = np.array([1, 0, 0, 2, 2])
    queries, labels = np.array([[0.1], [1.6], [10.4]]), np.array([1, 0, 2])
    assert random_features.knn_accuracy(examples, classes, queries, labels, 1) == 100.0
    # the first query's three nearest are of classes 1, 0 and 0
    assert random_features.knn_accuracy(examples, classes, queries, labels, 3) == pytest.approx(200 / 3)
    # all five: two of class 0, two of class 2, of which the lower wins
    assert random_features.knn_accuracy(examples, classes, queries, labels, 5) == pytest.approx(100 / 3)


@pytest.fixture
def read_settings(records, tmp_path):
    """`read_settings(flag, …)` reads the flags; the CSV goes to `tmp_path / "out.csv"`."""

    def read(*arguments):
        settings = {"modalities": "rgb,depth", "frame_size": 40, "crop_size": 32, "batch_size": 3, "variant": "testing"}
        values = {"records": records.directory, "output": tmp_path / "out.csv", **settings}
        given = [f"--{name}={value}" for name, value in values.items()]
        return random_features.settings_from_flags(parse_flags(random_features, *given, *arguments))

    return read


def test_every_accuracy_is_written_and_the_table_printed(read_settings, tmp_path, capsys):
    settings = read_settings("--seeds=0,3", "--neighbours=1,5,50")
    random_features.show(settings)
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
    random_features.random_features(settings)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv"), results)


def test_the_table_has_the_papers_numbers_of_the_same_data_set():
    rows = [(seed, way, m, k) for seed in (0, 1) for way in features.BATCH_NORM for m in MODALITIES for k in (1, 7)]
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
        ("--seeds=0,x", "--seeds=0,x: expected whole numbers separated by commas"),
        ("--seeds=", "--seeds=: expected different numbers of 0 or more"),
        ("--seeds=1,1", "--seeds=1,1: expected different numbers of 0 or more"),
        ("--neighbours=0,5", "--neighbours=0,5: expected different numbers of 1 or more"),
        ("--neighbours=50,120", "--neighbours=50,120: expected one of at most 7"),
        ("--frame_size=48", "records of rgb,depth at 40 pixels, but rgb,depth at 48 pixels are asked for"),
        ("--clip_frames=12", "--clip_frames=12: train-6 has 8 frames"),
        ("--scale=kompact", "did you mean compact?"),
        ("--dataset=nwucla", "holds records of custom, not of nwucla: choose another --dataset or --records"),
    ],
)
def test_bad_input_is_named(read_settings, tmp_path, flag, message):
    with pytest.raises(InputError) as caught:
        random_features.random_features(read_settings(flag))
    assert message in str(caught.value)
    assert not (tmp_path / "out.csv").exists()


def test_a_damaged_record_and_an_empty_split_are_named(read_settings, records, tmp_path):
    settings = read_settings("--seeds=0", "--neighbours=1")
    copy = Records.load(shutil.copytree(records.directory, tmp_path / "records"))
    path = copy.path(copy.by_id["test-2"])
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path} is damaged: delete it"):
        random_features.random_features(dataclasses.replace(settings, records=copy.directory))
    table = copy.directory / "videos.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if "test-" not in line))
    with pytest.raises(InputError, match="no videos in the test split"):
        random_features.random_features(dataclasses.replace(settings, records=copy.directory))
