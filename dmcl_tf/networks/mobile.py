"""MoViNet-A0: a video network for cameras and telephones, of a fraction of R(2+1)D-18's multiply-adds.

Kondratyuk et al., "MoViNets: Mobile Video Networks for Efficient Video Recognition", CVPR 2021: the widths, kernels and
strides of their A0, in its (2+1)D form, whose depthwise kernels are one in space and one in time. In the causal variant
no frame is seen by what comes before it: kernels in time reach back only, and squeeze-and-excitation weighs channels by
the mean up to now, so that a stream can be followed frame by frame. Deviations: a block that changes shape has no
shortcut, theirs has a pooled and projected one; shortcuts have no learned scale; there is no hidden layer of 2,048
before the classes; the causal variant's activation is Swish as well, theirs its hard form.
"""

from __future__ import annotations

from functools import partial

import keras

from dmcl_tf.networks.layers import BatchNormalization, Convolution, DepthwiseConvolution, MeanUpToNow, classify

_STEM, _LAST = 8, 480  # channels
# of each stage: channels, stride in space, and the (expanded channels, temporal kernel, spatial kernel) of its blocks
_STAGES = (
    (8, 2, ((24, 1, 5),)),
    (32, 2, ((80, 3, 3), (80, 3, 3), (80, 3, 3))),
    (56, 2, ((184, 5, 3), (112, 3, 3), (184, 3, 3))),
    (56, 1, ((184, 5, 3), (184, 3, 3), (184, 3, 3), (184, 3, 3))),
    (104, 2, ((384, 5, 3), (280, 1, 5), (280, 1, 5), (344, 1, 5))),
)
_EPSILON = 1e-3  # of batch normalisation


class _Builder:
    """Adds layers to a graph.

    Args:
        batch_norm_momentum: of all normalisations.
        causal: whether no frame is seen by what comes before it.
    """

    def __init__(self, batch_norm_momentum: float, causal: bool):
        self._momentum, self._causal, self._convolutions = batch_norm_momentum, causal, 0

    def normalize(self, x, *, swish: bool, name: str | None = None):
        """Batch normalisation and perhaps Swish, the last of which a name is of."""
        x = BatchNormalization(momentum=self._momentum, epsilon=_EPSILON, name=None if swish else name)(x)
        return keras.layers.Activation("swish", name=name)(x) if swish else x

    def convolve(self, x, filters: int, size: int = 1, stride: int = 1, *, swish: bool = True, name: str | None = None):
        """A convolution in space, with its normalisation."""
        x = Convolution(filters, (1, size), (1, stride), name=f"convolution_{self._convolutions}")(x)
        self._convolutions += 1
        return self.normalize(x, swish=swish, name=name)

    def block(self, x, filters: int, stride: int, expanded: int, temporal: int, size: int, name: str | None = None):
        """An inverted bottleneck, with a shortcut where it keeps the shape."""
        y = self.convolve(x, expanded)
        y = self.normalize(DepthwiseConvolution((1, size), stride)(y), swish=True)
        if temporal > 1:
            y = self.normalize(DepthwiseConvolution((temporal, 1), causal=self._causal)(y), swish=True)
        weights = MeanUpToNow(self._causal)(y)
        weights = keras.layers.Dense(_round(expanded / 4), activation="swish")(weights)
        y = keras.layers.Multiply()([y, keras.layers.Dense(expanded, activation="sigmoid")(weights)])
        if stride > 1 or x.shape[-1] != filters:
            return self.convolve(y, filters, swish=False, name=name)
        return keras.layers.Add(name=name)([x, self.convolve(y, filters, swish=False)])


def _round(channels: float) -> int:
    """The multiple of 8 nearest to a number of channels, at least 8."""
    return max(8, int(channels + 4) // 8 * 8)


def movinet_a0(
    num_classes: int,
    width: int = 64,
    *,
    batch_norm_momentum: float = 0.997,
    name: str | None = None,
    causal: bool = False,
) -> keras.Model:
    """MoViNet-A0; outputs are those of `r2plus1d.authors`.

    Args:
        num_classes: number of classes C.
        width: 64 for the published numbers of channels, others in proportion, rounded to multiples of 8.
        batch_norm_momentum: as of `r2plus1d.authors`.
        name: of the model.
        causal: whether no frame is seen by what comes before it.
    """
    builder, scale = _Builder(batch_norm_momentum, causal), width / 64
    clips = keras.Input((None, None, None, 3), name="clips")
    x = builder.convolve(clips, _round(_STEM * scale), 3, 2, name="stem")
    for stage, (filters, stride, blocks) in enumerate(_STAGES, 1):
        for number, (expanded, temporal, size) in enumerate(blocks, 1):
            end = f"stage{stage}" if number == len(blocks) else None
            shape = (_round(filters * scale), stride if number == 1 else 1, _round(expanded * scale), temporal, size)
            x = builder.block(x, *shape, name=end)
    x = builder.convolve(x, _round(_LAST * scale), name=f"stage{len(_STAGES) + 1}")
    return keras.Model(clips, classify(x, num_classes), name=name or "movinet_a0")


movinet_a0_causal = partial(movinet_a0, causal=True)
