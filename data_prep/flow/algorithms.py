"""Optical flow between consecutive frames, by several algorithms under one interface.

The paper computes flow by the method of Liu et al. (`brox_liu`). Deviation: the default is TV-L1 (Zach et al. 2007),
the usual choice of two-stream networks, in an implementation of our own (`tvl1`); OpenCV's is `tvl1_opencv`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from data_prep.flow.parameters import (
    BroxLiuParameters,
    DISParameters,
    FarnebackParameters,
    OpenCVTVL1Parameters,
    TVL1Parameters,
)


class FlowAlgorithm(Protocol):
    """Flow in two steps, so that what is derived from a frame serves both pairs that it belongs to.

    An instance may hold memory: it is for one caller at a time.
    """

    def prepare(self, frame: np.ndarray) -> Any:
        """Returns what the algorithm derives from a grey frame `(H, W)` uint8, e.g. its image pyramid."""

    def between(self, first: Any, second: Any) -> np.ndarray:
        """Returns the flow `(H, W, 2)` float32 in pixels (x, y) between two prepared frames of one size."""


class OpenCVFlow:
    """One of OpenCV's algorithms.

    A new one is made when the frame size changes: `DualTVL1OpticalFlow` lowers its number of pyramid levels for a
    small frame, and would keep the lower number for the large frames after it.
    """

    def __init__(self, make: Callable[[], cv2.DenseOpticalFlow]) -> None:
        self.make = make
        self._size: tuple[int, ...] | None = None

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Returns the frame itself."""
        return frame

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Returns the flow `(H, W, 2)` float32 in pixels between two grey frames `(H, W)` uint8."""
        if first.shape != self._size:
            self._algorithm, self._size = self.make(), first.shape
        return self._algorithm.calc(first, second, None)


def _make_tvl1(parameters: Mapping[str, Any]) -> FlowAlgorithm:
    from data_prep.flow.tvl1 import TVL1  # imports Numba, which only those who compute flow need

    return TVL1(TVL1Parameters(**parameters))


def _make_brox_liu(parameters: Mapping[str, Any]) -> FlowAlgorithm:
    from data_prep.flow.brox_liu import BroxLiu  # likewise

    return BroxLiu(BroxLiuParameters(**parameters))


def make_tvl1_opencv(parameters: Mapping[str, Any]) -> FlowAlgorithm:
    """Returns OpenCV's TV-L1 with the given `OpenCVTVL1Parameters`."""
    values = astuple(OpenCVTVL1Parameters(**parameters))  # which are those of OpenCV's function, in its order
    return OpenCVFlow(lambda: cv2.optflow.DualTVL1OpticalFlow_create(*values))


def make_dis(parameters: Mapping[str, Any]) -> FlowAlgorithm:
    """Returns dense inverse search with the given `DISParameters`."""
    values = DISParameters(**parameters)

    def make() -> cv2.DenseOpticalFlow:
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        dis.setFinestScale(values.finest_scale)
        dis.setPatchSize(values.patch_size)
        dis.setPatchStride(values.patch_stride)
        dis.setGradientDescentIterations(values.gradient_descent_iterations)
        dis.setVariationalRefinementIterations(values.variational_refinement_iterations)
        return dis

    return OpenCVFlow(make)


def make_farneback(parameters: Mapping[str, Any]) -> FlowAlgorithm:
    """Returns Farnebäck's method with the given `FarnebackParameters`."""
    values = FarnebackParameters(**parameters)
    return OpenCVFlow(
        lambda: cv2.FarnebackOpticalFlow_create(
            numLevels=values.num_levels,
            pyrScale=values.pyr_scale,
            winSize=values.win_size,
            numIters=values.num_iters,
            polyN=values.poly_n,
            polySigma=values.poly_sigma,
        )
    )


@dataclass(frozen=True)
class Algorithm:
    """A flow algorithm: how it is made from parameters, and named sets of them, `default` and `fast` at least.

    A preset is an instance of the dataclass whose fields are the parameters.
    """

    make: Callable[[Mapping[str, Any]], FlowAlgorithm]
    presets: Mapping[str, Any]


ALGORITHMS: dict[str, Algorithm] = {
    "tvl1": Algorithm(
        _make_tvl1,
        {
            "default": TVL1Parameters(),
            "fast": TVL1Parameters(warps=1, small_tau=0.22, iterations=14, scale_step=0.6),
            "precise": TVL1Parameters(warps=3, coarse_warps=4, iterations=40, scale_step=0.75),
        },
    ),
    "tvl1_opencv": Algorithm(
        make_tvl1_opencv,
        {
            "default": OpenCVTVL1Parameters(),
            "fast": OpenCVTVL1Parameters(
                scale_step=0.7, nscales=7, warps=3, outer_iterations=1, inner_iterations=10, theta=0.2
            ),
        },
    ),
    "dis": Algorithm(
        make_dis,
        {
            "default": DISParameters(),
            "fast": DISParameters(finest_scale=1, patch_stride=4, gradient_descent_iterations=16),
        },
    ),
    "farneback": Algorithm(
        make_farneback, {"default": FarnebackParameters(), "fast": FarnebackParameters(num_iters=2)}
    ),
    "brox_liu": Algorithm(
        _make_brox_liu,
        {"default": BroxLiuParameters(), "fast": BroxLiuParameters(outer_iterations=2, sor_iterations=15)},
    ),
}
PRESETS = ("default", "fast", "precise")  # the last of tvl1 alone


def flow_between(algorithm: FlowAlgorithm, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the flow `(H, W, 2)` float32 in pixels from one grey frame `(H, W)` to another of its size."""
    return algorithm.between(algorithm.prepare(first), algorithm.prepare(second))


def compute_flow(frames: Iterable[np.ndarray], algorithm: FlowAlgorithm) -> Iterator[np.ndarray]:
    """Yields the flow at each frame: `(H, W, 2)` float32, displacement (x, y) in pixels to the next frame.

    The last flow is repeated, so that there are as many as frames; a single frame has no motion. Frames are taken one
    by one, and no more than two are held.

    Args:
        frames: grey images `(H, W)` uint8 of one size.
        algorithm: made by one of `ALGORITHMS`.
    """
    first, flow = None, None
    for frame in frames:
        second = algorithm.prepare(frame)
        if first is None:
            flow = np.zeros((*frame.shape, 2), np.float32)
        else:
            flow = algorithm.between(first, second)
            yield flow
        first = second
    if flow is not None:
        yield flow
