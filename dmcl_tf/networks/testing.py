"""A network for tests: every kind of layer that the others have, but traced in no time."""

from __future__ import annotations

import keras

from dmcl_tf.networks.layers import BatchNormalization, Convolution, classify


def small_block(
    num_classes: int, width: int = 64, *, batch_norm_momentum: float = 0.997, name: str | None = None
) -> keras.Model:
    """A convolution in space and a residual block of one in time; arguments as of `r2plus1d.authors`.

    It has 8 channels up to a `width` of 64, and more in proportion.
    """
    channels = max(8, width // 8)
    clips = keras.Input((None, None, None, 3), name="clips")
    x = Convolution(channels, (1, 5), (1, 4), name="convolution_0")(clips)
    x = BatchNormalization(relu=True, momentum=batch_norm_momentum, name="stem")(x)
    x = keras.layers.Add()([x, Convolution(channels, (3, 1), name="convolution_1")(x)])
    x = keras.layers.ReLU(name="stage1")(x)
    return keras.Model(clips, classify(x, num_classes), name=name or "testing")
