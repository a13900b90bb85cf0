"""Learning-rate schedules and optimisers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from dmcl_tf.config import Config

_NOT_DECAYED = ("gamma", "beta", "bias")  # weight decay acts on kernels only, as in the authors' code


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then steps of ÷10 or a half cosine to 0 (authors: utils.learning_rate_with_decay).

    Deviation: boundaries are counted in whole epochs of `videos // batch_size` steps, where the authors count
    `videos / batch_size` although incomplete batches are dropped.

    Args:
        config: of the run.
        steps_per_epoch: optimiser steps in an epoch.
    """

    def __init__(self, config: Config, steps_per_epoch: int):
        self._config, self._steps_per_epoch = config, steps_per_epoch

    def __call__(self, step):
        """The learning rate, a float32 scalar, of optimiser step 0, 1, …"""
        config = self._config
        step = tf.cast(step, tf.float32)
        base = tf.constant(config.learning_rate, tf.float32)
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
        return {"config": self._config, "steps_per_epoch": self._steps_per_epoch}


def make_optimizer(config: Config, steps_per_epoch: int, variables: list):
    """The optimiser of a run; its steps are the same mathematics under every version of Keras.

    Args:
        config: of the run.
        steps_per_epoch: optimiser steps in an epoch.
        variables: the trainable variables, so that the state exists before a checkpoint is restored.
    """
    schedule = Schedule(config, steps_per_epoch)
    if config.optimizer == "adam":
        optimizer = keras.optimizers.Adam(schedule, epsilon=1e-8)  # TensorFlow 1's epsilon; Keras' is 1e-7
    elif config.optimizer == "lamb":
        optimizer = Lamb(schedule, config.weight_decay)
    else:
        # SGDW (Loshchilov and Hutter, 2019): kernels shrink by learning rate · weight decay beside the step
        decay = config.weight_decay if config.optimizer == "sgdw" else None
        optimizer = keras.optimizers.SGD(schedule, momentum=config.momentum, weight_decay=decay)
        if decay:
            optimizer.exclude_from_weight_decay(var_list=[v for v in variables if not is_decayed(v)])
    optimizer.build(variables)
    return optimizer


def clip_together(gradients: Sequence[tf.Tensor], largest: tf.Tensor | float) -> list[tf.Tensor]:
    """Gradients of a replica, scaled so that their norm over all variables, summed over all replicas, is `largest`.

    The optimisers of Keras 2 clip the sum over replicas, those of Keras 3 each replica's gradient; this is the former.

    Args:
        gradients: as many as there are variables.
        largest: norm; smaller gradients stay as they are.
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients)) if replicas > 1 else gradients
    clipped, _ = tf.clip_by_global_norm(total, largest)
    return [gradient / replicas for gradient in clipped]  # the optimiser sums over replicas


def decays_itself(config: Config) -> bool:
    """Whether the optimiser of a run decays weights; otherwise the decay is a term of the loss."""
    return config.optimizer in ("sgdw", "lamb")


def is_decayed(variable) -> bool:
    """Whether weight decay acts on a variable: on kernels, not on biases and batch normalisation."""
    return not variable.name.split(":")[0].endswith(_NOT_DECAYED)


class Lamb(keras.optimizers.Adam):
    """LAMB as published (You et al., ICLR 2020): Adam's direction plus weight decay, scaled layer by layer.

    A kernel w moves by learning rate · ‖w‖ / ‖r‖ · r, where r is the direction plus `decay` · w; other variables move
    by Adam's direction. tensorflow-addons has the same. The optimiser of that name in Keras 3 decays apart from the
    ratio and scales every variable, and Keras 2 has none: this one is alike under both.

    Args:
        learning_rate: a schedule.
        decay: weight decay of kernels.
    """

    def __init__(self, learning_rate, decay: float):
        super().__init__(learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-6, name="lamb")
        self._kernel_decay = decay

    def update_step(self, gradient, variable, learning_rate=None):
        """Takes a step of one variable; `learning_rate` is given by Keras 3 alone."""
        rate = tf.cast(self.learning_rate if learning_rate is None else learning_rate, tf.float32)
        find = getattr(self, "_get_variable_index", None) or (lambda v: self._index_dict[self._var_key(v)])
        mean, square = self._momentums[find(variable)], self._velocities[find(variable)]
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, tf.float32)
        mean.assign(self.beta_1 * mean + (1.0 - self.beta_1) * gradient)
        square.assign(self.beta_2 * square + (1.0 - self.beta_2) * gradient**2)
        unbiased = tf.sqrt(square / (1.0 - self.beta_2**step))
        direction = mean / (1.0 - self.beta_1**step) / (unbiased + self.epsilon)
        if is_decayed(variable):
            value = tf.convert_to_tensor(variable)
            direction += self._kernel_decay * value
            direction *= _ratio(tf.norm(value), tf.norm(direction))
        variable.assign_sub(rate * direction)

    def get_config(self):
        """The constructor's arguments, for Keras."""
        return {"learning_rate": self._learning_rate, "decay": self._kernel_decay}


def _ratio(value, direction):
    """The trust ratio of two norms; 1 where one is zero."""
    return tf.where((value > 0) & (direction > 0), tf.math.divide_no_nan(value, direction), 1.0)
