"""What is served, before it is exported: preparation of clips and predictions."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tiny import MODALITIES, split
from tiny_run import make_config, smooth_clips, write_noisy_records

from data_prep.video.frames import resize
from dmcl_tf import serving
from dmcl_tf.data import pipeline
from dmcl_tf.data.records import decode_video, draw_clips, read_record
from dmcl_tf.networks.ensemble import make_ensemble


def as_functions(ensemble, config):
    return {modality: partial(serving.clip_logits, net, config) for modality, net in ensemble.networks.items()}


def test_predictions_are_ordered_and_of_the_mean_of_logits():
    clips = smooth_clips(40, 40)
    config, class_names = make_config(), tuple(f"class {label}" for label in range(6))
    ensemble = make_ensemble(config, 6)
    for seed, network in enumerate(ensemble.networks.values()):  # else probabilities of 0 would be in any order
        last = network.get_layer("logits")
        last.kernel.assign(0.001 * tf.convert_to_tensor(last.kernel))
        last.bias.assign(np.random.RandomState(seed).normal(size=6))
    predicted = serving.predict(as_functions(ensemble, config), clips, config, class_names)
    logits = ensemble({modality: clips[modality][:, :, 4:36, 4:36].astype(np.float32) for modality in MODALITIES})
    mean = tf.add_n([logits[modality] for modality in MODALITIES]) / 3
    np.testing.assert_allclose(predicted["logits"], mean, atol=1e-5)
    expected = tf.nn.softmax(mean).numpy()
    np.testing.assert_allclose(predicted["probabilities"], expected, atol=1e-6)
    order = np.argsort(-expected, axis=1)[:, :5]
    np.testing.assert_allclose(predicted["scores"], np.take_along_axis(expected, order, axis=1), atol=1e-6)
    names = [[class_names[label].encode() for label in row] for row in order]
    assert predicted["classes"].numpy().tolist() == names


def test_fewer_than_five_classes():
    config = make_config(modalities=("rgb",), select_by="rgb")
    networks = as_functions(make_ensemble(config, 3), config)
    predicted = serving.predict(networks, {"rgb": smooth_clips(40, 40)["rgb"]}, config, ("a", "b", "c"))
    assert predicted["classes"].shape == predicted["scores"].shape == (2, 3)


@pytest.mark.parametrize("size", [(120, 160), (48, 64), (40, 64), (41, 43), (20, 30), (30, 90), (40, 40)])
def test_frames_are_resized_as_the_records_are(size):
    clips = np.stack([smooth_clips(*size)["rgb"], np.random.RandomState(0).randint(0, 256, (2, 8, *size, 3))])
    clips = clips.reshape(-1, 8, *size, 3).astype(np.uint8)
    prepared = serving.prepare_clips(tf.constant(clips), make_config()).numpy()
    expected = np.stack([[resize(image, 40)[4:36, 4:36] for image in clip] for clip in clips])
    assert prepared.shape == expected.shape
    assert prepared.dtype == np.float32
    assert np.abs(prepared - expected).max() <= 1
    if size == (40, 40):
        np.testing.assert_array_equal(prepared, expected)
    elif size == (120, 160):  # the area average, not samples of it
        sampled = np.stack(
            [
                [cv2.resize(image, (40, 40), interpolation=cv2.INTER_LINEAR)[4:36, 4:36] for image in clip]
                for clip in clips
            ]
        )
        assert np.abs(prepared - sampled).max() > 20


@pytest.mark.parametrize("value_range", ["0..255", "-1..1"])
def test_stored_frames_are_fed_as_in_the_evaluation(tmp_path, value_range):
    records = write_noisy_records(tmp_path)
    config, splits = make_config(value_range=value_range), split(records)
    (batch,) = pipeline.evaluation_dataset(records, splits, "test", config, 7).as_numpy_iterator()
    video = splits.test[batch["index"][3]]
    _, frames = decode_video(read_record(records.path(video)))
    for modality in MODALITIES:
        images = np.stack([tf.io.decode_jpeg(jpeg, 3).numpy() for jpeg in frames[modality]])
        prepared = serving.prepare_clips(tf.constant(images[draw_clips(video.video_id, video.length)]), config)
        expected = pipeline.network_input(batch["clips"][modality][3], value_range)
        np.testing.assert_array_equal(prepared, expected)
        assert float(tf.reduce_min(prepared)) < 0 or value_range == "0..255"
