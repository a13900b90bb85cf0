"""Logits of whole videos: the average over their fixed clips."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tiny import linear_networks, marked_frame, split, write_records

from dmcl_tf.config import resolve
from dmcl_tf.data import pipeline
from dmcl_tf.data.records import decode_video, draw_clips, encode_video, read_record, write_record
from dmcl_tf.data.table import Records
from dmcl_tf.errors import InputError
from dmcl_tf.networks.ensemble import ModalityEnsemble
from dmcl_tf.scoring.logits import Evaluator

MODALITIES = ("rgb", "depth")
VIDEOS = 5


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    def frame(modality, k, index):
        image = marked_frame(index) // (2 if modality == "depth" else 1) + np.uint8(k)
        return image[..., :1] if modality == "depth" else image  # stored and read as one channel

    folder = tmp_path_factory.mktemp("records")
    return write_records(folder, {"train": 3, "test": VIDEOS}, modalities=MODALITIES, frame=frame)


def make_config(**changes):
    return resolve("authors", "full", {"frame_size": 48, "crop_size": 32, "modalities": MODALITIES, **changes})


@pytest.fixture(scope="module")
def ensemble():
    return ModalityEnsemble(linear_networks(MODALITIES, 3), None)


def evaluate(ensemble, records, name="test", **changes):
    return Evaluator(ensemble, records, split(records), make_config(**changes))(name)


@pytest.mark.parametrize("value_range", ["0..255", "-1..1"])
def test_logits_are_averaged_over_the_clips_of_each_video(records, ensemble, value_range):
    """Against a plain loop: decode every frame, crop, one clip at a time through the networks."""
    result = evaluate(ensemble, records, value_range=value_range)
    assert result.video_ids == [f"test-{k}" for k in range(VIDEOS)]
    assert result.labels.tolist() == [k % 3 for k in range(VIDEOS)]
    assert result.logits.shape == (2, VIDEOS, 3)
    for column, video_id in enumerate(result.video_ids):
        video = records.by_id[video_id]
        _, images = decode_video(read_record(records.path(video)))
        for row, modality in enumerate(MODALITIES):
            frames = np.stack([tf.io.decode_jpeg(image, 3)[8:40, 8:40] for image in images[modality]])
            frames = frames.astype(np.float32) / 127.5 - 1.0 if value_range == "-1..1" else frames.astype(np.float32)
            clips = draw_clips(video_id, video.length)
            assert len({tuple(clip) for clip in clips}) > 1
            expected = np.mean(
                [ensemble.networks[modality](frames[clip][None])["logits"] for clip in clips], axis=(0, 1)
            )
            np.testing.assert_allclose(result.logits[row, column], expected, rtol=1e-4, atol=1e-3)


def test_the_size_of_batches_does_not_matter(records, ensemble, monkeypatch):
    whole = evaluate(ensemble, records)
    monkeypatch.setattr(Evaluator, "videos_per_batch", lambda self: 2)
    parts = evaluate(ensemble, records)
    assert parts.video_ids == whole.video_ids
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_allclose(parts.logits, whole.logits, rtol=1e-5, atol=1e-4)


def test_videos_come_in_the_order_of_the_split_whatever_that_of_the_batches(records, ensemble, monkeypatch):
    expected = evaluate(ensemble, records)
    real = pipeline.evaluation_dataset

    def reversed_batches(*arguments, **place):
        batches = list(real(*arguments, **place).unbatch().as_numpy_iterator())[::-1]
        stacked = tf.nest.map_structure(lambda *values: np.stack(values), *batches)
        return tf.data.Dataset.from_tensor_slices(stacked).batch(2)

    monkeypatch.setattr(pipeline, "evaluation_dataset", reversed_batches)
    np.testing.assert_allclose(evaluate(ensemble, records).logits, expected.logits, rtol=1e-5, atol=1e-4)


def test_a_video_that_is_left_out_or_seen_twice_is_noticed(records, ensemble, monkeypatch):
    real = pipeline.evaluation_dataset
    for change in (lambda batches: batches.skip(1), lambda batches: batches.concatenate(batches.take(1))):
        monkeypatch.setattr(
            pipeline,
            "evaluation_dataset",
            lambda *arguments, change=change, **place: change(real(*arguments, **place).unbatch()).batch(2),
        )
        with pytest.raises(AssertionError, match="every video of the split once"):
            evaluate(ensemble, records)


def test_an_empty_split_is_named(records, ensemble):
    with pytest.raises(InputError, match=f"{records.directory}: no videos in the validation split"):
        evaluate(ensemble, records, "validation")


def test_a_record_that_cannot_be_used_is_named(records, ensemble, tmp_path):
    shutil.copytree(records.directory, tmp_path / "records")
    copy = Records.load(tmp_path / "records")
    path = copy.path(copy.by_id["test-3"])
    about, images = decode_video(read_record(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=f"{path} is damaged: delete it and run"):
        evaluate(ensemble, copy)
    for changed in ({"rgb": images["rgb"]}, {**images, "depth": [b"no JPEG"] * about.length}):
        write_record(path, encode_video(about, changed))
        with pytest.raises(InputError, match=f"{path}.*delete it and run"):
            evaluate(ensemble, copy)
    path.unlink()
    with pytest.raises(InputError, match=f"{path}: No such file or directory"):
        evaluate(ensemble, copy)
