"""From records to batches: the right frames, crops and order, the same for all modalities and for every repetition."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from tiny import MODALITIES, read_marks, write_records

from dmcl_tf.config import resolve
from dmcl_tf.data import pipeline as input_pipeline
from dmcl_tf.errors import InputError

VIDEOS = 7
LENGTHS = (10, 17, 40)


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    return write_records(
        tmp_path_factory.mktemp("records"), {"train": VIDEOS, "validation": 2, "test": 3}, lengths=LENGTHS
    )


def make_config(**changes):
    settings = {"frame_size": 48, "crop_size": 32, "batch_size": 2, "epochs": 4, "color_probability": 0.0}
    return resolve("authors", "full", {"crop_jitter_probability": 1.0, "crop_jitter": 4 / 48, **settings, **changes})


def batches(info, config, count, first_epoch=0):
    dataset = input_pipeline.training_dataset(info, config, first_epoch)
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def clips_by_video(batches):
    return {
        name: {modality: clips[i] for modality, clips in batch["clips"].items()}
        for batch in batches
        for i, name in enumerate(batch["video_id"])
    }


def assert_equal_batches(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second):
        np.testing.assert_array_equal(one["video_id"], other["video_id"])
        np.testing.assert_array_equal(one["label"], other["label"])
        for modality in one["clips"]:
            np.testing.assert_array_equal(one["clips"][modality], other["clips"][modality])


def test_shapes_types_and_labels(info):
    for batch in batches(info, make_config(), 3):
        assert set(batch["clips"]) == set(MODALITIES)
        for clips in batch["clips"].values():
            assert clips.shape == (2, 8, 32, 32, 3)
            assert clips.dtype == np.float32
            assert 0.0 <= clips.min() <= clips.max() <= 255.0
            assert clips.max() > 50.0  # grey levels, not [0, 1]
        assert batch["label"].dtype == np.int64
        numbers = [int(name.decode().split("-")[1]) for name in batch["video_id"]]
        np.testing.assert_array_equal(batch["label"], np.array(numbers) % 3)


def test_frames_crop_and_mirroring_are_right_and_shared_by_the_modalities(info):
    tops, lefts, flips = set(), set(), []
    config = make_config(epochs=8)
    for batch in batches(info, config, 8 * input_pipeline.steps_per_epoch(info, config)):
        for i, name in enumerate(batch["video_id"]):
            length = LENGTHS[int(name.decode().split("-")[1]) % len(LENGTHS)]
            marks = {modality: read_marks(clips[i]) for modality, clips in batch["clips"].items()}
            assert marks["rgb"] == marks["depth"] == marks["flow"]
            indices, top, left, mirrored = marks["rgb"]
            for j, index in enumerate(indices):
                assert int(np.ceil(j * length / 8)) <= index < int(np.ceil((j + 1) * length / 8))
            tops.add(top)
            lefts.add(left)
            flips.append(mirrored)
    # ±4 pixels around the central 8
    assert tops <= set(range(4, 12))
    assert lefts <= set(range(4, 12))
    assert len(tops) > 5
    assert len(lefts) > 5
    assert 0.25 < np.mean(flips) < 0.75


def test_without_augmentation_the_crop_is_central(info):
    config = make_config(crop_jitter_probability=0.0, flip_probability=0.0)
    for clips in clips_by_video(batches(info, config, 6)).values():
        assert read_marks(clips["depth"])[1:] == (8, 8, False)


def test_only_rgb_changes_its_colours(info):
    plain, colored = (clips_by_video(batches(info, make_config(color_probability=p), 3)) for p in (0.0, 1.0))
    assert set(plain) == set(colored)
    for name, clips in plain.items():
        for modality in ("depth", "flow"):
            np.testing.assert_array_equal(clips[modality], colored[name][modality])
        assert np.abs(clips["rgb"] - colored[name]["rgb"]).max() > 1.0
        assert colored[name]["rgb"].min() >= 0.0
        assert colored[name]["rgb"].max() <= 255.0


def test_mirrored_flow_is_negated_only_on_demand(info):
    settings = {"modalities": ("depth", "flow"), "epochs": 4}
    plain, negated = (batches(info, make_config(negate_flow=value, **settings), 12) for value in (False, True))
    mirrored = []
    for one, other in zip(plain, negated):
        np.testing.assert_array_equal(one["clips"]["depth"], other["clips"]["depth"])
        for depth, flow, turned in zip(one["clips"]["depth"], one["clips"]["flow"], other["clips"]["flow"]):
            mirrored.append(read_marks(depth)[3])
            expected = flow.copy()
            if mirrored[-1]:
                expected[..., 0] = np.clip(256.0 - flow[..., 0], 0.0, 255.0)  # zero motion is 128
            np.testing.assert_array_equal(turned, expected)
    assert set(mirrored) == {True, False}


@pytest.mark.parametrize(("flow", "fits"), [({"encoding": "uv"}, True), ({"encoding": "hsv"}, False), ({}, True)])
def test_only_flow_with_a_channel_u_can_be_negated(info, flow, fits):
    info = dataclasses.replace(info, flow=flow or None)
    input_pipeline.check_negation(info, make_config())
    if fits:
        input_pipeline.check_negation(info, make_config(negate_flow=True))
    else:
        with pytest.raises(InputError, match="encoded as hsv, so --negate_flow cannot"):
            input_pipeline.training_dataset(info, make_config(negate_flow=True))


def test_values_from_minus_one_to_one(info):
    plain, scaled = (
        batches(info, make_config(value_range=value, modalities=("rgb",)), 3) for value in ("0..255", "-1..1")
    )
    for one, other in zip(plain, scaled):
        np.testing.assert_allclose(other["clips"]["rgb"], one["clips"]["rgb"] / 127.5 - 1.0, atol=1e-6)
    levels = tf.constant([0, 255], tf.uint8)
    np.testing.assert_allclose(input_pipeline.network_input(levels, "-1..1"), [-1.0, 1.0])
    np.testing.assert_allclose(input_pipeline.network_input(levels, "0..255"), [0.0, 255.0])


def test_an_epoch_shows_every_video_at_most_once_and_drops_the_rest(info):
    config = make_config(modalities=("depth",))
    assert input_pipeline.steps_per_epoch(info, config) == 3
    every = batches(info, config, 100)
    assert len(every) == 3 * config.epochs
    for epoch in range(config.epochs):
        names = [name for batch in every[3 * epoch : 3 * epoch + 3] for name in batch["video_id"]]
        assert len(set(names)) == 6
    assert {name.decode() for batch in every for name in batch["video_id"]} == {f"train-{k}" for k in range(VIDEOS)}


def test_batches_are_functions_of_seed_and_epoch(info):
    config = make_config(color_probability=0.5, modalities=("rgb",))
    uninterrupted = batches(info, config, 12)
    assert_equal_batches(uninterrupted, batches(info, config, 12))
    for epoch in (1, 3):  # a run that continues sees what it would have seen
        assert_equal_batches(uninterrupted[3 * epoch :], batches(info, config, 12, first_epoch=epoch))
    orders = [[tuple(batch["video_id"]) for batch in uninterrupted[3 * epoch : 3 * epoch + 3]] for epoch in range(4)]
    assert len({tuple(order) for order in orders}) > 1
    first, second = (clips_by_video(uninterrupted[3 * epoch : 3 * epoch + 3]) for epoch in (0, 1))
    shared = set(first) & set(second)
    assert shared
    assert all(not np.array_equal(first[name]["rgb"], second[name]["rgb"]) for name in shared)
    other_seed = clips_by_video(batches(info, dataclasses.replace(config, seed=1), 3))
    shared = set(first) & set(other_seed)
    assert any(not np.array_equal(first[name]["rgb"], other_seed[name]["rgb"]) for name in shared)


def test_some_of_the_modalities(info):
    (batch,) = batches(info, make_config(modalities=("flow", "rgb")), 1)
    assert set(batch["clips"]) == {"flow", "rgb"}


def test_a_batch_larger_than_the_data_is_refused(info):
    config = make_config(batch_size=VIDEOS)
    assert input_pipeline.steps_per_epoch(info, config) == 1
    with pytest.raises(InputError, match=r"7 training videos are fewer than --batch_size=8; choose a smaller batch"):
        input_pipeline.steps_per_epoch(info, make_config(batch_size=VIDEOS + 1))


@pytest.mark.parametrize(("split", "videos"), [("validation", 2), ("test", 3)])
def test_evaluation_yields_the_fixed_clips_cropped_centrally(info, split, videos):
    found = {}
    for batch in input_pipeline.evaluation_dataset(info, make_config(), split, batch_size=2).as_numpy_iterator():
        for i, name in enumerate(batch["video_id"]):
            found[name.decode()] = batch["label"][i], {m: clips[i] for m, clips in batch["clips"].items()}
    assert set(found) == {f"{split}-{k}" for k in range(videos)}
    for name, (label, modalities) in found.items():
        assert label == int(name.split("-")[1]) % 3
        for clips in modalities.values():
            assert clips.shape == (3, 8, 32, 32, 3)
            assert clips.dtype == np.uint8
            marks = [read_marks(clip) for clip in clips]
            assert [indices for indices, *_ in marks] == info.clips[split][name]
            assert {(top, left, mirrored) for _, top, left, mirrored in marks} == {(8, 8, False)}


def test_grey_frames_fill_three_channels(tmp_path):
    def frame(modality, k, index):
        return np.full((48, 48, 1 if modality == "depth" else 3), 10 * index, np.uint8)

    info = write_records(tmp_path, {"train": 1}, lengths=(8,), shards=1, frame=frame)
    (batch,) = batches(info, make_config(batch_size=1), 1)
    expected = np.broadcast_to(10.0 * np.arange(8)[:, None, None, None], (8, 32, 32, 3))
    for modality in ("rgb", "depth"):
        np.testing.assert_allclose(batch["clips"][modality][0], expected, atol=1.0)


def test_records_of_clips_of_another_length_are_refused(info):
    config = make_config(clip_frames=6)
    with pytest.raises(InputError, match=r"clips have 8 frames, but --clip_frames=6 is asked for"):
        input_pipeline.evaluation_dataset(info, config, "test", 1)


def test_video_ids_travel_as_numbers():
    names = ["a01_s01_e00_v01", "große Übung", ""]
    batch = input_pipeline.encode_video_ids({"video_id": tf.constant(names), "label": tf.constant([1, 2, 3])})
    codes = batch["video_id"].numpy()
    assert codes.dtype == np.int32
    assert len(codes) == 3
    assert input_pipeline.decode_video_ids(codes) == names
    assert input_pipeline.decode_video_ids(codes.reshape(-1)) == names
    np.testing.assert_array_equal(batch["label"], [1, 2, 3])
