"""The training objectives: from the logits of all networks to one loss per network and sample.

Every objective has the shape of `dmcl`: logits (M, B, C) of M ≥ 2 networks, labels (B,) → `Objective`. The training
loss of a batch is the mean over samples of the sum over networks. Keyword arguments with a default are settings of the
same name in `Config`; those without are given by the training step: `seed`, (2,) integers of a stateless draw, and
`teacher_logits`, (B, C) of frozen networks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from dmcl_tf.methods.common import Objective, cross_entropy, independent, winner
from dmcl_tf.methods.distillation import dmcl, generalized_distillation, mutual, random_teacher
from dmcl_tf.methods.multiple_choice import cmcl, cmcl_stochastic, smcl

__all__ = [
    "OBJECTIVES",
    "Objective",
    "cmcl",
    "cmcl_stochastic",
    "cross_entropy",
    "dmcl",
    "generalized_distillation",
    "independent",
    "mutual",
    "random_teacher",
    "settings_of",
    "smcl",
    "step_inputs",
    "winner",
]

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    function.__name__: function
    for function in (
        independent,
        dmcl,
        smcl,
        cmcl,
        cmcl_stochastic,
        random_teacher,
        mutual,
        generalized_distillation,
    )
}


def settings_of(objective: Callable[..., Objective]) -> frozenset[str]:
    """The names of the settings of a run that an objective takes."""
    return frozenset(name for name, keyword in _keywords(objective).items() if keyword.default is not keyword.empty)


def step_inputs(objective: Callable[..., Objective]) -> frozenset[str]:
    """The names of what an objective takes from the training step beside logits and labels."""
    return frozenset(name for name, keyword in _keywords(objective).items() if keyword.default is keyword.empty)


def _keywords(objective):
    parameters = inspect.signature(objective).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
