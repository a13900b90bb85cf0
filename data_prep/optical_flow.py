"""Optical flow between consecutive frames, and its encoding as three-channel images. Pure functions.

The paper computes flow by the method of Liu et al.; how its authors stored it as JPEG is not released. Deviation: TV-L1
(Zach et al. 2007, OpenCV's implementation), the usual choice of two-stream networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import cv2
import numpy as np

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


PRESETS: dict[str, TVL1Parameters] = {
    "default": TVL1Parameters(),
    # Chosen with benchmarks/optical_flow.py: 6 to 7 times faster. Against the true flow of rendered people its error on
    # the body is the default's or less; over the whole frame it is larger by 0.03 pixel, noise of the background.
    "fast": TVL1Parameters(scale_step=0.7, nscales=7, warps=3, outer_iterations=1, inner_iterations=10, theta=0.2),
}


def make_tvl1(parameters: Mapping[str, float]) -> FlowFunction:
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


ALGORITHMS: dict[str, Callable[[Mapping[str, float]], FlowFunction]] = {"tvl1": make_tvl1}


@dataclass(frozen=True)
class FlowSettings:
    """How flow is computed and stored; its values are what `flow.json` and `dataset.json` record.

    Attributes:
        algorithm: a name in `ALGORITHMS`.
        preset: the name of the parameters, for the record.
        parameters: of the algorithm.
        bound: largest displacement kept, in pixels of a 256-pixel frame; it scales with the frame size.
        quality: of the JPEG files, 1 … 100.
        encoding: of the channels, see `encode_flow`.
        source: the modality that it is computed from.
    """

    algorithm: str = "tvl1"
    preset: str = "default"
    parameters: Mapping[str, float] = field(default_factory=lambda: asdict(PRESETS["default"]))
    bound: float = 20.0
    quality: int = 95
    encoding: str = "uv_magnitude"
    source: str = "rgb"


def bound_in_pixels(bound: float, height: int, width: int) -> float:
    """Scales a bound given for a 256-pixel frame to frames of another size."""
    return bound * max(height, width) / 256


def compute_flow(frames: Sequence[np.ndarray], algorithm: FlowFunction) -> Iterator[np.ndarray]:
    """Yields the flow at each frame: `(H, W, 2)` float32, displacement (x, y) in pixels to the next frame.

    The last flow is repeated, so that there are as many as frames; a single frame has no motion.

    Args:
        frames: grey images `(H, W)` uint8 of one size.
        algorithm: from `ALGORITHMS`.
    """
    flow = np.zeros((*frames[0].shape, 2), np.float32)
    for first, second in zip(frames, frames[1:]):
        flow = algorithm(first, second)
        yield flow
    yield flow


def encode_flow(flow: np.ndarray, bound: float) -> np.ndarray:
    """Encodes flow as an image: `(H, W, 2)` pixels → `(H, W, 3)` uint8 in the order u, v, magnitude.

    u and v are clipped to ±bound and become round(128 + 127·u / bound): 128 is no motion, 1 and 255 are the bounds.
    The magnitude √(u² + v²) of the clipped flow becomes round(255·magnitude / (√2·bound)): 0 is no motion, and 255 is
    reached where u and v are both at a bound, so nothing saturates twice.
    """
    clipped = np.clip(flow, -bound, bound)
    magnitude = np.hypot(clipped[..., 0], clipped[..., 1])
    channels = np.dstack([128 + clipped * (127 / bound), magnitude * (255 / (np.sqrt(2) * bound))])
    return np.rint(channels).astype(np.uint8)


def decode_flow(image: np.ndarray, bound: float) -> np.ndarray:
    """Inverts `encode_flow` to within half a step, bound / 254: `(H, W, 3)` uint8 → `(H, W, 2)` float32 pixels."""
    return (image[..., :2].astype(np.float32) - 128) * np.float32(bound / 127)
