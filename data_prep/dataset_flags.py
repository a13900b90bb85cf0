"""The flags by which a data set differs from others: one for each setting that some data set declares."""

from __future__ import annotations

from collections.abc import Mapping

from absl import flags

from data_prep.raw import DATASETS
from data_prep.raw.base import Dataset, Setting
from dmcl_tf.errors import InputError

KINDS = ("options", "protocol")  # the attributes of a data set that hold settings


def define_dataset_flags(kind: str, flag_values: flags.FlagValues) -> None:
    """Defines a flag for each setting that any data set has under `kind`; its default is left to the data set."""
    for name, owners in _owners(kind).items():
        settings = list(owners.values())
        texts = dict.fromkeys(setting.help for setting in settings)
        defaults = ", ".join(f"{owner} {_text(setting.default)}" for owner, setting in owners.items())
        help_text = f"{' '.join(texts)} Data sets and defaults: {defaults}."
        choices = list(dict.fromkeys(choice for setting in settings for choice in setting.choices))
        default = settings[0].default
        if choices:
            flags.DEFINE_enum(name, None, choices, help_text, flag_values=flag_values)
        elif isinstance(default, bool):
            flags.DEFINE_boolean(name, None, help_text, flag_values=flag_values)
        elif isinstance(default, int):
            flags.DEFINE_integer(name, None, help_text, 0, flag_values=flag_values)
        elif isinstance(default, tuple):
            flags.DEFINE_list(name, None, help_text, flag_values=flag_values)
        else:
            flags.DEFINE_string(name, None, help_text, flag_values=flag_values)


def read_dataset_flags(kind: str, dataset: Dataset, values: flags.FlagValues) -> dict[str, object]:
    """The settings of a data set under `kind`: its defaults, overridden by flags.

    Raises:
        InputError: a flag was given that the data set does not have, or has another value for.
    """
    settings: Mapping[str, Setting] = getattr(dataset, kind)
    result = {name: setting.default for name, setting in settings.items()}
    for name, owners in _owners(kind).items():
        value = values[name].value
        if value is None:
            continue
        if name not in settings:
            raise InputError(f"--{name}: {dataset.name} has no such setting, only {', '.join(owners)}")
        setting = settings[name]
        if setting.choices and value not in setting.choices:
            raise InputError(f"--{name}={value}: {dataset.name} has only {', '.join(setting.choices)}")
        result[name] = _numbers(name, value) if isinstance(setting.default, tuple) else value
    return result


def _owners(kind: str) -> dict[str, dict[str, Setting]]:
    """The data sets that have each setting, by its name."""
    owners: dict[str, dict[str, Setting]] = {}
    for dataset in DATASETS.values():
        for name, setting in getattr(dataset, kind).items():
            owners.setdefault(name, {})[dataset.name] = setting
    return owners


def _numbers(name: str, texts: list[str]) -> tuple[int, ...]:
    if not all(text.isdecimal() for text in texts):
        raise InputError(f"--{name}={','.join(texts)}: expected numbers, separated by commas")
    return tuple(sorted({int(text) for text in texts}))


def _text(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "none" if default is None else str(default)
