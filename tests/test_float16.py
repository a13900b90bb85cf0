"""Training in float16 with loss scaling, on the processor: the direction of float32, and no step that overflows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import linear_networks

from benchmarks.train_step import random_batch
from dmcl_tf.config import resolve
from dmcl_tf.learning.optimizers import apply, make_optimizer, scale_loss
from dmcl_tf.networks.ensemble import ModalityEnsemble, make_ensemble
from dmcl_tf.runs.checkpoints import Checkpoints

RATE = 0.5


def make_config(**changes):
    settings = {
        "modalities": ("rgb",),
        "select_by": "rgb",
        "frame_size": 32,
        "crop_size": 32,
        "width": 4,
        "batch_size": 4,
    }
    settings |= {"warmup_epochs": 0, "learning_rate": RATE, "momentum": 0.0, "value_range": "-1..1"}
    return resolve("authors", "full", {**settings, **changes})


def step_of(precision, **changes):
    """By how much the first step that does not overflow moves the variables, as one vector; and the ensemble."""
    config = make_config(precision=precision, **changes)
    keras.utils.set_random_seed(1)
    try:
        ensemble = make_ensemble(config, 10)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    ensemble.compile(optimizer=make_optimizer(config, 10, ensemble.trainable_variables), jit_compile=False)
    before = [np.asarray(tf.identity(variable)) for variable in ensemble.trainable_variables]
    step, batch = tf.function(ensemble.train_step), random_batch(config)
    while int(tf.convert_to_tensor(ensemble.optimizer.iterations)) == 0:  # the scale is halved until nothing overflows
        assert precision != "float16" or scale(ensemble) > 1
        step(batch)
    moved = [np.asarray(tf.identity(v)) - old for v, old in zip(ensemble.trainable_variables, before)]
    return np.concatenate([values.ravel() for values in moved]), ensemble


def cosine(one, other):
    return one @ other / np.linalg.norm(one) / np.linalg.norm(other)


def test_the_step_is_that_of_float32_up_to_rounding():
    expected, _ = step_of("float32", variant="testing")
    moved, ensemble = step_of("float16", variant="testing")
    assert ensemble.networks["rgb"].get_layer("convolution_1").compute_dtype == "float16"
    assert {tf.as_dtype(variable.dtype) for variable in ensemble.trainable_variables} == {tf.float32}
    assert cosine(expected, moved) > 0.99
    assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(expected), rel=0.05)


def test_a_deep_network_rounds_less_than_in_bfloat16():
    """On noise, rounding grows through 37 normalisations; float16 has three bits more than bfloat16."""
    expected, _ = step_of("float32")
    coarse, _ = step_of("bfloat16")
    moved, _ = step_of("float16", recompute=True)
    assert cosine(expected, moved) > cosine(expected, coarse)


def linear():
    ensemble = ModalityEnsemble(linear_networks(["rgb"], 3), None)
    optimizer = make_optimizer(make_config(precision="float16"), 10, ensemble.trainable_variables)
    ensemble.compile(optimizer=optimizer, jit_compile=False)
    return ensemble


def scale(ensemble):
    return float(scale_loss(ensemble.optimizer, tf.constant(1.0)))


def take_step(ensemble, value):
    """A step along gradients that are `value` everywhere, as they come out of a scaled loss."""
    variables = ensemble.trainable_variables
    scaled = [tf.fill(variable.shape, value * scale(ensemble)) for variable in variables]
    tf.function(lambda gradients: apply(ensemble.optimizer, gradients, variables))(scaled)


def test_a_step_that_overflows_is_left_out_and_the_scale_halved():
    ensemble = linear()
    before, first = ensemble.get_weights(), scale(ensemble)
    assert first > 1000
    take_step(ensemble, np.inf)
    for weight, old in zip(ensemble.get_weights(), before):
        np.testing.assert_array_equal(weight, old)
    assert scale(ensemble) == first / 2
    take_step(ensemble, 0.25)
    for weight, old in zip(ensemble.get_weights(), before):
        np.testing.assert_allclose(weight, old - RATE * 0.25, rtol=1e-5, atol=1e-6)


def test_a_continued_run_keeps_the_scale(tmp_path):
    ensemble, other = linear(), linear()
    for value in (np.inf, np.inf, 1.0):
        take_step(ensemble, value)
    Checkpoints(tmp_path, ensemble).save_last(0)
    assert Checkpoints(tmp_path, other).restore("last") == 0
    assert scale(other) == scale(ensemble) != scale(linear())
    assert int(tf.convert_to_tensor(other.optimizer.iterations)) == 1
