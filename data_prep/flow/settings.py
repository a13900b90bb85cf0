"""The settings of optical flow that are recorded beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional, Union

from data_prep.flow.algorithms import ALGORITHMS
from dmcl_tf.errors import InputError


@dataclass(frozen=True)
class FlowSettings:
    """How flow is computed and stored; its values are what `flow.json` and `dataset.json` record.

    Attributes:
        algorithm: a name in `ALGORITHMS`.
        preset: the name of the parameters, for the record.
        parameters: of the algorithm.
        bound: largest displacement kept, in pixels of a 256-pixel frame; it scales with the frame size.
        quality: of the JPEG files, 1 … 100.
        encoding: of the channels, a name in `ENCODINGS`.
        source: the modality that it is computed from.
    """

    algorithm: str = "tvl1"
    preset: str = "default"
    parameters: Mapping[str, Union[int, float]] = field(
        default_factory=lambda: asdict(ALGORITHMS["tvl1"].presets["default"])
    )
    bound: float = 20.0
    quality: int = 95
    encoding: str = "uv_magnitude"
    source: str = "rgb"


@dataclass(frozen=True)
class GivenFlowSettings:
    """Flow that comes with the data set as images, in place of `FlowSettings`; `encoding` is None where unknown."""

    encoding: Optional[str] = None
    algorithm: str = "given"


def preset_settings(algorithm: str, preset: str, **changes: Any) -> FlowSettings:
    """Returns the settings of an algorithm's preset; `changes` are other attributes of `FlowSettings`.

    Raises:
        InputError: the algorithm has no such preset.
    """
    presets = ALGORITHMS[algorithm].presets
    if preset not in presets:
        raise InputError(f"--flow_algorithm={algorithm} has no preset {preset!r}; it has {', '.join(presets)}")
    return FlowSettings(algorithm, preset, asdict(presets[preset]), **changes)
