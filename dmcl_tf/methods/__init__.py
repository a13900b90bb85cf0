"""The training methods: each is one function from the networks' outputs to a loss for every network and sample.

    method(outputs, labels, step, *, weights by name) -> losses

    outputs   `Outputs` of M networks on a batch: logits (M, B, C), features (M, B, F)
    labels    (B,), integers below C
    step      `Step`: the seed of what is drawn, what teachers say, weights of the method itself
    losses    (M, B) float32

The training loss of a batch is the mean over samples of the sum over networks. `dmcl_tf.registry.METHODS` says which
weights a method takes and whether it needs a teacher; `Config.loss_weights` gives their values. A new method is a
function here and an entry there.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from dmcl_tf.methods.common import Outputs, Step, cross_entropy, independent, winner
from dmcl_tf.methods.distillation import dmcl, generalized_distillation, mutual, random_teacher
from dmcl_tf.methods.imitation import hallucination, mars, modality_distillation_student, two_streams
from dmcl_tf.methods.learned import admd, discriminator_shapes, edge_shapes, graph_distillation
from dmcl_tf.methods.multiple_choice import cmcl, cmcl_stochastic, smcl

__all__ = [
    "LEARNED",
    "LOSSES",
    "Outputs",
    "Step",
    "admd",
    "cmcl",
    "cmcl_stochastic",
    "cross_entropy",
    "dmcl",
    "generalized_distillation",
    "graph_distillation",
    "hallucination",
    "independent",
    "mars",
    "modality_distillation_student",
    "mutual",
    "random_teacher",
    "smcl",
    "two_streams",
    "winner",
]

LOSSES: dict[str, Callable[..., tf.Tensor]] = {
    "independent": independent,
    "dmcl": dmcl,
    "random_teacher": random_teacher,
    "mutual": mutual,
    "smcl": smcl,
    "cmcl": cmcl,
    "cmcl_stochastic": cmcl_stochastic,
    "generalized_distillation": generalized_distillation,
    "mars": mars,
    "hallucination": hallucination,
    "modality_distillation_teacher": two_streams,
    "modality_distillation_student": modality_distillation_student,
    "modality_distillation": two_streams,
    "admd": admd,
    "graph_distillation": graph_distillation,
}
LEARNED: dict[str, Callable[[int, int], dict[str, tuple[int, ...]]]] = {
    "admd": discriminator_shapes,
    "graph_distillation": edge_shapes,
}
"""The shapes of a method's own weights, by their names, from the numbers of classes and of features."""
