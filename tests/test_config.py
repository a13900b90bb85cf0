"""Settings: recipes, scales, their order, and values that cannot be."""

import dataclasses
import itertools
import math

import msgspec
import pytest

from dmcl_tf import config
from dmcl_tf.config import Config, resolve
from dmcl_tf.errors import InputError

# what each recipe and scale must say, beside its sources in the fact sheet of the paper and the authors' code
RECIPES = {
    "authors": {
        "frame_size": 256,
        "crop_size": 224,
        "clip_frames": 8,
        "crop_jitter": 8 / 256,
        "crop_jitter_probability": 0.5,
        "flip_probability": 0.5,
        "negate_flow": False,
        "color_probability": 0.5,
        "value_range": "0..255",
        "shuffle_buffer": 0,
        "variant": "authors",
        "width": 64,
        "batch_norm_momentum": 0.997,
        "temperature": 2.0,
        "loser_ground_truth_weight": 1.0,
        "distillation_weight": 1.0,
        "scale_by_temperature_squared": True,
        "optimizer": "sgd",
        "learning_rate": 0.00128,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "step",
        "warmup_epochs": 5,
        "decay_epochs": (100, 150, 180, 200),
        "epochs": 220,
        "batch_size": 8,
        "save_every": 1,
        "validate_every": 5,
        "select_by": "oracle",
    },
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
SCALES = {
    "full": {"frame_size": 256, "crop_size": 224, "width": 64, "epochs": 220},
    "compact": {"frame_size": 80, "crop_size": 64, "width": 16, "batch_size": 16, "schedule": "cosine", "epochs": 60},
}


TAUGHT = {"method": "generalized_distillation", "teacher_run": "run"}


def test_every_recipe_and_scale_has_a_case():
    assert set(RECIPES) == set(config.RECIPES)
    assert set(SCALES) == set(config.SCALES)
    for field, known in (("recipe", RECIPES), ("scale", SCALES)):
        assert set(Config.__dataclass_fields__[field].metadata["choices"]) == set(known)


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe(recipe):
    resolved = resolve(recipe, "full", {})
    assert {name: getattr(resolved, name) for name in RECIPES[recipe]} == RECIPES[recipe]
    assert (resolved.recipe, resolved.scale) == (recipe, "full")


@pytest.mark.parametrize("scale", SCALES)
def test_scale(scale):
    resolved = resolve("authors", scale, {})
    assert {name: getattr(resolved, name) for name in SCALES[scale]} == SCALES[scale]


def test_scale_goes_before_recipe_and_overrides_before_both():
    both = resolve("paper", "compact", {})
    assert both.learning_rate == config.SCALES["compact"]["learning_rate"]
    assert both.variant == "authors"
    own = resolve("paper", "compact", {"learning_rate": 0.5, "variant": "r2plus1d_18"})
    assert (own.learning_rate, own.variant) == (0.5, "r2plus1d_18")


def test_methods_go_before_recipe_and_scale_and_overrides_before_all():
    halves = {"loser_ground_truth_weight": 0.5, "distillation_weight": 0.5}
    for recipe, scale in (("authors", "full"), ("paper", "compact")):
        plain, taught = resolve(recipe, scale, {}), resolve(recipe, scale, TAUGHT)
        assert taught == dataclasses.replace(plain, **TAUGHT, **halves)
        own = resolve(recipe, scale, {**TAUGHT, "distillation_weight": 2.0})
        assert (own.loser_ground_truth_weight, own.distillation_weight) == (0.5, 2.0)


@pytest.mark.parametrize(
    ("recipe", "overrides", "expected"),
    [
        ("authors", {}, {"temperature": 2.0, "label_weight": 1.0, "soft_weight": 4.0}),  # 1 and T²
        ("paper", {}, {"temperature": 2.0, "label_weight": 0.5, "soft_weight": 0.5}),  # 1 - λ and λ
        ("authors", {"temperature": 5.0}, {"temperature": 5.0, "label_weight": 1.0, "soft_weight": 25.0}),
        ("authors", {"method": "random_teacher"}, {"temperature": 2.0, "label_weight": 1.0, "soft_weight": 4.0}),
        ("authors", TAUGHT, {"temperature": 2.0, "label_weight": 0.5, "soft_weight": 2.0}),  # T² as in their code
        ("paper", TAUGHT, {"temperature": 2.0, "label_weight": 0.5, "soft_weight": 0.5}),  # none as in their paper
        ("paper", {"method": "cmcl", "beta": 0.5}, {"beta": 0.5}),
        ("authors", {"method": "independent"}, {}),
    ],
)
def test_weights_of_the_losses(recipe, overrides, expected):
    assert resolve(recipe, "full", overrides).loss_weights() == pytest.approx(expected)


def test_settings_survive_json():
    taught = {**TAUGHT, "teacher_modalities": ("depth", "flow"), "train_fraction": 0.25}
    for recipe, changes in itertools.product(
        RECIPES, ({"modalities": ("rgb", "depth"), "temperature": math.pi}, taught)
    ):
        resolved = resolve(recipe, "compact", changes)
        assert msgspec.json.decode(msgspec.json.encode(resolved), type=Config) == resolved


def test_every_setting_says_what_it_is():
    for field in dataclasses.fields(Config):
        assert field.metadata["help"].strip(), field.name
        assert not field.metadata["choices"] or field.default in field.metadata["choices"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"method": "dmlc"}, "--method=dmlc: expected one of independent, dmcl, random_teacher, mutual"),
        ({"method": "dmlc"}, "did you mean dmcl?"),
        ({"optimizer": "sdg"}, "--optimizer=sdg: expected one of sgd, adam, sgdw, lamb; did you mean sgd?"),
        ({"precision": "bfloat"}, "did you mean bfloat16?"),
        ({"value_range": "0-255"}, "did you mean 0..255?"),
        ({"select_by": "oracl"}, "--select_by=oracl: expected one of rgb, depth, flow, rgb+depth"),
        ({"select_by": "oracl"}, "did you mean oracle?"),
        ({"crop_size": 300}, "--crop_size=300 exceeds --frame_size=256"),
        ({"batch_size": 0}, "--batch_size=0: expected a positive number"),
        ({"temperature": -1.0}, "--temperature=-1.0: expected a positive number"),
        ({"learning_rate": math.nan}, "--learning_rate=nan: expected a positive number"),
        ({"flip_probability": 1.5}, "--flip_probability=1.5: expected a value from 0 to 1"),
        ({"momentum": 1.5}, "--momentum=1.5: expected a value from 0 to 1"),
        ({"weight_decay": -1e-4}, "--weight_decay=-0.0001: expected 0 or more"),
        ({"warmup_epochs": -1}, "--warmup_epochs=-1: expected 0 or more"),
        ({"beta": -0.5}, "--beta=-0.5: expected 0 or more"),
        ({"train_fraction": 0.0}, "--train_fraction=0.0: expected a value above 0, up to 1"),
        ({"train_fraction": 1.01}, "--train_fraction=1.01: expected a value above 0, up to 1"),
        ({"train_fraction": math.nan}, "--train_fraction=nan: expected a value above 0, up to 1"),
        ({"method": "generalized_distillation"}, "learns from a finished run: give its folder as --teacher_run"),
        ({"teacher_run": "run"}, "--teacher_run=run: --method=dmcl has no use for it, only generalized_distillation"),
        ({"teacher_modalities": ("rgb",)}, "--teacher_modalities=rgb: there is no --teacher_run"),
        ({**TAUGHT, "teacher_modalities": ("rgb", "rgb")}, "--teacher_modalities=rgb,rgb: expected different names"),
        ({"seed": -1}, "--seed=-1: expected 0 or more"),
        ({"seed": 2**31}, "--seed=2147483648: expected less than 2147483648"),
        ({"modalities": ()}, "--modalities=: expected one or more different names"),
        ({"modalities": ("rgb", "rgb")}, "--modalities=rgb,rgb: expected one or more different names"),
    ],
)
def test_impossible_values_are_named(overrides, message):
    with pytest.raises(InputError) as caught:
        resolve("authors", "full", overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_recipe_and_scale_are_named():
    with pytest.raises(InputError, match=r"--recipe=author: expected one of authors, paper; did you mean authors\?"):
        resolve("author", "full", {})
    with pytest.raises(InputError, match=r"--scale=compac: expected one of full, compact; did you mean compact\?"):
        resolve("authors", "compac", {})


@pytest.mark.parametrize("modalities", [("rgb",), ("rgb", "depth"), ("rgb", "depth", "flow"), ("a", "b", "c", "d")])
def test_every_subset_has_a_name(modalities):
    subsets = config.subset_names(modalities)
    assert len(subsets) == 2 ** len(modalities) - 1
    assert len(set(subsets.values())) == len(subsets)
    assert all(name == "+".join(subset) for name, subset in subsets.items())
    assert list(subsets)[: len(modalities)] == list(modalities)
    assert list(subsets.values())[-1] == modalities
    assert config.reported_accuracies(modalities) == (*subsets, "sum", "sum_probabilities", "oracle")
