"""Command-line flags for the settings of `Config`; a flag that is not given leaves its setting to recipe and scale."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection

from absl import flags

from dmcl_tf.config import Config
from dmcl_tf.errors import InputError

_DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_boolean,
    str: flags.DEFINE_string,
    tuple[str, ...]: flags.DEFINE_list,
    tuple[int, ...]: flags.DEFINE_list,
}
SETTINGS = tuple(field.name for field in dataclasses.fields(Config))


def define(flag_values: flags.FlagValues, names: Collection[str] = SETTINGS) -> None:
    """Defines a flag for each of the named settings; only `recipe` and `scale` have a default."""
    types = typing.get_type_hints(Config)
    for field in dataclasses.fields(Config):
        if field.name not in names:
            continue
        choices = f" ({'|'.join(field.metadata['choices'])})" if field.metadata["choices"] else ""
        default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        text = f"{field.metadata['help']}{choices}; authors' recipe at full size: {default}"
        default = field.default if field.name in ("recipe", "scale") else None
        _DEFINE[types[field.name]](field.name, default, text, flag_values=flag_values)


def given(flag_values: flags.FlagValues, names: Collection[str] = SETTINGS) -> dict[str, object]:
    """The named settings whose flags have a value, by name.

    Raises:
        InputError: for a list of numbers that holds something else.
    """
    types = typing.get_type_hints(Config)
    values = {name: flag_values[name].value for name in names if flag_values[name].value is not None}
    for name, value in values.items():
        if types[name] == tuple[int, ...]:
            values[name] = integers(name, value)
        elif types[name] == tuple[str, ...]:
            values[name] = tuple(value)
    return values


def integers(name: str, values: Collection[str]) -> tuple[int, ...]:
    """The numbers of a list flag.

    Raises:
        InputError: where one is no whole number.
    """
    try:
        return tuple(int(value) for value in values)
    except ValueError:
        raise InputError(f"--{name}={','.join(values)}: expected whole numbers separated by commas") from None
