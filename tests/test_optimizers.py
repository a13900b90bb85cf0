"""Learning-rate schedules, and steps of each optimiser against NumPy: the same numbers under every version of Keras."""

import math
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from dmcl_tf.config import Config, resolve
from dmcl_tf.learning.optimizers import Schedule, is_decayed, make_optimizer

RATE, DECAY = 0.1, 0.01


def test_step_schedule():
    schedule = Schedule(resolve("authors", "full", {}), steps_per_epoch=10)
    expected = {
        0: 0.0,
        1: 0.00128 / 50,
        25: 0.00064,
        49: 0.00128 * 49 / 50,
        50: 0.00128,
        999: 0.00128,
        1000: 0.00128,  # the step of a boundary still has the rate before it, as in TF1
        1001: 0.000128,
        1500: 0.000128,
        1501: 0.0000128,
        1801: 0.00000128,
        2001: 0.000000128,
        2199: 0.000000128,
    }
    actual = {step: float(schedule(tf.constant(step, tf.int64))) for step in expected}
    assert actual == pytest.approx(expected, rel=1e-5)


def test_cosine_schedule():
    config = resolve("authors", "compact", {"warmup_epochs": 2, "epochs": 12, "learning_rate": 0.02})
    schedule = Schedule(config, steps_per_epoch=5)
    expected = {0: 0.0, 5: 0.01, 10: 0.02, 35: 0.02 * (1 + math.cos(math.pi / 2)) / 2, 60: 0.0, 70: 0.0}
    expected[59] = 0.02 * (1 + math.cos(math.pi * 49 / 50)) / 2
    assert {step: float(schedule(step)) for step in expected} == pytest.approx(expected, rel=1e-3, abs=1e-8)


@pytest.mark.parametrize("schedule", Config.__dataclass_fields__["schedule"].metadata["choices"])
def test_without_warm_up_the_first_step_has_the_full_rate(schedule):
    config = resolve("authors", "full", {"warmup_epochs": 0, "schedule": schedule})
    assert float(Schedule(config, 3)(0)) == pytest.approx(0.00128)


def test_no_decay_epochs():
    config = resolve("authors", "full", {"warmup_epochs": 0, "decay_epochs": ()})
    assert float(Schedule(config, 3)(10**6)) == pytest.approx(0.00128)


class Formula:
    """An optimiser in NumPy, in float64; `decay` is 0 for variables without weight decay."""

    def __init__(self):
        self.first, self.second, self.steps = 0.0, 0.0, 0

    def sgd(self, value, gradient, decay):
        self.first = 0.9 * self.first - RATE * gradient
        return value + self.first

    def sgdw(self, value, gradient, decay):
        return self.sgd(value - RATE * decay * value, gradient, 0.0)

    def adam_direction(self, gradient, epsilon):
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        unbiased = self.second / (1 - 0.999**self.steps)
        return self.first / (1 - 0.9**self.steps) / (np.sqrt(unbiased) + epsilon)

    def adam(self, value, gradient, decay):
        return value - RATE * self.adam_direction(gradient, 1e-8)

    def lamb(self, value, gradient, decay):
        """As published: the decay is part of what the trust ratio scales; without decay nothing is scaled."""
        direction = self.adam_direction(gradient, 1e-6) + decay * value
        ratio = np.linalg.norm(value) / np.linalg.norm(direction) if decay else 1.0
        return value - RATE * ratio * direction


FORMULAS = {"sgd": Formula.sgd, "sgdw": Formula.sgdw, "adam": Formula.adam, "lamb": Formula.lamb}


def make_variables():
    dense, normalization = keras.layers.Dense(3, name="logits"), keras.layers.BatchNormalization()
    dense.build((None, 4))
    normalization.build((None, 3))
    variables = [*dense.trainable_variables, *normalization.trainable_variables]
    random = np.random.RandomState(0)
    for variable in variables:
        variable.assign(random.normal(size=variable.shape))
    return variables


def kind(variable):
    return variable.name.split("/")[-1].split(":")[0]


def test_weight_decay_acts_on_kernels_only():
    assert {kind(variable): is_decayed(variable) for variable in make_variables()} == {
        "kernel": True,
        "bias": False,
        "gamma": False,
        "beta": False,
    }


def test_every_optimizer_has_a_formula():
    assert set(FORMULAS) == set(Config.__dataclass_fields__["optimizer"].metadata["choices"])


@pytest.mark.parametrize("name", FORMULAS)
def test_steps_equal_the_formula(name):
    settings = {"optimizer": name, "learning_rate": RATE, "weight_decay": DECAY, "warmup_epochs": 0}
    config = resolve("authors", "full", {**settings, "decay_epochs": ()})
    variables = make_variables()
    optimizer = make_optimizer(config, 10, variables)
    expected = [np.asarray(variable, np.float64) for variable in variables]
    formulas = [Formula() for _ in variables]
    random = np.random.RandomState(1)
    for _ in range(3):
        gradients = [random.normal(size=variable.shape).astype(np.float32) for variable in variables]
        optimizer.apply_gradients([(tf.constant(g), v) for g, v in zip(gradients, variables)])
        for i, (variable, gradient) in enumerate(zip(variables, gradients)):
            decay = DECAY if kind(variable) == "kernel" else 0.0
            expected[i] = FORMULAS[name](formulas[i], expected[i], gradient.astype(np.float64), decay)
    for variable, value in zip(variables, expected):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-5, err_msg=kind(variable))


@pytest.mark.parametrize("name", ["sgdw", "lamb"])
def test_steps_equal_those_of_tensorflow_addons(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it announces its end of life on every import
        addons = pytest.importorskip("tensorflow_addons")
    excluded = ["bias(:0)?$", "beta(:0)?$", "gamma(:0)?$"]
    variables, theirs = make_variables(), make_variables()
    if name == "sgdw":
        settings = {"momentum": 0.9, "exclude_from_weight_decay": excluded}
        reference = addons.optimizers.SGDW(RATE * DECAY, RATE, **settings)
    else:
        reference = addons.optimizers.LAMB(RATE, weight_decay=DECAY, exclude_from_weight_decay=excluded)
    settings = {"optimizer": name, "learning_rate": RATE, "weight_decay": DECAY, "warmup_epochs": 0}
    optimizer = make_optimizer(resolve("authors", "full", settings), 10, variables)
    random = np.random.RandomState(2)
    for _ in range(3):
        gradients = [tf.constant(random.normal(size=variable.shape), tf.float32) for variable in variables]
        optimizer.apply_gradients(zip(gradients, variables))
        reference.apply_gradients(zip(gradients, theirs))
    for variable, other in zip(variables, theirs):
        np.testing.assert_allclose(variable, other, rtol=1e-4, atol=1e-5, err_msg=kind(variable))


@pytest.mark.parametrize("name", FORMULAS)
def test_rate_of_the_first_step_of_a_warm_up_is_zero(name):
    config = resolve("authors", "full", {"optimizer": name, "weight_decay": DECAY})
    variables = make_variables()
    before = [tf.identity(variable) for variable in variables]
    optimizer = make_optimizer(config, 10, variables)
    optimizer.apply_gradients([(tf.ones_like(tf.convert_to_tensor(v)), v) for v in variables])
    for variable, value in zip(variables, before):
        np.testing.assert_array_equal(variable, value)  # no gradient and no decay either
