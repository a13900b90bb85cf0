"""What a run can choose from by name: training methods and networks. No TensorFlow here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """What a run must know of its training method, whose loss is the function of that name in `dmcl_tf.methods`.

    Attributes:
        help: what it does, in a line.
        weights: what its loss takes by name, some of `Config.loss_weights`.
        needs_teacher: whether networks of a finished run teach.
        compares: "features" or activations at the "middle" layer that must be of one shape in students and teachers.
        defaults: settings without which it is not itself.
        connects: whether its second network may multiply into the first.
        weightings: published sets of its weights, by a name of `Config.weighting`.
        networks: how many it has; 0: any number.
        hallucinates: whether the last is a hallucination network, which is taught by one network.
    """

    help: str
    weights: tuple[str, ...] = ()
    needs_teacher: bool = False
    compares: str = ""
    defaults: Mapping[str, object] = dataclasses.field(default_factory=dict)
    connects: bool = False
    weightings: Mapping[str, Mapping[str, object]] = dataclasses.field(default_factory=dict)
    networks: int = 0
    hallucinates: bool = False


_DISTILLATION = ("temperature", "label_weight", "soft_weight")
METHODS: dict[str, Method] = {
    "independent": Method("every network learns from the labels alone"),
    "dmcl": Method("the network that is best at a sample, its winner, teaches the others", _DISTILLATION),
    "random_teacher": Method("DMCL with a teacher drawn at random for each sample", _DISTILLATION),
    "mutual": Method("every network learns from all the others (deep mutual learning)"),
    "smcl": Method("only the winner learns the label"),
    "cmcl": Method("one network learns the label, the others to predict all classes alike (--beta)", ("beta",)),
    "cmcl_stochastic": Method("one network learns the label, the others random labels (--beta)", ("beta",)),
    "generalized_distillation": Method(
        "networks learn from those of a finished run, which may see other modalities (--teacher_run)",
        _DISTILLATION,
        needs_teacher=True,
        # DMCL's weights of 1 and 1 are no 1-λ and λ
        defaults={"loser_ground_truth_weight": 0.5, "distillation_weight": 0.5},
    ),
    "mars": Method(
        "RGB learns the label and to have the features of a flow network (MARS; makes the run that it needs)",
        ("feature_weight",),
        needs_teacher=True,
        compares="features",
    ),
    "hallucination": Method(
        "RGB, depth, and a network that sees RGB and learns depth's activations (Hoffman et al.; makes what it needs)",
        ("middle_weight",),
        compares="middle",
        defaults={"middle_weight": 10.0, "clip_norm": 10.0},
        networks=3,
        hallucinates=True,
    ),
    "modality_distillation": Method(
        "RGB and a network that sees RGB and was taught to be depth learn by their mean (Garcia et al. 2018; makes "
        "what it needs)",
        connects=True,
        networks=2,
        hallucinates=True,
    ),
    "modality_distillation_teacher": Method(
        "a stage of it: RGB and depth learn by their mean", connects=True, networks=2
    ),
    "modality_distillation_student": Method(
        "a stage of it: a network that sees RGB is taught to be depth",
        (*_DISTILLATION, "middle_weight"),
        needs_teacher=True,
        compares="middle",
        weightings={
            "eccv2018": {
                "temperature": 10.0,
                "loser_ground_truth_weight": 0.25,
                "distillation_weight": 0.25,
                "scale_by_temperature_squared": False,
                "middle_weight": 0.005,
            },
            "admd_code": {
                "temperature": 10.0,
                "loser_ground_truth_weight": 1.0,
                "distillation_weight": 1.0,
                "scale_by_temperature_squared": True,
                "middle_weight": 0.01,
            },
        },
        networks=2,
        hallucinates=True,
    ),
    "admd": Method(
        "a network that sees RGB learns, against a discriminator, to have depth's features (ADMD; makes what it needs)",
        needs_teacher=True,
        compares="features",
        defaults={"optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0},
        networks=2,
        hallucinates=True,
    ),
    "graph_distillation": Method(
        "RGB learns the label and from teachers whose weights are learned (Luo et al.; makes the run that it needs)",
        needs_teacher=True,
        compares="features",
        networks=1,
    ),
}
HALLUCINATION = "hallucination"  # the network of that name sees the first modality of its run

# the networks of `dmcl_tf.networks.NETWORKS`
VARIANTS: dict[str, str] = {
    "authors": "R(2+1)D-18 as in the authors' code",
    "r2plus1d_18": "R(2+1)D-18 as published",
    "movinet_a0": "MoViNet-A0, for cameras and telephones",
    "movinet_a0_causal": "the same for streams: no frame is seen by what comes before it",
    "mobilenet_v2": "MobileNetV2 of single frames, averaged over time",
    "testing": "two convolutions, for tests",
}
SMALLEST_CROPS = {"mobilenet_v2": 32}  # below which a network has nothing left to convolve; others take any
