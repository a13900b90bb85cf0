"""One frozen dataclass records a run; recipes, scales and methods are named sets of its values. No TensorFlow here."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dmcl_tf.errors import InputError, meant
from dmcl_tf.registry import HALLUCINATION, METHODS, SMALLEST_CROPS, VARIANTS

STRATEGIES = ("one_device", "mirrored", "multi_worker")
SMALLEST_FRAME, LARGEST_FRAME = 16, 4096  # pixels; a clip of the largest takes 400 MB


def _setting(default, text: str, choices: Collection[str] | None = None):
    return dataclasses.field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Config:
    """Every setting of a training run. The defaults are the authors' code (argparse, dmcl.py, parsers.py)."""

    recipe: str = _setting("authors", "settings as in the authors' code, or as in the paper", ("authors", "paper"))
    scale: str = _setting("full", "full size, or a small version for machines without a GPU", ("full", "compact"))
    # data
    modalities: tuple[str, ...] = _setting(
        ("rgb", "depth", "flow"),
        "modalities to train on, comma-separated, a network for each; one called hallucination sees the first modality",
    )
    frame_size: int = _setting(256, "height and width of the frames in the records, pixels")
    crop_size: int = _setting(224, "height and width of the network's input, pixels")
    clip_frames: int = _setting(8, "frames per clip, one from each of as many equal segments of the video")
    train_fraction: float = _setting(
        1.0, "share of the training videos to train on, the same of every class, drawn from the seed"
    )
    # augmentation
    crop_jitter: float = _setting(8 / 256, "largest shift of the training crop, as a fraction of the frame size")
    crop_jitter_probability: float = _setting(0.5, "how often the training crop is shifted; else it is central")
    flip_probability: float = _setting(0.5, "how often a clip is mirrored, all modalities alike")
    negate_flow: bool = _setting(False, "negate horizontal flow in mirrored clips, which the authors do not")
    color_probability: float = _setting(0.5, "how often the colours of an RGB clip are distorted")
    value_range: str = _setting("0..255", "range of the network's input values", ("0..255", "-1..1"))
    shuffle_buffer: int = _setting(
        0, "videos in the shuffle buffer, 100 is the authors'; 0 shuffles all training videos in each epoch"
    )
    # network
    variant: str = _setting("authors", "network of each modality", VARIANTS)
    width: int = _setting(64, "channels of the network's first stage; of 64, for networks whose published size is 64")
    networks: tuple[str, ...] = _setting(
        (), "networks and widths of single modalities, rgb:authors/8,depth:r2plus1d_18/16; others: --variant, --width"
    )
    initial_weights: tuple[str, ...] = _setting(
        (),
        "what networks start from: RUN[:modality], the folder of a finished run, a TensorFlow 1 checkpoint of the "
        "authors' code or a Keras file of a backbone's weights; depth=RUN:rgb starts depth from RUN's rgb",
    )
    freeze: tuple[str, ...] = _setting(
        (), "parts that keep their initial weights: stem, stage1, …, middle, head or all; depth:stem is of one network"
    )
    batch_norm_momentum: float = _setting(
        0.997, "share of the moving average that each step keeps; shorter runs need less"
    )
    sync_batch_norm: bool = _setting(
        False,
        "batch normalisation sees the whole batch where devices share it; else each device its own share",
    )
    # method
    method: str = _setting("dmcl", "training method", METHODS)
    temperature: float = _setting(2.0, "temperature T of the soft targets")
    loser_ground_truth_weight: float = _setting(
        1.0, "weight of the label in the loss of a loser or a student; --lambda sets it to 1-λ"
    )
    distillation_weight: float = _setting(
        1.0, "weight of the teacher in the loss of a loser or a student; --lambda sets it to λ"
    )
    scale_by_temperature_squared: bool = _setting(True, "multiply the distillation term by T²")
    beta: float = _setting(0.75, "weight β of the networks without the sample in cmcl and cmcl_stochastic")
    teacher_run: str = _setting("", "folder of the finished run whose networks teach, for methods with a teacher")
    teacher_modalities: tuple[str, ...] = _setting(
        (), "modalities of the teacher run that teach; none given: all of them"
    )
    feature_weight: float = _setting(50.0, "weight of the distance of features in mars")
    middle_layer: str = _setting(
        "", "part of the network, stem, stage1, …, whose activations are imitated; none given: the last"
    )
    middle_weight: float = _setting(
        10.0, "weight of the distance of activations: in hallucination how many times the largest cross-entropy"
    )
    weighting: str = _setting(
        "eccv2018",
        "published weights of modality_distillation: of its code, or of the later code for ADMD",
        ("eccv2018", "admd_code"),
    )
    connection: bool = _setting(
        False, "multiply depth's activations into RGB's in modality_distillation, as its authors may"
    )
    # optimisation
    optimizer: str = _setting("sgd", "optimiser", ("sgd", "adam", "sgdw", "lamb"))
    learning_rate: float = _setting(0.00128, "learning rate after warm-up")
    momentum: float = _setting(0.9, "momentum of sgd and sgdw")
    weight_decay: float = _setting(1e-4, "weight decay on kernels: w·Σv²/2 in the loss (sgd, adam) or decoupled")
    clip_norm: float = _setting(0.0, "largest norm of the gradients of all networks together; 0: any")
    schedule: str = _setting("step", "learning rate: ÷10 at --decay_epochs, or a half cosine to 0", ("step", "cosine"))
    warmup_epochs: int = _setting(5, "epochs of linear warm-up from 0")
    decay_epochs: tuple[int, ...] = _setting((100, 150, 180, 200), "epochs after which the step schedule divides by 10")
    epochs: int = _setting(220, "epochs")
    batch_size: int = _setting(8, "videos per step, over all replicas")
    precision: str = _setting(
        "float32",
        "arithmetic; variables are float32 in all; float16, with loss scaling, is for GPUs without bfloat16",
        ("float32", "bfloat16", "float16"),
    )
    recompute: bool = _setting(
        False, "compute the inside of residual blocks twice instead of keeping it: less memory for more time"
    )
    save_every: int = _setting(1, "epochs between the checkpoints from which an interrupted run continues")
    # model selection
    validate_every: int = _setting(5, "epochs between validations")
    select_by: str = _setting("oracle", "validation accuracy that selects the best checkpoint: a modality, sum, …")
    # reproducibility
    seed: int = _setting(0, "seed of weights, order and augmentation")
    deterministic: bool = _setting(False, "bit-identical repetition, at the cost of speed")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            choices, value = field.metadata["choices"], getattr(self, field.name)
            if choices and value not in choices:
                raise InputError(f"--{field.name}={value}: expected one of {', '.join(choices)}{meant(value, choices)}")
        positive = ("frame_size", "crop_size", "clip_frames", "width", "temperature", "learning_rate", "epochs")
        for name in (*positive, "batch_size", "save_every", "validate_every"):
            if not getattr(self, name) > 0:  # not-a-number is none either
                raise InputError(f"--{name}={getattr(self, name)}: expected a positive number")
        shares = ("crop_jitter_probability", "flip_probability", "color_probability", "batch_norm_momentum", "momentum")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"--{name}={getattr(self, name)}: expected a value from 0 to 1")
        if not 0 < self.train_fraction <= 1:
            raise InputError(f"--train_fraction={self.train_fraction}: expected a value above 0, up to 1")
        weights = (
            "weight_decay",
            "clip_norm",
            "loser_ground_truth_weight",
            "distillation_weight",
            "beta",
            "feature_weight",
            "middle_weight",
        )
        for name in ("crop_jitter", *weights, "warmup_epochs", "shuffle_buffer", "seed"):
            if not getattr(self, name) >= 0:
                raise InputError(f"--{name}={getattr(self, name)}: expected 0 or more")
        if self.seed >= 2**31:  # NumPy and Keras take no larger ones
            raise InputError(f"--seed={self.seed}: expected less than {2**31}")
        check_frame_size(self.frame_size)
        if self.crop_size > self.frame_size:
            raise InputError(f"--crop_size={self.crop_size} exceeds --frame_size={self.frame_size}")
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise InputError(f"--modalities={','.join(self.modalities)}: expected one or more different names")
        if self.modalities[0] == HALLUCINATION:
            raise InputError(
                f"--modalities={','.join(self.modalities)}: {HALLUCINATION} sees the first, which must be real"
            )
        reported = reported_accuracies(self.modalities)
        if self.select_by not in reported:
            hint = meant(self.select_by, reported)
            raise InputError(f"--select_by={self.select_by}: expected one of {', '.join(reported)}{hint}")
        self._check_networks()
        self._check_connection()
        self._check_teacher()

    def _check_networks(self):
        named: set[str] = set()
        for entry in self.networks:
            modality, variant, width = parse_network(entry)
            self._check_is_network(f"--networks={entry}", modality)
            if modality in named:
                raise InputError(f"--networks={entry}: {modality} has a network already; name one for each")
            named.add(modality)
            if variant not in VARIANTS:
                raise InputError(
                    f"--networks={entry}: there is no network {variant!r}, only {', '.join(VARIANTS)}"
                    f"{meant(variant, VARIANTS)}"
                )
            if width is not None and not width > 0:
                raise InputError(f"--networks={entry}: a width of {width} is none; expected a positive number")
        for variant in {self.network(modality)[0] for modality in self.modalities}:
            if self.crop_size < (smallest := SMALLEST_CROPS.get(variant, 1)):
                raise InputError(f"--crop_size={self.crop_size}: {variant} needs at least {smallest}")
        for entry in self.initial_weights:
            target = parse_start(entry).target
            if target:
                self._check_is_network(f"--initial_weights={entry}", target)
        for entry in self.freeze:
            modality, part = parse_frozen(entry)
            if modality:
                self._check_is_network(f"--freeze={entry}", modality)
            if not re.fullmatch(r"all|head|middle|stem|stage\d+", part):
                raise InputError(
                    f"--freeze={entry}: expected stem, stage1, …, middle, head or all, of one network rgb:stem"
                )

    def _check_connection(self):
        if not self.connection:
            return
        if not METHODS[self.method].connects or len(self.modalities) != 2:
            raise InputError(f"--connection: --method={self.method} has no two streams; modality_distillation has")
        if self.recompute:
            raise InputError("--connection: connected networks cannot be recomputed; leave out --recompute")

    def _check_is_network(self, where: str, modality: str):
        if modality not in self.modalities:
            raise InputError(f"{where}: the run has no {modality}, only {', '.join(self.modalities)}")

    def sees(self, network: str) -> str:
        """The modality that a network of the run sees."""
        return self.modalities[0] if network == HALLUCINATION else network

    @property
    def inputs(self) -> tuple[str, ...]:
        """The modalities that the networks of the run see."""
        return tuple(dict.fromkeys(map(self.sees, self.modalities)))

    def network(self, modality: str) -> tuple[str, int]:
        """The variant and the width of a modality's network."""
        for entry in self.networks:
            name, variant, width = parse_network(entry)
            if name == modality:
                return variant, width or self.width
        return self.variant, self.width

    def frozen_parts(self, modality: str) -> tuple[str, ...]:
        """The parts of a modality's network that keep their initial weights."""
        return tuple(part for name, part in map(parse_frozen, self.freeze) if name in ("", modality))

    def _check_teacher(self):
        taught = METHODS[self.method].needs_teacher
        if taught and not self.teacher_run:
            raise InputError(
                f"--method={self.method} learns from a finished run: give its folder as --teacher_run, "
                "checkpoints/<data set>/<method>/<run>"
                + (", or leave out --initial_weights, and it makes the runs that it needs" * bool(self.initial_weights))
            )
        if self.teacher_run and not taught:
            learning = ", ".join(name for name, method in METHODS.items() if method.needs_teacher)
            raise InputError(
                f"--teacher_run={self.teacher_run}: --method={self.method} has no use for it, only {learning} has"
            )
        if self.teacher_modalities and not self.teacher_run:
            raise InputError(
                f"--teacher_modalities={','.join(self.teacher_modalities)}: there is no --teacher_run; where "
                "the method makes it, --modalities=rgb,flow names what learns and what teaches"
            )
        if len(set(self.teacher_modalities)) < len(self.teacher_modalities):
            raise InputError(f"--teacher_modalities={','.join(self.teacher_modalities)}: expected different names")

    def loss_weights(self) -> dict[str, float]:
        """The weights that the loss of `method` takes, by name; the one place where they are resolved.

        A loser or student has the loss `label_weight` · CE(label) + `soft_weight` · CE(soft target). The authors' code
        has 1 and T², the paper's Eq. 3 has 1-λ and λ.
        """
        squared = self.temperature**2 if self.scale_by_temperature_squared else 1.0
        resolved = {
            "temperature": self.temperature,
            "label_weight": self.loser_ground_truth_weight,
            "soft_weight": self.distillation_weight * squared,
            "beta": self.beta,
            "feature_weight": self.feature_weight,
            "middle_weight": self.middle_weight,
        }
        return {name: resolved[name] for name in METHODS[self.method].weights}


class Start(NamedTuple):
    """An entry of `initial_weights`: [target=]path[:network]."""

    target: str  # network of the run that starts; "": those that fit
    path: str
    network: str  # of the source; "": of the target's name

    def __str__(self):
        return f"{self.target}{'=' * bool(self.target)}{self.path}{':' * bool(self.network)}{self.network}"


def parse_start(entry: str) -> Start:
    """The parts of an entry of `initial_weights`."""
    match = re.fullmatch(r"(?:([^=/:]+)=)?(.*?)(?::([^:/]*))?", entry, re.DOTALL)
    assert match, "the pattern fits every text"
    return Start(match[1] or "", match[2], match[3] or "")


def parse_network(entry: str) -> tuple[str, str, int | None]:
    """Modality, variant and width, if any, of an entry of `networks`.

    Raises:
        InputError: it is none.
    """
    match = re.fullmatch(r"([^:]+):([^:/]+)(?:/(-?\d+))?", entry)
    if not match:
        raise InputError(f"--networks={entry}: expected modality:network/width, such as rgb:r2plus1d_18/8")
    return match[1], match[2], None if match[3] is None else int(match[3])


def parse_frozen(entry: str) -> tuple[str, str]:
    """Network, "" for every one, and part of an entry of `freeze`."""
    modality, _, part = entry.rpartition(":")
    return modality, part


def check_frame_size(size: int) -> None:
    """Raises `InputError` for frames that no preparation makes."""
    if not SMALLEST_FRAME <= size <= LARGEST_FRAME:
        raise InputError(f"--frame_size={size}: expected from {SMALLEST_FRAME} to {LARGEST_FRAME} pixels")


def subset_names(modalities: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Every non-empty subset of the modalities by its name, such as `rgb+depth`, smaller ones first."""
    sizes = range(1, len(modalities) + 1)
    subsets = [subset for size in sizes for subset in itertools.combinations(modalities, size)]
    return {"+".join(subset): subset for subset in subsets}


def reported_accuracies(modalities: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the accuracies that every evaluation reports."""
    return (*subset_names(modalities), "sum", "sum_probabilities", "oracle")


RECIPES: dict[str, dict] = {
    "authors": {},
    # Eq. 3 with λ = .5, T = 2 (Sec. 4.3 tried λ in {1, .5} and T in {2, 5}), shifts of ±16 pixels at every step,
    # a learning rate of 1e-3 and the network the paper names. What the paper leaves open stays the authors'.
    "paper": {
        "loser_ground_truth_weight": 0.5,
        "distillation_weight": 0.5,
        "scale_by_temperature_squared": False,
        "crop_jitter": 16 / 256,
        "crop_jitter_probability": 1.0,
        "learning_rate": 1e-3,
        "variant": "r2plus1d_18",
    },
}

SCALES: dict[str, dict] = {
    "full": {},
    "compact": {
        "frame_size": 80,
        "crop_size": 64,
        "crop_jitter": 5 / 80,  # results/nwucla_0.1/schedule.md
        "crop_jitter_probability": 1.0,
        "width": 16,
        # of both recipes: without pooling after the stem, the paper's network takes five times as long
        "variant": "authors",
        "batch_norm_momentum": 0.98,  # a few hundred steps must do
        "batch_size": 16,
        "learning_rate": 0.02,
        "schedule": "cosine",
        "epochs": 60,
    },
}


def resolve(recipe: str, scale: str, overrides: Mapping[str, object]) -> Config:
    """The settings of a recipe at a scale for the method that `overrides` name.

    The scale's values go before the recipe's, the method's before the scale's, `overrides` before all.

    Raises:
        InputError: for an unknown name or an impossible value.
    """
    method = METHODS.get(str(overrides.get("method")))
    defaults = {}
    if method:
        weighting = str(overrides.get("weighting", Config.weighting))
        defaults = {**method.defaults, **method.weightings.get(weighting, {})}
    usual = {**RECIPES.get(recipe, {}), **SCALES.get(scale, {}), **defaults}
    return Config(**{**usual, **overrides, "recipe": recipe, "scale": scale})
