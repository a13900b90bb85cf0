"""The training methods: each is one function from the networks' outputs to a loss for every network and sample.

    method(outputs, labels, step, *, weights by name) -> losses

    outputs   `Outputs` of M networks on a batch: logits (M, B, C), features (M, B, F)
    labels    (B,), integers below C
    step      `Step`: the seed of what is drawn, the logits of a teacher
    losses    (M, B) float32

The training loss of a batch is the mean over samples of the sum over networks. `dmcl_tf.config.METHODS` says which
weights a method takes and whether it needs a teacher; `Config.loss_weights` gives their values. A new method is a
function here and an entry there.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from dmcl_tf.methods.common import Outputs, Step, cross_entropy, independent, winner
from dmcl_tf.methods.distillation import dmcl, generalized_distillation, mutual, random_teacher
from dmcl_tf.methods.multiple_choice import cmcl, cmcl_stochastic, smcl

__all__ = [
    "LOSSES",
    "Outputs",
    "Step",
    "cmcl",
    "cmcl_stochastic",
    "cross_entropy",
    "dmcl",
    "generalized_distillation",
    "independent",
    "mutual",
    "random_teacher",
    "smcl",
    "winner",
]

_METHODS = (independent, dmcl, random_teacher, mutual, smcl, cmcl, cmcl_stochastic, generalized_distillation)
LOSSES: dict[str, Callable[..., tf.Tensor]] = {method.__name__: method for method in _METHODS}
