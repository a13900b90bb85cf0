"""Pooled features of whole videos by untrained networks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from dmcl_tf.config import Config
from dmcl_tf.data import pipeline
from dmcl_tf.data.faults import explain
from dmcl_tf.data.table import Records
from dmcl_tf.datasets.splits import Splits
from dmcl_tf.networks.ensemble import make_ensemble

BATCH_NORM = {"inference": False, "batch statistics": True}  # what a network is called with as `training`


def initial_weights(config: Config, seed: int, num_classes: int) -> dict[str, list[np.ndarray]]:
    """The weights, by modality, with which a training of this seed begins."""
    keras.utils.set_random_seed(seed + 1)  # as dmcl_tf.learning.loop does
    return {modality: network.get_weights() for modality, network in _networks(config, num_classes).items()}


def extract(
    records: Records, splits: Splits, split: str, config: Config, networks: Sequence[Mapping[str, list[np.ndarray]]]
) -> dict[tuple[str, str], np.ndarray]:
    """Features of all videos of a split, which is read once for all N networks.

    Batches are of the videos as the split has them: those of one class have no usual statistics.

    Returns:
        By batch normalisation and modality, (N, V, D) float32, the mean over the clips of each of V videos.

    Raises:
        InputError: a record cannot be used.
    """
    network = next(iter(_networks(config, len(splits.class_names)).values()))  # holds the weights of each in turn
    clip = tf.TensorSpec((None, config.clip_frames, config.crop_size, config.crop_size, 3))
    ways = {
        way: tf.function(partial(_pooled, network, training), autograph=False, input_signature=[clip])
        for way, training in BATCH_NORM.items()
    }
    videos = getattr(splits, split)
    dataset = pipeline.evaluation_dataset(records, splits, split, config, config.batch_size)
    features: dict[tuple[str, str], list] = {key: [] for key in itertools.product(ways, config.modalities)}
    with tqdm(total=len(videos), desc=f"features of {split} videos", unit="video", dynamic_ncols=True) as bar:
        try:
            for batch in dataset:
                for modality, clips in batch["clips"].items():
                    by_network: dict[str, list] = {way: [] for way in ways}
                    for weights in networks:
                        network.set_weights(weights[modality])
                        for way, pooled in ways.items():
                            inputs = (pipeline.network_input(c, config.value_range) for c in tf.unstack(clips, axis=1))
                            by_clip = [pooled(clip).numpy() for clip in inputs]
                            by_network[way].append(np.mean(by_clip, axis=0))
                    for way, values in by_network.items():
                        features[way, modality].append(np.stack(values))
                bar.update(len(batch["index"]))
        except tf.errors.OpError as error:
            raise explain(records, videos, error) from None
    return {key: np.concatenate(parts, axis=1) for key, parts in features.items()}


def _networks(config: Config, num_classes: int) -> dict[str, keras.Model]:
    """The networks of a run, whose moving statistics stay as they are."""
    return make_ensemble(dataclasses.replace(config, batch_norm_momentum=1.0), num_classes).networks


def _pooled(network, training, clips):
    return network(clips, training=training)["features"]
