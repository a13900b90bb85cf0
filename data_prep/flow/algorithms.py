"""Optical flow between consecutive frames, by several algorithms under one signature.

The paper computes flow by the method of Liu et al. (`brox_liu`). Deviation: the default is TV-L1 (Zach et al. 2007,
OpenCV's implementation), the usual choice of two-stream networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from data_prep.flow.brox_liu import BroxLiuParameters, make_brox_liu

FlowFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]  # two grey frames (H, W) uint8 → (H, W, 2) float32


@dataclass(frozen=True)
class TVL1Parameters:
    """TV-L1's parameters under OpenCV's names, with OpenCV's defaults."""

    tau: float = 0.25  # time step of the numerical scheme
    lambda_: float = 0.15  # weight of the data term: larger follows the images closer, smaller is smoother
    theta: float = 0.3  # tightness between the data and the smoothness term
    nscales: int = 5  # levels of the image pyramid
    warps: int = 5  # warpings per level
    epsilon: float = 0.01  # stop an iteration when it changes the flow by less
    inner_iterations: int = 30  # between outlier filterings
    outer_iterations: int = 10  # outlier filterings per warping
    scale_step: float = 0.8  # size of a pyramid level relative to the next finer one
    gamma: float = 0.0  # weight of illumination changes; 0 = none
    median_filtering: int = 5  # width of the outlier filter: 1 (off), 3 or 5 pixels


def make_tvl1(parameters: Mapping[str, Any]) -> FlowFunction:
    """Returns TV-L1 with the given `TVL1Parameters`."""
    values = TVL1Parameters(**parameters)
    tvl1 = cv2.optflow.DualTVL1OpticalFlow_create()
    tvl1.setTau(values.tau)
    tvl1.setLambda(values.lambda_)
    tvl1.setTheta(values.theta)
    tvl1.setScalesNumber(values.nscales)
    tvl1.setWarpingsNumber(values.warps)
    tvl1.setEpsilon(values.epsilon)
    tvl1.setInnerIterations(values.inner_iterations)
    tvl1.setOuterIterations(values.outer_iterations)
    tvl1.setScaleStep(values.scale_step)
    tvl1.setGamma(values.gamma)
    tvl1.setMedianFiltering(values.median_filtering)
    return lambda first, second: tvl1.calc(first, second, None)


@dataclass(frozen=True)
class DISParameters:
    """Parameters of dense inverse search (Kroeger et al. 2016): OpenCV's medium preset, but down to full size."""

    finest_scale: int = 0  # where the search ends: 0 = full size, 1 = half
    patch_size: int = 8  # pixels
    patch_stride: int = 3  # pixels between patches
    gradient_descent_iterations: int = 25  # of each patch
    variational_refinement_iterations: int = 5  # at each scale


def make_dis(parameters: Mapping[str, Any]) -> FlowFunction:
    """Returns dense inverse search with the given `DISParameters`."""
    values = DISParameters(**parameters)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(values.finest_scale)
    dis.setPatchSize(values.patch_size)
    dis.setPatchStride(values.patch_stride)
    dis.setGradientDescentIterations(values.gradient_descent_iterations)
    dis.setVariationalRefinementIterations(values.variational_refinement_iterations)
    return lambda first, second: dis.calc(first, second, None)


@dataclass(frozen=True)
class FarnebackParameters:
    """Parameters of polynomial expansion (Farnebäck 2003), with OpenCV's defaults."""

    num_levels: int = 5  # of the image pyramid
    pyr_scale: float = 0.5  # size of a pyramid level relative to the next finer one
    win_size: int = 13  # averaging window in pixels: larger is smoother
    num_iters: int = 10  # per level
    poly_n: int = 5  # neighbourhood of the polynomial in pixels, 5 or 7
    poly_sigma: float = 1.1  # of its Gaussian weights


def make_farneback(parameters: Mapping[str, Any]) -> FlowFunction:
    """Returns Farnebäck's method with the given `FarnebackParameters`."""
    values = FarnebackParameters(**parameters)
    farneback = cv2.FarnebackOpticalFlow_create(
        numLevels=values.num_levels,
        pyrScale=values.pyr_scale,
        winSize=values.win_size,
        numIters=values.num_iters,
        polyN=values.poly_n,
        polySigma=values.poly_sigma,
    )
    return lambda first, second: farneback.calc(first, second, None)


@dataclass(frozen=True)
class Algorithm:
    """A flow algorithm: how it is made from parameters, and named sets of them, `default` and `fast` at least.

    A preset is an instance of the dataclass whose fields are the parameters.
    """

    make: Callable[[Mapping[str, float]], FlowFunction]
    presets: Mapping[str, Any]


# The fast presets were chosen with benchmarks/optical_flow.py on rendered people, whose true flow is known.
ALGORITHMS: dict[str, Algorithm] = {
    "tvl1": Algorithm(
        make_tvl1,
        {
            "default": TVL1Parameters(),
            # 6 to 7 times faster. The error on the body is the default's or less; over the whole frame it is larger by
            # 0.03 pixel, noise of the background.
            "fast": TVL1Parameters(
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
        make_brox_liu,
        {"default": BroxLiuParameters(), "fast": BroxLiuParameters(outer_iterations=2, sor_iterations=15)},
    ),
}
PRESETS = ("default", "fast")


def compute_flow(frames: Sequence[np.ndarray], algorithm: FlowFunction) -> Iterator[np.ndarray]:
    """Yields the flow at each frame: `(H, W, 2)` float32, displacement (x, y) in pixels to the next frame.

    The last flow is repeated, so that there are as many as frames; a single frame has no motion.

    Args:
        frames: grey images `(H, W)` uint8 of one size.
        algorithm: made by one of `ALGORITHMS`.
    """
    flow = np.zeros((*frames[0].shape, 2), np.float32)
    for first, second in zip(frames, frames[1:]):
        flow = algorithm(first, second)
        yield flow
    yield flow
