"""The flags of optical flow, and the settings that they mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from absl import flags

from data_prep.flow.algorithms import ALGORITHMS, PRESETS, TVL1Parameters
from data_prep.flow.encoding import ENCODINGS
from data_prep.flow.settings import FlowSettings, preset_settings
from dmcl_tf.errors import InputError

_HELP = {
    "tau": "time step of the numerical scheme",
    "lambda_": "weight of the data term: larger follows the images closer, smaller gives smoother flow",
    "theta": "tightness between the data and the smoothness term",
    "nscales": "levels of the image pyramid",
    "warps": "warpings per level",
    "epsilon": "stop iterating when a step changes the flow by less",
    "inner_iterations": "iterations between two outlier filterings",
    "outer_iterations": "outlier filterings per warping",
    "scale_step": "size of a pyramid level relative to the next finer one",
    "gamma": "weight of illumination changes, 0 = none",
    "median_filtering": "width of the outlier filter in pixels: 1 (none), 3 or 5",
}


def flow_flags(values: flags.FlagValues) -> None:
    """How optical flow is computed and stored."""
    flags.DEFINE_enum(
        "flow_algorithm",
        FlowSettings.algorithm,
        list(ALGORITHMS),
        "How optical flow is computed: TV-L1, dense inverse search (the fastest), Farnebäck's method, or a variational "
        "method in the manner of Liu et al., which the paper used.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "flow_preset",
        None,
        PRESETS,
        "The algorithm's parameters: its authors' or OpenCV's (default), or several times faster at nearly the same "
        "accuracy (fast) [default; make_tfrecords.py takes fast at --scale=compact].",
        flag_values=values,
    )
    flags.DEFINE_list(
        "flow_parameters",
        [],
        "Single parameters instead of the preset's, as name=value, separated by commas, e.g. "
        "--flow_algorithm=brox_liu --flow_parameters=alpha=0.03,outer_iterations=3; dataset.json lists them all.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "flow_encoding",
        FlowSettings.encoding,
        list(ENCODINGS),
        "The three channels of a flow image: u, v and magnitude; u, v and a constant; or direction and magnitude as a "
        "colour. Flow that comes with a data set is taken as it is; give what it is encoded as.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "flow_bound",
        FlowSettings.bound,
        "Largest displacement that is kept, in pixels of a 256-pixel frame; it scales with the frame size.",
        1e-3,
        flag_values=values,
    )
    for parameter in fields(TVL1Parameters):
        name = f"tvl1_{parameter.name.rstrip('_')}"
        help_text = f"TV-L1: {_HELP[parameter.name]} [OpenCV: {parameter.default}; or the preset's]."
        if parameter.name == "median_filtering":
            flags.DEFINE_enum(name, None, ["1", "3", "5"], help_text, flag_values=values)
        elif isinstance(parameter.default, int):
            flags.DEFINE_integer(name, None, help_text, 1, flag_values=values)
        elif parameter.name == "scale_step":
            flags.DEFINE_float(name, None, help_text, 0.1, 0.95, flag_values=values)
        else:
            flags.DEFINE_float(name, None, help_text, 0.0, flag_values=values)


def flow_settings_from_flags(values: flags.FlagValues, *, default_preset: str) -> FlowSettings:
    """Returns the preset's parameters, single ones overridden by flags.

    Raises:
        InputError: a parameter that the algorithm does not have, or a value that is none.
    """
    settings = preset_settings(
        values.flow_algorithm,
        values.flow_preset or default_preset,
        bound=values.flow_bound,
        quality=values.jpeg_quality,
        encoding=values.flow_encoding,
    )
    parameters = dict(settings.parameters)
    for name, value in _given_parameters(values):
        if name not in parameters:
            raise InputError(
                f"--flow_algorithm={settings.algorithm} has no parameter {name!r}; it has {', '.join(parameters)}"
            )
        kind = type(parameters[name])
        try:
            parameters[name] = kind(value)
        except ValueError:
            expected = "a whole number" if kind is int else "a number"
            raise InputError(f"--flow_parameters={name}={value}: expected {expected}") from None
    return replace(settings, parameters=parameters)


def _given_parameters(values: flags.FlagValues) -> Iterator[tuple[str, Any]]:
    """Yields name and value of each single parameter that flags give."""
    for name in (parameter.name for parameter in fields(TVL1Parameters)):
        value = values[f"tvl1_{name.rstrip('_')}"].value
        if value is not None:
            if values.flow_algorithm != "tvl1":
                raise InputError(f"--tvl1_{name.rstrip('_')} goes with --flow_algorithm=tvl1 alone")
            yield name, value
    for text in values.flow_parameters:
        name, _, value = text.partition("=")
        yield name, value
