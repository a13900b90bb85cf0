"""Learning-rate schedules and optimisers."""

from __future__ import annotations

import importlib.util
import math

import keras
import tensorflow as tf

from dmcl_tf.config import Config

_LAMB_EPSILON = 1e-6  # of the paper and of tensorflow-addons; Keras' default is 1e-7
_NOT_DECAYED = ("gamma", "beta", "bias")  # weight decay acts on kernels only, as in the authors' code


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then steps of ÷10 or a half cosine to 0 (authors: utils.learning_rate_with_decay).

    Deviation: boundaries are counted in whole epochs of `videos // batch_size` steps, where the authors count
    `videos / batch_size` although incomplete batches are dropped.

    Args:
        config: of the run.
        steps_per_epoch: optimiser steps in an epoch.
        factor: multiplies the result.
    """

    def __init__(self, config: Config, steps_per_epoch: int, factor: float = 1.0):
        self._config, self._steps_per_epoch, self._factor = config, steps_per_epoch, factor

    def __call__(self, step):
        """The learning rate, a float32 scalar, of optimiser step 0, 1, …"""
        config = self._config
        step = tf.cast(step, tf.float32)
        base = tf.constant(config.learning_rate * self._factor, tf.float32)
        warmup = float(config.warmup_epochs * self._steps_per_epoch)
        if config.schedule == "cosine":
            total = max(float(config.epochs * self._steps_per_epoch) - warmup, 1.0)
            progress = tf.clip_by_value((step - warmup) / total, 0.0, 1.0)
            rate = base * 0.5 * (1.0 + tf.cos(math.pi * progress))
        else:
            boundaries = tf.constant([float(epoch * self._steps_per_epoch) for epoch in config.decay_epochs])
            # as tf.train.piecewise_constant: the step of a boundary still has the rate before it
            rate = base * 0.1 ** tf.reduce_sum(tf.cast(step > boundaries, tf.float32))
        return tf.where(step < warmup, base * step / max(warmup, 1.0), rate)

    def get_config(self):
        """The constructor's arguments, for Keras."""
        return {"config": self._config, "steps_per_epoch": self._steps_per_epoch, "factor": self._factor}


def make_optimizer(config: Config, steps_per_epoch: int, variables: list):
    """The optimiser of a run.

    `sgdw` and `lamb` come from tensorflow-addons where it is installed, else from Keras. SGDW shrinks kernels by
    learning rate · weight decay, for which that of tensorflow-addons is handed a schedule of its own. The two LAMBs
    differ: tensorflow-addons', as published, adds the decay to what its trust ratio scales and scales kernels only;
    Keras' decays as SGDW does and scales every variable.

    Args:
        config: of the run.
        steps_per_epoch: optimiser steps in an epoch.
        variables: the trainable variables, so that the state exists before a checkpoint is restored.
    """
    schedule = Schedule(config, steps_per_epoch)
    if config.optimizer in ("sgdw", "lamb") and importlib.util.find_spec("tensorflow_addons"):
        return _addons_optimizer(config, schedule, Schedule(config, steps_per_epoch, config.weight_decay))
    if config.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(schedule, momentum=config.momentum)
    elif config.optimizer == "adam":
        optimizer = keras.optimizers.Adam(schedule, epsilon=1e-8)  # TensorFlow 1's epsilon; Keras' is 1e-7
    else:
        if config.optimizer == "sgdw":
            optimizer = keras.optimizers.SGD(schedule, momentum=config.momentum, weight_decay=config.weight_decay)
        else:
            optimizer = keras.optimizers.Lamb(schedule, epsilon=_LAMB_EPSILON, weight_decay=config.weight_decay)
        optimizer.exclude_from_weight_decay(var_list=[v for v in variables if not is_decayed(v)])
    optimizer.build(variables)
    return optimizer


def is_decayed(variable) -> bool:
    """Whether weight decay acts on a variable: on kernels, not on biases and batch normalisation."""
    return not variable.name.split(":")[0].endswith(_NOT_DECAYED)


def _addons_optimizer(config: Config, schedule: Schedule, decay_schedule: Schedule):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensorflow-addons announces its end of life on every import
        import tensorflow_addons as tfa
    excluded = [f"{name}(:0)?$" for name in _NOT_DECAYED]
    if config.optimizer == "sgdw":
        return tfa.optimizers.SGDW(
            decay_schedule, schedule, momentum=config.momentum, exclude_from_weight_decay=excluded
        )
    return tfa.optimizers.LAMB(schedule, weight_decay=config.weight_decay, exclude_from_weight_decay=excluded)
