"""18-layer residual networks of factorised convolutions: one clip of one modality in, logits and features out.

`authors` is the network of the authors' code (nets/resnet_official/resnet_3D.py), which the paper calls R(2+1)D-18;
`tran2018` is R(2+1)D-18 as published (Tran et al., CVPR 2018). They differ in three ways:
the authors keep the number of channels through each factorised pair instead of matching the parameters of a 3-D kernel,
pool after the stem, and project the shortcut in the first stage as well.
"""

from __future__ import annotations

import keras

from dmcl_tf.networks.layers import BatchNormalization, Convolution, classify

_EPSILON = 1e-5  # of batch normalisation, resnet_3D.py


class _Builder:
    """Adds layers to a graph, numbered in the order of creation, which is that of the authors' variables.

    Args:
        batch_norm_momentum: of all normalisations.
        published: whether pairs match the parameters of a 3-D kernel and the first stage keeps its shortcut.
    """

    def __init__(self, batch_norm_momentum: float, *, published: bool):
        self._momentum, self._published = batch_norm_momentum, published
        self._counts = {"convolution": 0, "normalization": 0}

    def _name(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind}_{self._counts[kind] - 1}"

    def convolve(self, x, filters: int, kernel_size: tuple[int, int], strides=(1, 1), *, relu: bool = False):
        """Convolution, batch normalisation and perhaps ReLU."""
        x = Convolution(filters, kernel_size, strides, name=self._name("convolution"))(x)
        name = self._name("normalization")
        return BatchNormalization(relu=relu, momentum=self._momentum, epsilon=_EPSILON, name=name)(x)

    def pair(self, x, middle: int, filters: int, *, size: int = 3, strides=(1, 1), relu: bool = False):
        """A factorised convolution: 1×size×size to `middle` channels, ReLU, 3×1×1 to `filters`, perhaps ReLU."""
        temporal_stride, stride = strides
        x = self.convolve(x, middle, (1, size), (1, stride), relu=True)
        return self.convolve(x, filters, (3, 1), (temporal_stride, 1), relu=relu)

    def block(self, x, filters: int, *, stride: int, project: bool):
        """A residual block of two factorised convolutions; `stride` acts on time and space."""
        shortcut = self.convolve(x, filters, (1, 1), (stride, stride)) if project else x
        x = self.pair(x, self._middle(x.shape[-1], filters), filters, strides=(stride, stride), relu=True)
        x = self.pair(x, self._middle(filters, filters), filters)
        return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))

    def stages(self, x, width: int):
        """The four stages of two blocks each."""
        for stage in range(4):
            project = stage > 0 or not self._published
            x = self.block(x, width * 2**stage, stride=2 if stage > 0 else 1, project=project)
            x = self.block(x, width * 2**stage, stride=1, project=False)
        return x

    def _middle(self, channels: int, filters: int) -> int:
        return matched_channels(channels, filters) if self._published else filters


def matched_channels(channels: int, filters: int) -> int:
    """Middle channels for which a 1×3×3 and 3×1×1 pair has the parameters of a 3×3×3 kernel (Tran et al., Sec. 3.5)."""
    return 27 * channels * filters // (9 * channels + 3 * filters)


def authors(
    num_classes: int, width: int = 64, *, batch_norm_momentum: float = 0.997, name: str | None = None
) -> keras.Model:
    """The authors' network.

    Args:
        num_classes: number of classes C.
        width: channels of the first stage; the four stages have 1, 2, 4 and 8 times as many.
        batch_norm_momentum: share of the moving statistics that each training step keeps; the authors' value suits
            runs of thousands of steps, a run of a few hundred is evaluated with stale statistics under it.
        name: of the model.

    Returns:
        A model from clips (B, T, H, W, 3), float32, to `logits` (B, C) and `features` (B, 8·width), float32.
    """
    builder = _Builder(batch_norm_momentum, published=False)
    clips = keras.Input((None, None, None, 3), name="clips")
    x = builder.pair(clips, width, width, size=7, strides=(1, 2), relu=True)
    exact = {"dtype": "float32"} if x.dtype == "float16" else {}  # for which processors have no such kernel
    x = keras.layers.MaxPooling3D((1, 3, 3), (1, 2, 2), padding="same", **exact)(x)
    x = builder.stages(x, width)
    return keras.Model(clips, classify(x, num_classes), name=name or "authors")


def tran2018(
    num_classes: int, width: int = 64, *, batch_norm_momentum: float = 0.997, name: str | None = None
) -> keras.Model:
    """R(2+1)D-18 as published; arguments and outputs are those of `authors`."""
    builder = _Builder(batch_norm_momentum, published=True)
    clips = keras.Input((None, None, None, 3), name="clips")
    x = builder.pair(clips, round(45 * width / 64), width, size=7, strides=(1, 2), relu=True)
    x = builder.stages(x, width)
    return keras.Model(clips, classify(x, num_classes), name=name or "tran2018")
