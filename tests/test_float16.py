"""Training in float16 with loss scaling, on the processor: the direction of float32, and no step that overflows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import linear_networks

from benchmarks.train_step import random_batch
from dmcl_tf.config import resolve
from dmcl_tf.learning.loss_scale import LossScale
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.networks.ensemble import ModalityEnsemble, make_ensemble
from dmcl_tf.runs.checkpoints import Checkpoints

RATE = 0.5


def make_config(**changes):
    settings = {"modalities": ("rgb",), "select_by": "rgb", "frame_size": 32, "crop_size": 32, "batch_size": 4}
    settings |= {"width": 4, "variant": "testing", "warmup_epochs": 0, "learning_rate": RATE, "momentum": 0.0}
    return resolve("authors", "full", {**settings, "value_range": "-1..1", **changes})


def step_of(precision, **changes):
    """By how much the first step that is taken moves the variables, as one vector; and the ensemble."""
    config = make_config(precision=precision, **changes)
    keras.utils.set_random_seed(1)
    try:
        ensemble = make_ensemble(config, 10)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    ensemble.compile(optimizer=make_optimizer(config, 10, ensemble.trainable_variables), jit_compile=False)
    before = [np.asarray(tf.identity(variable)) for variable in ensemble.trainable_variables]
    step, batch = tf.function(ensemble.train_step), random_batch(config)
    for _ in range(15):  # the scale is halved until nothing overflows
        step(batch)
        if int(tf.convert_to_tensor(ensemble.optimizer.iterations)):
            break
    moved = [np.asarray(tf.identity(v)) - old for v, old in zip(ensemble.trainable_variables, before)]
    return np.concatenate([values.ravel() for values in moved]), ensemble


def test_the_step_is_that_of_float32_up_to_rounding():
    expected, _ = step_of("float32")
    moved, ensemble = step_of("float16")
    assert ensemble.networks["rgb"].get_layer("convolution_1").compute_dtype == "float16"
    assert {tf.as_dtype(variable.dtype) for variable in ensemble.trainable_variables} == {tf.float32}
    assert expected @ moved / np.linalg.norm(expected) / np.linalg.norm(moved) > 0.99
    assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(expected), rel=0.05)


def linear():
    ensemble = ModalityEnsemble(linear_networks(["rgb"], 3), None, loss_scale=LossScale())
    optimizer = make_optimizer(make_config(), 10, ensemble.trainable_variables)
    ensemble.compile(optimizer=optimizer, jit_compile=False)
    return ensemble


def scale(ensemble):
    return float(ensemble.loss_scale.value)


def take_step(ensemble, value):
    """A step along gradients that are `value` everywhere, as they come out of a scaled loss."""
    variables = ensemble.trainable_variables
    scaled = [tf.fill(variable.shape, value * scale(ensemble)) for variable in variables]
    tf.function(lambda gradients: ensemble.loss_scale.apply(ensemble.optimizer, gradients, variables))(scaled)


def test_a_step_that_overflows_is_left_out_and_the_scale_halved():
    ensemble = linear()
    before, first = [np.asarray(w) for w in ensemble.networks["rgb"].get_weights()], scale(ensemble)
    assert first > 1000
    take_step(ensemble, np.inf)
    take_step(ensemble, np.nan)
    for weight, old in zip(ensemble.networks["rgb"].get_weights(), before):
        np.testing.assert_array_equal(weight, old)
    assert int(tf.convert_to_tensor(ensemble.optimizer.iterations)) == 0
    assert scale(ensemble) == first / 4
    take_step(ensemble, 0.25)
    for weight, old in zip(ensemble.networks["rgb"].get_weights(), before):
        np.testing.assert_allclose(weight, old - RATE * 0.25, rtol=1e-5, atol=1e-6)


def test_the_scale_is_doubled_after_many_steps_and_never_below_one(monkeypatch):
    monkeypatch.setattr("dmcl_tf.learning.loss_scale._STEPS_TO_DOUBLE", 2)
    ensemble = linear()
    ensemble.loss_scale.value.assign(2.0)
    for value, expected in ((np.inf, 1), (np.inf, 1), (1, 1), (1, 2), (1, 2), (np.inf, 1), (1, 1), (1, 2)):
        take_step(ensemble, np.float32(value))
        assert scale(ensemble) == expected


def test_a_continued_run_keeps_the_scale(tmp_path):
    ensemble, other = linear(), linear()
    for value in (np.inf, np.inf, 1.0):
        take_step(ensemble, value)
    Checkpoints(tmp_path, ensemble).save_last(0)
    assert Checkpoints(tmp_path, other).restore("last") == 0
    assert scale(other) == scale(ensemble) == scale(linear()) / 4
    assert int(tf.convert_to_tensor(other.optimizer.iterations)) == 1
