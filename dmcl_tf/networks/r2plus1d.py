"""The networks: one clip of one modality in, logits out.

`variant="authors"` is the network of the authors' code (nets/resnet_official/resnet_3D.py), which the paper calls
R(2+1)D-18; `variant="tran2018"` is R(2+1)D-18 as published (Tran et al., CVPR 2018). They differ in three ways: the
authors keep the number of channels through each factorised pair instead of matching the parameters of a 3-D kernel,
pool after the stem, and project the shortcut in the first stage as well.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from dmcl_tf.networks.layers import BatchNormalization, Convolution

_EPSILON = 1e-5  # of batch normalisation, resnet_3D.py
_BLOCKS_PER_STAGE = 2
_TF1_KINDS = {"conv3d": "convolution", "batch_normalization": "normalization", "dense": "logits"}


class _Builder:
    """Adds layers to a graph, numbered in the order of creation, which is that of the authors' variables."""

    def __init__(self, batch_norm_momentum: float):
        self._momentum = batch_norm_momentum
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

    def block(self, x, filters: int, *, stride: int, project: bool, matched: bool):
        """A residual block of two factorised convolutions; `stride` acts on time and space."""
        shortcut = self.convolve(x, filters, (1, 1), (stride, stride)) if project else x
        channels = x.shape[-1]
        middle = matched_channels(channels, filters) if matched else filters
        x = self.pair(x, middle, filters, strides=(stride, stride), relu=True)
        middle = matched_channels(filters, filters) if matched else filters
        x = self.pair(x, middle, filters)
        return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))


def matched_channels(channels: int, filters: int) -> int:
    """Middle channels for which a 1×3×3 and 3×1×1 pair has the parameters of a 3×3×3 kernel (Tran et al., Sec. 3.5)."""
    return 27 * channels * filters // (9 * channels + 3 * filters)


def r2plus1d_18(
    num_classes: int,
    width: int = 64,
    variant: str = "authors",
    *,
    batch_norm_momentum: float = 0.997,
    name: str | None = None,
) -> keras.Model:
    """An 18-layer residual network of factorised convolutions.

    Args:
        num_classes: number of classes C.
        width: channels of the first stage; the four stages have 1, 2, 4 and 8 times as many.
        variant: "authors" or "tran2018", see the module.
        batch_norm_momentum: share of the moving statistics that each training step keeps; the authors' value suits
            runs of thousands of steps, a run of a few hundred is evaluated with stale statistics under it.
        name: of the model.

    Returns:
        A Keras model from clips (B, T, H, W, 3), float32, to logits (B, C), float32. The pooled features
        (B, 8·width) are the output of its layer `features`.

    Raises:
        ValueError: for an unknown variant.
    """
    if variant not in ("authors", "tran2018"):
        raise ValueError(f"unknown network variant {variant!r}: expected authors or tran2018")
    authors = variant == "authors"
    builder = _Builder(batch_norm_momentum)
    clips = keras.Input((None, None, None, 3), name="clips")
    stem_channels = width if authors else round(45 * width / 64)
    x = builder.pair(clips, stem_channels, width, size=7, strides=(1, 2), relu=True)
    if authors:
        x = keras.layers.MaxPooling3D((1, 3, 3), (1, 2, 2), padding="same")(x)
    for stage in range(4):
        for block in range(_BLOCKS_PER_STAGE):
            first = block == 0
            x = builder.block(
                x,
                width * 2**stage,
                stride=2 if first and stage > 0 else 1,
                project=first and (authors or stage > 0),
                matched=not authors,
            )
    # float32 whatever the precision policy: the average and the logits are cheap and the loss wants digits
    x = keras.layers.GlobalAveragePooling3D(name="features", dtype="float32")(x)
    logits = keras.layers.Dense(num_classes, name="logits", dtype="float32")(x)
    return keras.Model(clips, logits, name=name or "r2plus1d_18")


def load_tf1_variables(network: keras.Model, variables: Mapping[str, np.ndarray]) -> None:
    """Loads the authors' TF1 variables into a network of `variant="authors"`.

    Args:
        network: from `r2plus1d_18`.
        variables: name → array, such as `resnet_rgb/conv3d_3/kernel`; all but the last two parts of a name are
            ignored, and a trailing `:0`.

    Raises:
        ValueError: where a variable is missing, superfluous, or of another shape; the message names it.
    """
    arrays = {}
    for name, array in variables.items():
        scope, kind = name.split(":")[0].split("/")[-2:]
        base, _, number = scope.rpartition("_") if scope[-1].isdigit() else (scope, "", "0")
        layer = _TF1_KINDS.get(base, base)
        arrays[layer if layer == "logits" else f"{layer}_{number}", kind] = (name, array)
    for layer in network.layers:
        for weight in layer.weights:
            key = layer.name, weight.name.split("/")[-1].split(":")[0]
            if key not in arrays:
                raise ValueError(f"no variable for {key[0]}/{key[1]}: the authors' network has one for every layer")
            name, array = arrays.pop(key)
            if tuple(weight.shape) != array.shape:
                raise ValueError(f"{name} has shape {array.shape}, the network's {'/'.join(key)} {tuple(weight.shape)}")
            weight.assign(array)
    if arrays:
        raise ValueError(f"{next(iter(arrays.values()))[0]} has no place in the network: another size or variant?")
