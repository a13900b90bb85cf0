"""Networks of single images from `keras.applications`, frame by frame, averaged over time."""

from __future__ import annotations

import keras

from dmcl_tf.networks.layers import FoldTime, UnfoldTime, classify


def mobilenet_v2(
    num_classes: int, width: int = 64, *, batch_norm_momentum: float = 0.997, name: str | None = None
) -> keras.Model:
    """MobileNetV2 (Sandler et al., CVPR 2018) on every frame; its features are averaged over time and space.

    It starts afresh. ImageNet's weights, in a Keras file without the top, are loaded with `--initial_weights`; they
    expect `--value_range=-1..1`. Arguments and outputs are those of `r2plus1d.authors`, where a width of 64 stands for
    the published numbers of channels, and others are in proportion.
    """
    backbone = keras.applications.MobileNetV2(
        input_shape=(None, None, 3), alpha=width / 64, include_top=False, weights=None
    )
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = batch_norm_momentum
    clips = keras.Input((None, None, None, 3), name="clips")
    x = UnfoldTime(name="stage1")([backbone(FoldTime()(clips)), clips])
    return keras.Model(clips, classify(x, num_classes), name=name or "mobilenet_v2")
