"""The networks of single modalities, and the ensemble of them.

A network is a Keras model from clips (B, T, H, W, 3), float32, to a dict of `logits` (B, C) and the pooled `features`
(B, F) that they are computed from, both float32. A new one is a builder with the arguments of
`r2plus1d.authors` and an entry in `NETWORKS`, whose names `--variant` takes.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from dmcl_tf.networks import r2plus1d, testing

NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "authors": r2plus1d.authors,
    "tran2018": r2plus1d.tran2018,
    "testing": testing.small_block,
}
