"""A network for tests: every kind of layer that the others have, but traced in no time."""

from __future__ import annotations

import keras

from dmcl_tf.networks.layers import BatchNormalization, Convolution, classify


def two_convolutions(
    num_classes: int, width: int = 0, *, batch_norm_momentum: float = 0.997, name: str | None = None
) -> keras.Model:
    """A spatial and a temporal convolution; arguments and outputs as of `r2plus1d.authors`, but `width` is ignored."""
    clips = keras.Input((None, None, None, 3), name="clips")
    x = Convolution(4, (1, 5), (1, 4), name="convolution_0")(clips)
    x = BatchNormalization(relu=True, momentum=batch_norm_momentum, name="normalization_0")(x)
    x = keras.layers.ReLU()(Convolution(8, (3, 1), (2, 1), name="convolution_1")(x))
    return keras.Model(clips, classify(x, num_classes), name=name or "testing")
