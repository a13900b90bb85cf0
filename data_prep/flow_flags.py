"""The flags of optical flow, and the settings that they mean."""

from __future__ import annotations

from dataclasses import replace

from absl import flags

from data_prep.flow.algorithms import ALGORITHMS, PRESETS
from data_prep.flow.encoding import ENCODINGS
from data_prep.flow.settings import FlowSettings, preset_settings
from dmcl_tf.errors import InputError

FLOW_FLAGS = ("flow_algorithm", "flow_preset", "flow_parameters", "flow_encoding", "flow_bound")


def flow_flags(values: flags.FlagValues) -> None:
    """How optical flow is computed and stored."""
    flags.DEFINE_enum(
        "flow_algorithm",
        FlowSettings.algorithm,
        list(ALGORITHMS),
        "How optical flow is computed: TV-L1, OpenCV's TV-L1, dense inverse search, Farnebäck's method, or a "
        "variational method in the manner of Liu et al., which the paper used.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "flow_preset",
        None,
        PRESETS,
        "The algorithm's parameters: faster at nearly the same accuracy (fast), or, of tvl1 alone, slower and more "
        "accurate (precise) [default; make_tfrecords.py takes fast at --scale=compact].",
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


def flow_settings_from_flags(values: flags.FlagValues, *, default_preset: str) -> FlowSettings:
    """Returns the preset's parameters, single ones overridden by flags.

    Raises:
        InputError: a preset or parameter that the algorithm does not have, or a value that is none.
    """
    settings = preset_settings(
        values.flow_algorithm,
        values.flow_preset or default_preset,
        bound=values.flow_bound,
        quality=values.jpeg_quality,
        encoding=values.flow_encoding,
    )
    parameters = dict(settings.parameters)
    for text in values.flow_parameters:
        name, _, value = text.partition("=")
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
