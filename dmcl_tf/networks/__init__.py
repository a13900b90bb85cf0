"""The networks of single modalities, and the ensemble of them.

A network is a Keras model from clips (B, T, H, W, 3), float32, to a dict of `logits` (B, C) and the pooled `features`
(B, F) that they are computed from, both float32. A new one is a builder with the arguments of
`r2plus1d.authors` and an entry in `NETWORKS`, whose names `--variant` takes.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from dmcl_tf.networks import images, mobile, r2plus1d, testing

NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "authors": r2plus1d.authors,
    "r2plus1d_18": r2plus1d.r2plus1d_18,
    "movinet_a0": mobile.movinet_a0,
    "movinet_a0_causal": mobile.movinet_a0_causal,
    "mobilenet_v2": images.mobilenet_v2,
    "testing": testing.small_block,
}
