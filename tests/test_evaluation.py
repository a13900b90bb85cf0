"""Logits of whole videos: the average over their fixed clips."""

import numpy as np
import pytest
import tensorflow as tf
from tiny import linear_networks, marked_frame, write_records

from dmcl_tf import methods as objectives
from dmcl_tf.config import resolve
from dmcl_tf.errors import InputError
from dmcl_tf.networks.ensemble import ModalityEnsemble
from dmcl_tf.scoring import logits as evaluation

MODALITIES = ("rgb", "depth")
VIDEOS = 5


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    def frame(modality, k, index):
        return marked_frame(index) // (2 if modality == "depth" else 1) + np.uint8(k)

    folder = tmp_path_factory.mktemp("records")
    return write_records(folder, {"train": 1, "test": VIDEOS}, modalities=MODALITIES, frame=frame)


def make_config(**changes):
    return resolve("authors", "paper", {"frame_size": 48, "crop_size": 32, "modalities": MODALITIES, **changes})


@pytest.fixture(scope="module")
def ensemble():
    return ModalityEnsemble(linear_networks(MODALITIES, 3), objectives.dmcl)


def expected_logits(info, ensemble, scaled):
    """Of every video by its id, one clip at a time."""
    result = {}
    for path in info.shard_paths("test"):
        for serialized in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            example = tf.train.SequenceExample.FromString(serialized)
            video_id = example.context.feature["video_id"].bytes_list.value[0].decode()
            logits = []
            for modality in MODALITIES:
                images = [f.bytes_list.value[0] for f in example.feature_lists.feature_list[modality].feature]
                frames = np.stack([tf.io.decode_jpeg(image)[8:40, 8:40] for image in images]).astype(np.float32)
                frames = frames / 127.5 - 1.0 if scaled else frames
                clips = [ensemble.networks[modality](frames[None, indices]) for indices in info.clips["test"][video_id]]
                logits.append(np.mean(clips, axis=(0, 1)))
            result[video_id] = np.stack(logits)
    return result


@pytest.mark.parametrize("value_range", ["0..255", "-1..1"])
def test_logits_are_averaged_over_the_clips_of_each_video(info, ensemble, value_range):
    result = evaluation.Evaluator(ensemble, info, make_config(value_range=value_range))("test")
    expected = expected_logits(info, ensemble, scaled=value_range == "-1..1")
    assert sorted(result.video_ids) == sorted(expected)
    assert result.logits.shape == (2, VIDEOS, 3)
    for column, video_id in enumerate(result.video_ids):
        np.testing.assert_allclose(result.logits[:, column], expected[video_id], rtol=1e-4, atol=1e-3)
        assert result.labels[column] == int(video_id.split("-")[1]) % 3


def test_the_size_of_batches_does_not_matter(info, ensemble, monkeypatch):
    whole = evaluation.Evaluator(ensemble, info, make_config())("test")
    monkeypatch.setattr(evaluation.Evaluator, "_videos_per_batch", lambda self, split: 2)
    parts = evaluation.Evaluator(ensemble, info, make_config())("test")
    assert parts.video_ids == whole.video_ids
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_allclose(parts.logits, whole.logits, rtol=1e-5, atol=1e-4)


def test_an_empty_split_is_named(info, ensemble):
    with pytest.raises(InputError, match="no videos in the validation split"):
        evaluation.Evaluator(ensemble, info, make_config())("validation")
