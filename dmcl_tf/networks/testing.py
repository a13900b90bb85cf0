"""A network for tests: every kind of layer that the others have, but traced in no time."""

from __future__ import annotations

import keras

from dmcl_tf.networks.layers import BatchNormalization, Convolution, classify


def small_block(
    num_classes: int, width: int = 0, *, batch_norm_momentum: float = 0.997, name: str | None = None
) -> keras.Model:
    """A convolution in space and a residual block of one in time; arguments as of `r2plus1d.authors`, no `width`."""
    clips = keras.Input((None, None, None, 3), name="clips")
    x = Convolution(8, (1, 5), (1, 4), name="convolution_0")(clips)
    x = BatchNormalization(relu=True, momentum=batch_norm_momentum, name="normalization_0")(x)
    x = keras.layers.Add()([x, Convolution(8, (3, 1), name="convolution_1")(x)])
    x = keras.layers.ReLU()(x)
    return keras.Model(clips, classify(x, num_classes), name=name or "testing")
