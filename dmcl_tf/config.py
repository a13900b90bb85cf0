"""One frozen dataclass records a run; recipes, scales and methods are named sets of its values. No TensorFlow here."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from dmcl_tf.errors import InputError


@dataclass(frozen=True)
class Method:
    """What a run must know of its training method, whose loss is the function of that name in `dmcl_tf.methods`.

    Attributes:
        help: what it does, in a line.
        weights: what its loss takes by name, some of `Config.loss_weights`.
        needs_teacher: whether networks of a finished run teach.
        defaults: settings without which it is not itself.
    """

    help: str
    weights: tuple[str, ...] = ()
    needs_teacher: bool = False
    defaults: Mapping[str, object] = dataclasses.field(default_factory=dict)


STRATEGIES = ("one_device", "mirrored", "multi_worker")
SMALLEST_FRAME, LARGEST_FRAME = 16, 4096  # pixels; a clip of the largest takes 400 MB
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
}


def _setting(default, text: str, choices: Collection[str] | None = None):
    return dataclasses.field(default=default, metadata={"help": text, "choices": choices})


# the networks of `dmcl_tf.networks.NETWORKS`
VARIANTS: dict[str, str] = {
    "authors": "R(2+1)D-18 as in the authors' code",
    "tran2018": "R(2+1)D-18 as published",
    "testing": "two convolutions, for tests",
}


@dataclass(frozen=True)
class Config:
    """Every setting of a training run. The defaults are the authors' code (argparse, dmcl.py, parsers.py)."""

    recipe: str = _setting("authors", "settings as in the authors' code, or as in the paper", ("authors", "paper"))
    scale: str = _setting("full", "full size, or a small version for machines without a GPU", ("full", "compact"))
    # data
    modalities: tuple[str, ...] = _setting(("rgb", "depth", "flow"), "modalities to train on, comma-separated")
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
    width: int = _setting(64, "channels of the network's first stage")
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
    teacher_run: str = _setting("", "folder of the finished run whose networks teach in generalized_distillation")
    teacher_modalities: tuple[str, ...] = _setting(
        (), "modalities of the teacher run that teach, by the mean of their logits; none given: all of them"
    )
    # optimisation
    optimizer: str = _setting("sgd", "optimiser", ("sgd", "adam", "sgdw", "lamb"))
    learning_rate: float = _setting(0.00128, "learning rate after warm-up")
    momentum: float = _setting(0.9, "momentum of sgd and sgdw")
    weight_decay: float = _setting(1e-4, "weight decay on kernels: w·Σv²/2 in the loss (sgd, adam) or decoupled")
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
                raise InputError(
                    f"--{field.name}={value}: expected one of {', '.join(choices)}{_meant(value, choices)}"
                )
        positive = ("frame_size", "crop_size", "clip_frames", "width", "temperature", "learning_rate", "epochs")
        for name in (*positive, "batch_size", "validate_every"):
            if not getattr(self, name) > 0:  # not-a-number is none either
                raise InputError(f"--{name}={getattr(self, name)}: expected a positive number")
        shares = ("crop_jitter_probability", "flip_probability", "color_probability", "batch_norm_momentum", "momentum")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"--{name}={getattr(self, name)}: expected a value from 0 to 1")
        if not 0 < self.train_fraction <= 1:
            raise InputError(f"--train_fraction={self.train_fraction}: expected a value above 0, up to 1")
        weights = ("weight_decay", "loser_ground_truth_weight", "distillation_weight", "beta")
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
        reported = reported_accuracies(self.modalities)
        if self.select_by not in reported:
            meant = _meant(self.select_by, reported)
            raise InputError(f"--select_by={self.select_by}: expected one of {', '.join(reported)}{meant}")
        self._check_teacher()

    def _check_teacher(self):
        taught = METHODS[self.method].needs_teacher
        if taught and not self.teacher_run:
            raise InputError(
                f"--method={self.method} learns from a finished run: give its folder as --teacher_run, "
                "checkpoints/<data set>/<method>/<run>"
            )
        if self.teacher_run and not taught:
            learning = ", ".join(name for name, method in METHODS.items() if method.needs_teacher)
            raise InputError(
                f"--teacher_run={self.teacher_run}: --method={self.method} has no use for it, only {learning} has"
            )
        if self.teacher_modalities and not self.teacher_run:
            raise InputError(f"--teacher_modalities={','.join(self.teacher_modalities)}: there is no --teacher_run")
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
        }
        return {name: resolved[name] for name in METHODS[self.method].weights}


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
        "variant": "tran2018",
    },
}

SCALES: dict[str, dict] = {
    "full": {},
    "compact": {
        "frame_size": 80,
        "crop_size": 64,
        "crop_jitter": 5 / 80,  # results/nwucla/schedule.md
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
    for flag, value, known in (("recipe", recipe, RECIPES), ("scale", scale, SCALES)):
        if value not in known:
            raise InputError(f"--{flag}={value}: expected one of {', '.join(known)}{_meant(value, known)}")
    method = METHODS.get(str(overrides.get("method")))
    defaults = method.defaults if method else {}
    return Config(**{**RECIPES[recipe], **SCALES[scale], **defaults, **overrides, "recipe": recipe, "scale": scale})


def _meant(value: object, choices) -> str:
    close = difflib.get_close_matches(str(value), list(choices), n=1)
    return f"; did you mean {close[0]}?" if close else ""
