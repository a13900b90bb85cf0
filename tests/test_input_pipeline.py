"""From records to batches: the right frames, crops and order, the same for all modalities and for every repetition."""

import dataclasses
import itertools
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from test_augmentation import authors_distortion
from tiny import MODALITIES, marked_frame, read_marks, split, write_records

from dmcl_tf.config import resolve
from dmcl_tf.data import augmentation, pipeline
from dmcl_tf.data import records as format_
from dmcl_tf.data.faults import explain
from dmcl_tf.data.records import draw_clips
from dmcl_tf.errors import InputError

VIDEOS = 7
LENGTHS = (10, 17, 40)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    videos = {"train": VIDEOS, "validation": 2, "test": 3}
    return write_records(tmp_path_factory.mktemp("records"), videos, lengths=LENGTHS)


@pytest.fixture(scope="module")
def splits(records):
    return split(records)


def make_config(**changes):
    settings = {"frame_size": 48, "crop_size": 32, "batch_size": 2, "epochs": 4, "color_probability": 0.0}
    return resolve("authors", "full", {"crop_jitter_probability": 1.0, "crop_jitter": 4 / 48, **settings, **changes})


def batches(records, config, count, first_epoch=0):
    """The first batches of a run as the networks are fed them, each with the names of its videos."""
    splits = split(records)
    dataset = pipeline.training_dataset(records, splits, config, first_epoch)
    prepare = tf.function(partial(pipeline.training_input, config=config))
    first_step = first_epoch * pipeline.steps_per_epoch(splits, config)
    found = []
    for step, batch in enumerate(itertools.islice(dataset.as_numpy_iterator(), count), first_step):
        names = [video.video_id for video in pipeline.batch_videos(splits, config, step)]
        np.testing.assert_array_equal(batch["label"], [int(name.split("-")[1]) % 3 for name in names])
        clips = {modality: clips.numpy() for modality, clips in prepare(batch).items()}
        found.append({"label": batch["label"], "clips": clips, "names": names})
    return found


@pytest.mark.parametrize(("workers", "replicas"), [(1, 2), (2, 2), (2, 4), (4, 4)])
def test_workers_and_devices_share_every_batch_in_order(records, workers, replicas):
    config = make_config(batch_size=replicas, epochs=4, modalities=("rgb",))
    splits, each = split(records), replicas // workers
    first = {"first_epoch": 1, "first_batch": 1}
    steps = 3 * pipeline.steps_per_epoch(splits, config) - 1
    expected = list(pipeline.training_dataset(records, splits, config, 1).as_numpy_iterator())[1:]
    assert len(expected) == steps > 1
    shares = []
    for worker in range(workers):
        place = {"worker": worker, "workers": workers, "replicas": replicas}
        pieces = list(pipeline.training_dataset(records, splits, config, **first, **place).as_numpy_iterator())
        assert len(pieces) == steps * each
        shares.append([pieces[step * each : (step + 1) * each] for step in range(steps)])
    for step, batch in enumerate(expected):
        pieces = [piece for share in shares for piece in share[step]]
        shared = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *pieces)
        tf.nest.map_structure(np.testing.assert_array_equal, shared, batch)


def test_workers_share_the_videos_of_an_evaluation(records):
    splits, config = split(records), make_config(modalities=("rgb",))
    seen = []
    for worker in range(3):
        share = pipeline.evaluation_dataset(records, splits, "test", config, 2, worker=worker, workers=3)
        seen += [index for batch in share.as_numpy_iterator() for index in batch["index"].tolist()]
    assert sorted(seen) == list(range(len(splits.test)))


def clips_by_video(batches):
    return {
        name: {modality: clips[i] for modality, clips in batch["clips"].items()}
        for batch in batches
        for i, name in enumerate(batch["names"])
    }


def assert_equal_batches(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second):
        assert one["names"] == other["names"]
        np.testing.assert_array_equal(one["label"], other["label"])
        for modality in one["clips"]:
            np.testing.assert_array_equal(one["clips"][modality], other["clips"][modality])


def test_frames_crop_and_mirroring_are_right_and_shared_by_the_modalities(records, splits):
    tops, lefts, flips = set(), set(), []
    config = make_config(epochs=8)
    for batch in batches(records, config, 8 * pipeline.steps_per_epoch(splits, config)):
        assert set(batch["clips"]) == set(MODALITIES)
        for clips in batch["clips"].values():
            assert (clips.shape, clips.dtype) == ((2, 8, 32, 32, 3), np.float32)
            assert clips.min() >= 0.0
            assert 50.0 < clips.max() <= 255.0  # grey levels, not [0, 1]
        numbers = [int(name.split("-")[1]) for name in batch["names"]]
        assert batch["label"].dtype == np.int64
        for i, number in enumerate(numbers):
            length = LENGTHS[number % len(LENGTHS)]
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


def drawn_by_hand(config, lengths, epoch):
    """What was drawn for each clip of an epoch."""
    seed = tf.random.experimental.stateless_split(tf.constant([config.seed, epoch], tf.int64), 3)[2]
    return [
        augmentation.draw(config, length, tf.random.experimental.stateless_fold_in(seed, position))
        for position, length in zip(tf.range(len(lengths), dtype=tf.int64), lengths)
    ]


@pytest.mark.parametrize("value_range", ["0..255", "-1..1"])
def test_batches_hold_what_a_clip_at_a_time_would(records, splits, value_range):
    """Frame by frame from the record: decoded whole, cut, negated, mirrored and distorted."""
    config = make_config(color_probability=0.7, negate_flow=True, value_range=value_range)
    steps, number = pipeline.steps_per_epoch(splits, config), 0
    for batch in batches(records, config, 2 * steps)[steps:]:
        videos = [records.by_id[name] for name in batch["names"]]
        drawn = drawn_by_hand(config, [0] * number + [video.length for video in videos], epoch=1)[number:]
        number += len(videos)
        for row, (video, draw) in enumerate(zip(videos, drawn)):
            _, images = format_.decode_video(format_.read_record(records.path(video)))
            for modality in MODALITIES:
                frames = [tf.io.decode_jpeg(images[modality][index], channels=3).numpy() for index in draw.frames]
                clip = np.stack(frames)[:, draw.top : draw.top + 32, draw.left : draw.left + 32].astype(np.float32)
                if draw.flip and modality == "flow":
                    clip[..., 0] = np.minimum(256 - clip[..., 0], 255)
                clip = clip[:, :, ::-1] if draw.flip else clip
                distorted = modality == "rgb" and draw.color_order > 0
                if distorted:
                    order = augmentation.COLOR_ORDERS[draw.color_order]
                    clip = authors_distortion(clip, order, draw.color_strengths.numpy())
                clip = clip / np.float32(127.5) - np.float32(1) if value_range == "-1..1" else clip
                tolerance = 0.01 if distorted else 1e-6
                np.testing.assert_allclose(batch["clips"][modality][row], clip, atol=tolerance)
    assert number == 2 * steps


def test_bytes_and_drawn_numbers_are_handed_out(tmp_path):
    """Frames that are stored without colours travel as one channel, those of RGB as three all the same."""

    def frame(modality, k, index):
        return marked_frame(index)[..., : 3 if modality == "flow" else 1]

    records, config = write_records(tmp_path, {"train": 4, "test": 1}, frame=frame), make_config(color_probability=1.0)
    for batch in pipeline.training_dataset(records, split(records), config).as_numpy_iterator():
        for modality, channels in (("rgb", 3), ("depth", 1), ("flow", 3)):
            clips = batch["clips"][modality]
            assert (clips.shape, clips.dtype) == ((2, 8, 32, 32, channels), np.uint8)
        assert (batch["flip"].shape, batch["flip"].dtype) == ((2,), bool)
        assert set(batch["color_order"]) <= set(range(1, 7))
        assert (batch["color_strengths"].shape, batch["color_strengths"].dtype) == ((2, 4), np.float32)
    (batch,) = pipeline.evaluation_dataset(records, split(records), "test", config, 2).as_numpy_iterator()
    assert batch["clips"]["depth"].shape == (1, 10, 8, 32, 32, 1)
    assert batch["clips"]["rgb"].shape == (1, 10, 8, 32, 32, 3)


def test_colours_among_grey_frames_are_never_dropped(tmp_path):
    def frame(modality, k, index):
        return marked_frame(index)[..., : 3 if modality == "rgb" or (k, index) == (3, 4) else 1]

    config = make_config(modalities=("rgb", "depth"))
    mixed = write_records(tmp_path, {"train": 7}, modalities=("rgb", "depth"), lengths=(9,), frame=frame)
    for batch in pipeline.training_dataset(mixed, split(mixed), config):
        assert batch["clips"]["depth"].shape[-1] == 3
    lying = dataclasses.replace(mixed, videos=tuple(dataclasses.replace(v, grey="depth") for v in mixed.videos))
    with pytest.raises(tf.errors.OpError) as caught:
        list(pipeline.training_dataset(lying, split(lying), config))
    path = format_.record_path(mixed.directory, "train-3")
    explained = str(explain(lying, split(lying).train, caught.value))
    assert explained.startswith(f"{path}: frame 4 of depth has colours, and videos.csv says that all are grey; delete")


def test_without_augmentation_the_crop_is_central(records):
    config = make_config(crop_jitter_probability=0.0, flip_probability=0.0)
    for clips in clips_by_video(batches(records, config, 6)).values():
        assert read_marks(clips["depth"])[1:] == (8, 8, False)


def test_only_rgb_changes_its_colours(records):
    plain, *colored = (clips_by_video(batches(records, make_config(color_probability=p), 3)) for p in (0.0, 1.0, 1.0))
    assert set(plain) == set(colored[0])
    for name, clips in plain.items():
        for modality in ("depth", "flow"):
            np.testing.assert_array_equal(clips[modality], colored[0][name][modality])
        distorted = colored[0][name]["rgb"]
        np.testing.assert_array_equal(distorted, colored[1][name]["rgb"])
        assert np.abs(clips["rgb"] - distorted).max() > 1.0
        assert 0.0 <= distorted.min() < distorted.max() <= 255.0


def test_mirrored_flow_is_negated_only_on_demand(records):
    settings = {"modalities": ("depth", "flow"), "epochs": 4}
    plain, negated = (batches(records, make_config(negate_flow=value, **settings), 12) for value in (False, True))
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


def test_of_a_mirrored_skeleton_the_side_stays(tmp_path):
    """In training; the picture of the other modalities is mirrored whole. Here every channel says its columns."""

    def frame(modality, video, index):
        marked = marked_frame(index)
        return marked if modality == "depth" else np.repeat(marked[..., :1], 3, axis=2)

    info = write_records(tmp_path, {"train": 6}, modalities=("depth", "skeleton"), frame=frame)
    mirrored = []
    for batch in batches(info, make_config(modalities=("depth", "skeleton"), select_by="depth"), 12):
        for depth, skeleton in zip(batch["clips"]["depth"], batch["clips"]["skeleton"]):
            mirrored.append(read_marks(depth)[3])
            columns = depth[..., 0]
            for channel, expected in enumerate((columns, columns[:, :, ::-1] if mirrored[-1] else columns, columns)):
                np.testing.assert_allclose(skeleton[..., channel], expected, atol=6)  # of the JPEG
    assert set(mirrored) == {True, False}


@pytest.mark.parametrize(("flow", "fits"), [({"encoding": "uv"}, True), ({"encoding": "hsv"}, False), ({}, True)])
def test_only_flow_with_a_channel_u_can_be_negated(records, flow, fits):
    description = dataclasses.replace(records.description, flow=flow or None)
    pipeline.check_negation(description, make_config(), ("rgb", "flow"))
    if fits:
        pipeline.check_negation(description, make_config(negate_flow=True), ("rgb", "flow"))
    else:
        with pytest.raises(InputError, match="encoded as hsv, whose u cannot be negated"):
            pipeline.check_negation(description, make_config(negate_flow=True), ("rgb", "flow"))


def test_values_from_minus_one_to_one(records):
    plain, scaled = (
        batches(records, make_config(value_range=value, modalities=("rgb",)), 3) for value in ("0..255", "-1..1")
    )
    for one, other in zip(plain, scaled):
        np.testing.assert_allclose(other["clips"]["rgb"], one["clips"]["rgb"] / 127.5 - 1.0, atol=1e-6)
    levels = tf.constant([[0, 0, 0], [255, 127, 255]], tf.uint8)
    np.testing.assert_allclose(pipeline.network_input(levels, "-1..1"), [[-1] * 3, [1, -1 / 255, 1]], atol=1e-6)
    np.testing.assert_array_equal(pipeline.network_input(levels, "0..255"), levels)
    grey = tf.constant([[[0], [255]]], tf.uint8)
    np.testing.assert_array_equal(pipeline.network_input(grey, "-1..1"), [[[-1.0] * 3, [1.0] * 3]])


def order(videos, epoch, **settings):
    return list(pipeline.epoch_order(videos, make_config(**settings), epoch).as_numpy_iterator())


def test_an_epoch_shuffles_the_whole_list():
    orders = [order(1000, epoch) for epoch in range(3)]
    for shuffled in orders:
        assert sorted(shuffled) == list(range(1000))
        # a video may come from anywhere: neighbours in the list are a third of it apart
        assert np.mean(np.abs(np.diff(shuffled))) == pytest.approx(333, abs=40)
    assert abs(np.corrcoef(orders[0], orders[1])[0, 1]) < 0.15
    assert order(1000, 0) == orders[0] != order(1000, 0, seed=1)


def test_the_authors_shuffle_once_and_then_within_a_buffer():
    once = np.random.RandomState(0).permutation(200)
    places = np.argsort(once)  # where each video was in the list that is shuffled once
    orders = [order(200, epoch, shuffle_buffer=20) for epoch in range(2)]
    for shuffled in orders:
        assert sorted(shuffled) == list(range(200))
        early = places[shuffled] - np.arange(200)
        assert early.max() <= 20  # nothing comes before it is in the buffer
        assert early.min() < -20
    assert orders[0] != orders[1]
    assert order(200, 0, shuffle_buffer=20) == orders[0]
    assert order(200, 0, shuffle_buffer=1) == once.tolist()


@pytest.mark.parametrize("shuffle_buffer", [0, 4])
def test_batches_are_functions_of_seed_and_epoch(records, splits, shuffle_buffer):
    config = make_config(modalities=("depth",), shuffle_buffer=shuffle_buffer)
    assert pipeline.steps_per_epoch(splits, config) == 3
    uninterrupted = batches(records, config, 100)
    assert len(uninterrupted) == 3 * config.epochs
    assert_equal_batches(uninterrupted, batches(records, config, 12))
    for epoch in (1, 3):  # a run that continues sees what it would have seen
        assert_equal_batches(uninterrupted[3 * epoch :], batches(records, config, 12, first_epoch=epoch))
    epochs = [clips_by_video(uninterrupted[3 * epoch : 3 * epoch + 3]) for epoch in range(4)]
    assert {len(clips) for clips in epochs} == {6}  # every video at most once; the incomplete batch is left out
    assert set().union(*epochs) == {f"train-{k}" for k in range(VIDEOS)}
    first, second, *_ = epochs
    shared = set(first) & set(second)
    assert shared
    assert all(not np.array_equal(first[name]["depth"], second[name]["depth"]) for name in shared)
    other_seed = clips_by_video(batches(records, dataclasses.replace(config, seed=1), 3))
    shared = set(first) & set(other_seed)
    assert any(not np.array_equal(first[name]["depth"], other_seed[name]["depth"]) for name in shared)


def test_a_share_of_the_training_videos(records, splits):
    """Which videos are drawn, tests of the splits say; every epoch shows these and no others."""
    config = make_config(modalities=("rgb",), train_fraction=0.5, seed=3)
    chosen = {video.video_id for video in pipeline.training_videos(splits, config)}
    assert len(chosen) == 2 + 1 + 1  # of 3, 2 and 2
    steps = pipeline.steps_per_epoch(splits, config)
    shown = batches(records, config, 100)
    assert len(shown) == config.epochs * steps == 8
    for epoch in range(config.epochs):
        assert set(clips_by_video(shown[epoch * steps : (epoch + 1) * steps])) == chosen
    with pytest.raises(InputError, match=r"4 training videos of --train_fraction=0\.5 are fewer than --batch_size=5"):
        pipeline.steps_per_epoch(splits, make_config(train_fraction=0.5, batch_size=5))


def test_a_batch_larger_than_the_data_is_refused(splits):
    assert pipeline.steps_per_epoch(splits, make_config(batch_size=VIDEOS)) == 1
    with pytest.raises(InputError, match=r"7 training videos are fewer than --batch_size=8: choose a smaller batch"):
        pipeline.steps_per_epoch(splits, make_config(batch_size=VIDEOS + 1))


@pytest.mark.parametrize(("name", "videos"), [("validation", 2), ("test", 3)])
def test_evaluation_yields_the_fixed_clips_cropped_centrally(records, splits, name, videos):
    dataset = pipeline.evaluation_dataset(records, splits, name, make_config(), batch_size=2)
    found = list(dataset.as_numpy_iterator())
    assert [len(batch["label"]) for batch in found] == [2] * (videos // 2) + [1] * (videos % 2)
    indices = np.concatenate([batch["index"] for batch in found])
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(indices, np.arange(videos))
    np.testing.assert_array_equal(np.concatenate([batch["label"] for batch in found]), np.arange(videos) % 3)
    for modality in MODALITIES:
        clips = np.concatenate([batch["clips"][modality] for batch in found])
        assert (clips.shape, clips.dtype) == ((videos, 10, 8, 32, 32, 3), np.uint8)
        for video, of_video in zip(getattr(splits, name), clips):
            marks = [read_marks(clip) for clip in of_video]
            expected = draw_clips(video.video_id, video.length)
            np.testing.assert_array_equal([indices for indices, *_ in marks], expected)
            assert {(top, left, mirrored) for _, top, left, mirrored in marks} == {(8, 8, False)}


def test_grey_frames_fill_three_channels(tmp_path):
    def frame(modality, k, index):
        return np.full((48, 48, 1 if modality == "depth" else 3), 10 * index, np.uint8)

    records = write_records(tmp_path, {"train": 1}, lengths=(8,), classes=1, frame=frame)
    (batch,) = batches(records, make_config(batch_size=1), 1)
    expected = np.broadcast_to(10.0 * np.arange(8)[:, None, None, None], (8, 32, 32, 3))
    for modality in ("rgb", "depth"):
        np.testing.assert_allclose(batch["clips"][modality][0], expected, atol=1.0)


def test_videos_shorter_than_a_clip_are_refused(splits):
    pipeline.check_lengths(splits, make_config(clip_frames=10))
    with pytest.raises(InputError, match=r"--clip_frames=11: train-0 has 10 frames; choose shorter clips"):
        pipeline.check_lengths(splits, make_config(clip_frames=11))
