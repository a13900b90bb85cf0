"""Loss scaling (Micikevicius et al., 2018): keeps gradients within the range of float16, the same under every Keras."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

_FIRST = 2.0**15
_STEPS_TO_DOUBLE = 2000


class LossScale(tf.Module):
    """The number that a loss is multiplied by, so that small gradients do not vanish; it finds its own size.

    Attributes:
        value: the number. It is halved when a gradient is not finite, and doubled after 2000 steps without such a one.
    """

    def __init__(self):
        super().__init__()
        self.value = tf.Variable(_FIRST, trainable=False)
        self._steps = tf.Variable(0, trainable=False)  # since it last changed

    def apply(self, optimizer, gradients: Sequence[tf.Tensor], variables: Sequence) -> None:
        """Takes the optimiser's step, unless a gradient is not finite: then nothing but the scale changes.

        Args:
            optimizer: of one replica.
            gradients: of the scaled loss.
            variables: as many.
        """
        gradients = [tf.cast(gradient, tf.float32) / self.value for gradient in gradients]
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])

        def step():
            optimizer.apply_gradients(list(zip(gradients, variables)))
            return tf.constant(True)

        tf.cond(finite, step, lambda: tf.constant(False))
        steps = self._steps + 1
        double = finite & (steps >= _STEPS_TO_DOUBLE)
        factor = tf.where(finite, tf.where(double, 2.0, 1.0), 0.5)
        self.value.assign(tf.maximum(self.value * factor, 1.0))
        self._steps.assign(tf.where(finite & ~double, steps, 0))
