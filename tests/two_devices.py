"""Trains and evaluates on one and on two logical CPU devices and prints what came out; run by test_ensemble.py.

A process of its own, because devices can be split only before TensorFlow first uses them.
"""

import dataclasses
import json
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tiny import linear_networks, split, write_records

from dmcl_tf.config import resolve
from dmcl_tf.data.pipeline import training_input
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.methods import LOSSES
from dmcl_tf.networks.ensemble import ModalityEnsemble, stack
from dmcl_tf.networks.layers import BatchNormalization, Convolution, classify
from dmcl_tf.scoring.logits import Evaluator

SETTINGS = {"modalities": ("rgb", "depth"), "frame_size": 48, "crop_size": 32, "warmup_epochs": 0}
CONFIG = resolve("authors", "full", {**SETTINGS, "learning_rate": 0.01, "weight_decay": 0.1, "batch_size": 4})


def method_of(config):
    return partial(LOSSES[config.method], **config.loss_weights())


def without_batch_statistics(config, clip_norm=0.0):
    """An ensemble that treats every sample alone, so that devices cannot differ in what they normalise by.

    It is fed what the input pipeline hands out.
    """
    networks, run = linear_networks(config.modalities, 3), dataclasses.replace(config, value_range="-1..1")
    prepare = partial(training_input, config=run)
    settings = {"weight_decay": config.weight_decay, "prepare": prepare, "clip_norm": clip_norm}
    return ModalityEnsemble(networks, method_of(config), **settings)


def with_batch_statistics(config, recompute=False, synchronized=False):
    """An ensemble with each kind of layer that the networks have."""
    networks, normalize = {}, partial(BatchNormalization, momentum=0.9, synchronized=synchronized)
    for modality in config.modalities:
        clips = keras.Input((None, None, None, 3))
        x = normalize()(Convolution(4, (1, 3), (1, 2))(clips))
        x = keras.layers.Add()([x, normalize()(Convolution(4, (3, 1))(keras.layers.ReLU()(x)))])
        networks[modality] = keras.Model(clips, classify(x, 3), name=modality)
    return ModalityEnsemble(networks, method_of(config), weight_decay=config.weight_decay, recompute=recompute)


def taught(config):
    """A network that a frozen one of another modality teaches."""
    teacher = linear_networks(["depth"], 3)["depth"]
    student = dataclasses.replace(config, method="generalized_distillation", teacher_run="somewhere")
    return ModalityEnsemble(
        linear_networks(["rgb"], 3),
        method_of(student),
        weight_decay=config.weight_decay,
        teacher=lambda clips: stack([teacher(clips["depth"])]),
    )


def train(strategy, make, batch, steps):
    """Weights and reported figures after some steps on one batch."""
    keras.utils.set_random_seed(1)
    with strategy.scope():
        ensemble = make(CONFIG)
        optimizer = make_optimizer(CONFIG, steps, ensemble.trainable_variables)
        ensemble.compile(optimizer=optimizer, jit_compile=False)
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(4).repeat()
    history = ensemble.fit(dataset, epochs=1, steps_per_epoch=steps, verbose=0).history
    return ensemble, {name: values[0] for name, values in history.items()}


def weights(ensemble):
    """The trainable variables, and the moving statistics of batch normalisation, of all networks."""
    networks = ensemble.networks.values()
    return {
        "trainable": [np.asarray(tf.identity(v)) for network in networks for v in network.trainable_variables],
        "moving": [np.asarray(tf.identity(v)) for network in networks for v in network.non_trainable_variables],
    }


def largest_difference(first, second):
    """Of the weights of two ensembles, relative to the largest weight of each variable."""
    first, second = weights(first), weights(second)
    return {
        kind: float(max((np.abs(a - b).max() / np.abs(a).max() for a, b in zip(first[kind], second[kind])), default=0))
        for kind in first
    }


def main(directory: Path) -> None:
    """Prints one JSON object."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    clips = {
        modality: tf.random.stateless_uniform((4, 8, 32, 32, 3), (1, seed), maxval=1.0)
        for seed, modality in enumerate(CONFIG.modalities)
    }
    different = {"clips": clips, "label": np.array([0, 1, 2, 0])}
    halves = tf.nest.map_structure(lambda x: np.concatenate([x[:2], x[:2]]), different)
    handed_out = {
        "clips": {m: tf.cast(255.0 * c, tf.uint8) for m, c in clips.items()},
        "flip": np.array([True, False, False, True]),
        "color_order": np.array([0, 3, 5, 6], np.int32),
        "color_strengths": np.random.RandomState(0).uniform(size=(4, 4)).astype(np.float32),
        "label": different["label"],
    }
    result = {"devices": two.num_replicas_in_sync}
    for name, make, batch, steps in (
        ("without_batch_statistics", without_batch_statistics, handed_out, 3),
        ("clipped", partial(without_batch_statistics, clip_norm=0.1), handed_out, 3),
        ("taught", taught, different, 3),
        ("synchronized", partial(with_batch_statistics, recompute=True, synchronized=True), different, 3),
        ("with_batch_statistics", with_batch_statistics, halves, 3),
    ):
        (first, alone), (second, shared) = (train(strategy, make, batch, steps) for strategy in (one, two))
        result[name] = {"difference": largest_difference(first, second), "one": alone, "two": shared}
    seeds = two.run(lambda: second._given({}).seed)
    result["seeds"] = [seed.numpy().tolist() for seed in two.experimental_local_results(seeds)]
    second.set_weights(first.get_weights())
    records = write_records(directory, {"train": 3, "validation": 1, "test": 3}, modalities=CONFIG.modalities)
    result["evaluation"] = {}
    for name in ("validation", "test"):  # one video is fewer than devices, three do not divide by them
        alone, shared = (Evaluator(ensemble, records, split(records), CONFIG)(name) for ensemble in (first, second))
        result["evaluation"][name] = {
            "difference": float(np.abs(alone.logits - shared.logits).max() / np.abs(alone.logits).max()),
            "one": alone.video_ids,
            "two": shared.video_ids,
            "labels": shared.labels.tolist(),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
