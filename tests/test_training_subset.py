"""Shares of the training videos: balanced, one within the other, and all that a run trains on."""

import collections
import itertools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from tiny import write_records
from tiny_run import noisy_frame, run_training, small_networks

from dmcl_tf.config import resolve
from dmcl_tf.data import pipeline as input_pipeline
from dmcl_tf.data import records
from dmcl_tf.data import subset as training_subset
from dmcl_tf.data.records import DatasetInfo
from dmcl_tf.errors import InputError

__all__ = ["small_networks"]  # acts on every test here

VIDEOS, CLASSES = 23, 3  # 8, 8 and 7 videos
LABELS = {f"train-{k}": k % CLASSES for k in range(VIDEOS)}


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    directory = tmp_path_factory.mktemp("records")
    settings = {"modalities": ("rgb",), "size": 40, "lengths": (8, 9), "classes": CLASSES, "frame": noisy_frame}
    return write_records(directory, {"train": VIDEOS, "test": 1}, **settings)


def counts(names):
    return [collections.Counter(LABELS[name] for name in names)[label] for label in range(CLASSES)]


@pytest.mark.parametrize("seed", [0, 1, 5])
def test_larger_shares_hold_smaller_ones(info, seed):
    shares = [set(training_subset.video_ids(info, fraction, seed)) for fraction in (0.1, 0.25, 0.5, 0.75, 1.0)]
    for smaller, larger in zip(shares, shares[1:]):
        assert smaller < larger
    assert shares[-1] == set(LABELS)


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.001, [1, 1, 1]), (0.125, [1, 1, 1]), (0.25, [2, 2, 2]), (0.5, [4, 4, 4]), (0.75, [6, 6, 6]), (1.0, [8, 8, 7])],
)
def test_shares_are_balanced(info, fraction, expected):
    names = training_subset.video_ids(info, fraction, seed=0)
    assert len(set(names)) == len(names) == training_subset.size(info, fraction)
    assert counts(names) == expected


def test_a_share_is_what_is_written_and_not_its_binary_neighbour(info):
    """0.07 · 100 is 7.000000000000001 in floating point, and 0.55 · 100 is 55.00000000000001."""
    many = DatasetInfo.load(info.directory)
    many.counts["train"].update({"class 0": 100, "class 1": 1000, "class 2": 10})
    assert training_subset.size(many, 0.07) == 7 + 70 + 1
    assert training_subset.size(many, 0.55) == 55 + 550 + 6


def test_shares_depend_on_the_seed_and_on_nothing_else(info, tmp_path):
    first = training_subset.video_ids(info, 0.5, seed=0)
    assert training_subset.video_ids(info, 0.5, seed=0) == first
    assert set(training_subset.video_ids(info, 0.5, seed=1)) != set(first)
    # the same videos in other shards
    again = write_records(tmp_path, {"train": VIDEOS}, modalities=("rgb",), lengths=(8,), shards=5, size=8)
    assert training_subset.video_ids(again, 0.5, seed=0) == first


def test_a_class_without_videos_stays_without(tmp_path):
    info = write_records(tmp_path, {"train": 2}, modalities=("rgb",), lengths=(8,), size=8)
    assert training_subset.size(info, 0.5) == 2
    assert sorted(training_subset.video_ids(info, 0.5, seed=0)) == ["train-0", "train-1"]


def test_contexts_are_read_in_the_order_of_the_records(info):
    contexts = records.read_contexts(info, "train")
    order = [k for shard in range(2) for k in range(shard, VIDEOS, 2)]
    assert contexts == [(f"train-{k}", k % CLASSES, (8, 9)[k % 2]) for k in order]


def make_config(**changes):
    settings = {"modalities": ("rgb",), "frame_size": 40, "crop_size": 32, "batch_size": 2, "epochs": 2}
    return resolve("authors", "full", {**settings, **changes})


def test_every_epoch_shows_the_videos_of_the_share_and_no_others(info):
    config = make_config(train_fraction=0.25, seed=3)
    chosen = set(training_subset.video_ids(info, 0.25, 3))
    steps = input_pipeline.steps_per_epoch(info, config)
    assert steps == len(chosen) // 2 == 3
    batches = list(input_pipeline.training_dataset(info, config).as_numpy_iterator())
    assert len(batches) == 2 * steps
    for epoch in range(2):
        shown = [name.decode() for batch in batches[epoch * steps : (epoch + 1) * steps] for name in batch["video_id"]]
        assert sorted(shown) == sorted(chosen)
    # a run that continues sees what it would have seen
    (continued,) = itertools.islice(input_pipeline.training_dataset(info, config, 1).as_numpy_iterator(), 1)
    np.testing.assert_array_equal(continued["video_id"], batches[steps]["video_id"])
    np.testing.assert_array_equal(continued["clips"]["rgb"], batches[steps]["clips"]["rgb"])


def test_a_batch_larger_than_the_share_is_refused(info):
    assert input_pipeline.steps_per_epoch(info, make_config(batch_size=6, train_fraction=0.25)) == 1
    with pytest.raises(InputError, match=r"6 training videos of --train_fraction=0\.25 are fewer than --batch_size=7"):
        input_pipeline.steps_per_epoch(info, make_config(batch_size=7, train_fraction=0.25))


def test_a_run_on_a_share_writes_it_down(info, tmp_path):
    folder = run_training(
        info, tmp_path, method="dmcl", modalities="rgb", run_name="share", train_fraction=0.5, batch_size=3, epochs=1
    )
    assert json.loads(folder.config_path.read_text())["config"]["train_fraction"] == 0.5
    assert len(pd.read_csv(folder.history_path)) == 1


def test_a_corrupt_shard_is_named_before_the_first_step(info, tmp_path):
    shutil.copytree(info.directory, tmp_path / "records")
    copy = DatasetInfo.load(tmp_path / "records")
    shard = copy.shard_paths("train")[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(InputError, match=rf"{shard.name} is corrupt: delete it and run data_prep/make_tfrecords\.py"):
        run_training(copy, tmp_path, method="dmcl", modalities="rgb", run_name="share", train_fraction=0.5)
