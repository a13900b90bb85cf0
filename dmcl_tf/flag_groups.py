"""The flags that several commands share, in groups: a command names its groups, and a command of commands their union.

A flag of a setting that is not given leaves that setting to recipe, scale and data set.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from absl import flags

from dmcl_tf.config import STRATEGIES, Config, parse_start, resolve
from dmcl_tf.datasets import DATASETS
from dmcl_tf.datasets.base import Dataset, Setting
from dmcl_tf.errors import InputError
from dmcl_tf.registry import METHODS

Group = Callable[[flags.FlagValues], None]

FRAME_SETTINGS = ("scale", "frame_size", "modalities")  # which the preparation of records has as well
SETTINGS = tuple(field.name for field in dataclasses.fields(Config))
_DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
    str: flags.DEFINE_string,
    tuple: flags.DEFINE_list,
}


def define(groups: Iterable[Group], values: flags.FlagValues) -> flags.FlagValues:
    """Defines the flags of some groups, each once, and returns them; `--help` of the running script lists them."""
    before = set(values)
    for group in dict.fromkeys(groups):
        group(values)
    for name in set(values) - before:
        values.register_key_flag_for_module(sys.argv[0], values[name])
    return values


def define_settings(values: flags.FlagValues, names: Collection[str]) -> None:
    """Defines a flag for each of the named settings of `Config`."""
    types = typing.get_type_hints(Config)
    for field in dataclasses.fields(Config):
        if field.name in names:
            choices = f" ({'|'.join(field.metadata['choices'])})" if field.metadata["choices"] else ""
            default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
            text = f"{field.metadata['help']}{choices}; authors' recipe at full size: {default}"
            kind = typing.get_origin(types[field.name]) or types[field.name]
            _DEFINE[kind](field.name, None, text, flag_values=values)


def frame_flags(values: flags.FlagValues) -> None:
    """Scale, frame size and modalities."""
    define_settings(values, FRAME_SETTINGS)


def training_flags(values: flags.FlagValues) -> None:
    """All other settings of `Config`, and λ."""
    define_settings(values, [name for name in SETTINGS if name not in FRAME_SETTINGS])
    text = "λ of Eq. 3: label weight 1-λ and distillation weight λ, for losers and students"
    flags.DEFINE_float("lambda", None, text, flag_values=values)


def dataset_flags(values: flags.FlagValues) -> None:
    """The data set."""
    text = f"data set: {', '.join(DATASETS)}; default: that of the records, or demo"
    flags.DEFINE_string("dataset", None, text, flag_values=values)


def protocol_flags(values: flags.FlagValues) -> None:
    """A flag for each setting of any data set's protocols."""
    define_settings_of({name: dataset.all_settings for name, dataset in DATASETS.items()}, values)


def records_flags(values: flags.FlagValues) -> None:
    """The folder of records."""
    text = "folder of records, with dataset.json and videos.csv; default: data/<data set>/records/<frame size>, for a "
    text += "finished run those that it was trained on"
    flags.DEFINE_string("records", None, text, flag_values=values)


def run_name_flags(values: flags.FlagValues) -> None:
    """Where a run is kept."""
    flags.DEFINE_string("checkpoints", "checkpoints", "folder under which runs are kept", flag_values=values)
    text = "name of the run; default: <recipe>-<scale>-seed<seed>"
    flags.DEFINE_string("run_name", None, text, flag_values=values)


def strategy_flags(values: flags.FlagValues) -> None:
    """Who computes."""
    text = "who computes: one_device, mirrored (all devices of this machine) or multi_worker (docs/cluster.md); "
    text += "default: the workers that TF_CONFIG or Slurm names, else all GPUs, else the processor"
    flags.DEFINE_enum("strategy", None, STRATEGIES, text, flag_values=values)


def run_flags(values: flags.FlagValues) -> None:
    """A finished run and which of its weights."""
    text = "folder of the run that is evaluated or exported, checkpoints/<data set>/<method>/<run>"
    flags.DEFINE_string("run_dir", None, text, flag_values=values)
    flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "weights to evaluate or export", flag_values=values)


def given_run(values: flags.FlagValues) -> Path:
    """The folder of the run that `run_flags` name.

    Raises:
        InputError: none is named.
    """
    if not values["run_dir"].value:
        raise InputError("--run_dir is missing: expected the folder of a run, checkpoints/<data set>/<method>/<run>")
    return Path(values["run_dir"].value)


def define_settings_of(owned: Mapping[str, Mapping[str, Setting]], values: flags.FlagValues) -> None:
    """Defines a flag for each setting of some data sets; its default is left to the data set.

    Args:
        owned: the settings of each data set, by its name.
        values: where the flags are defined.
    """
    owners: dict[str, dict[str, Setting]] = {}
    for owner, named in owned.items():
        for name, setting in named.items():
            owners.setdefault(name, {})[owner] = setting
    for name, of_owners in owners.items():
        settings = list(of_owners.values())
        listed = ", ".join(f"{owner} {_text(s.default)}" for owner, s in of_owners.items() if s.default is not None)
        text = " ".join(dict.fromkeys(setting.help for setting in settings if setting.help))
        text += f" Defaults: {listed}." if listed else ""
        choices = list(dict.fromkeys(choice for setting in settings for choice in setting.choices))
        default = next((setting.default for setting in settings if setting.default is not None), None)
        kind = settings[0].kind or (str if default is None else type(default))
        if choices:
            flags.DEFINE_enum(name, None, choices, text, flag_values=values)
        else:
            _DEFINE[kind](name, None, text, flag_values=values)


def _text(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "none" if default is None else str(default)


def given_settings(settings: Mapping[str, Setting], values: flags.FlagValues) -> dict[str, object]:
    """The settings of a data set whose flags were given; lists of numbers sorted.

    Raises:
        InputError: for a list that holds something else.
    """
    given = {name: values[name].value for name in settings if name in values and values[name].value is not None}
    for name, value in given.items():
        if isinstance(settings[name].default, tuple):
            given[name] = sorted(set(integers(name, value)))
    return given


def protocol_from_flags(dataset: Dataset, values: flags.FlagValues) -> dict[str, object]:
    """The protocol of a data set as the flags change it.

    Raises:
        InputError: a flag was given that the data set does not have, or has another value for.
    """
    owners: dict[str, list[str]] = {}
    for name, other in DATASETS.items():
        for setting in other.all_settings:
            owners.setdefault(setting, []).append(name)
    for setting, names in owners.items():
        if values[setting].value is not None and dataset.name not in names:
            raise InputError(f"--{setting}: {dataset.name} has no such setting, only {', '.join(names)}")
    return dataset.protocol(given_settings(dataset.all_settings, values))


def make_config(settings: Mapping[str, object]) -> Config:
    """The configuration of some settings, recipe and scale among them.

    Raises:
        InputError: for an impossible value.
    """
    chosen = dict(settings)
    recipe, scale = chosen.pop("recipe", Config.recipe), chosen.pop("scale", Config.scale)
    return resolve(str(recipe), str(scale), chosen)


def given_config(values: flags.FlagValues) -> dict[str, typing.Any]:
    """The settings of `Config` whose flags were given, those that --lambda stands for among them.

    Raises:
        InputError: for an impossible λ, or a list of numbers that holds something else.
    """
    types = typing.get_type_hints(Config)
    given = {name: values[name].value for name in SETTINGS if name in values and values[name].value is not None}
    for name, value in given.items():
        if types[name] == tuple[int, ...]:
            given[name] = integers(name, value)
        elif types[name] == tuple[str, ...]:
            given[name] = tuple(value)
    for name in {"modalities", "teacher_modalities"} & given.keys():  # as the preparation of records reads them
        given[name] = modality_names(given[name])
    if given.get("teacher_run"):
        given["teacher_run"] = os.path.relpath(given["teacher_run"])
    if given.get("initial_weights"):
        starts = map(parse_start, given["initial_weights"])
        given["initial_weights"] = tuple(str(start._replace(path=os.path.relpath(start.path))) for start in starts)
    weight = values["lambda"].value if "lambda" in values else None
    if weight is not None:
        if not 0 <= weight <= 1:
            raise InputError(f"--lambda={weight}: expected a value from 0 to 1")
        given.setdefault("loser_ground_truth_weight", 1 - weight)
        given.setdefault("distillation_weight", weight)
    return given


def modality_names(entries: Iterable[str]) -> tuple[str, ...]:
    """The names of modalities that a flag lists, however they are written."""
    return tuple(entry.strip().lower() for entry in entries)


def integers(name: str, values: Sequence[str]) -> tuple[int, ...]:
    """The numbers of a list flag.

    Raises:
        InputError: where one is no whole number.
    """
    try:
        return tuple(int(value) for value in values)
    except ValueError:
        raise InputError(f"--{name}={','.join(values)}: expected whole numbers separated by commas") from None


def methods_help() -> str:
    """A line for each method, for `--help`."""
    return "\n".join(f"  {name:30} {method.help}" for name, method in METHODS.items())
