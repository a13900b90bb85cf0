"""The parameters of the flow algorithms. Nothing here needs the algorithms themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TVL1Parameters:
    """Parameters of `tvl1`; grey levels are 0 … 255."""

    lambda_: float = 0.17  # weight of the data term: larger follows the images closer, smaller is smoother
    coarse_lambda: float = 0.4  # on small pyramid levels, whose pixels are less noisy: at most this
    theta: float = 0.2  # tightness between the data and the smoothness term: smaller is tighter
    tau: float = 0.33  # step of the flow at full size: larger follows the images sooner, smaller smooths sooner
    coarse_tau: float = 0.7  # on smaller levels, where motion is found
    small_tau: float = 0.15  # on levels of up to `small` pixels, whose noise spreads to all others
    tau_sigma: float = 0.43  # the product of the steps of flow and dual variables, below 1/2
    warps: int = 2  # linearisations of the data term at full size, and on small levels
    coarse_warps: int = 1  # on levels between the two
    iterations: int = 14  # per warp
    small: int = 8000  # pixels
    scale_step: float = 0.7  # size of a pyramid level relative to the next finer one
    minimum_side: int = 16  # of the coarsest level, in pixels
    smoothing: float = 0.5  # standard deviation in pixels of the Gaussian that the frames are smoothed with


@dataclass(frozen=True)
class OpenCVTVL1Parameters:
    """Parameters of OpenCV's TV-L1 under OpenCV's names, with OpenCV's defaults."""

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


@dataclass(frozen=True)
class DISParameters:
    """Parameters of dense inverse search (Kroeger et al. 2016): OpenCV's medium preset, but down to full size."""

    finest_scale: int = 0  # where the search ends: 0 = full size, 1 = half
    patch_size: int = 8  # pixels
    patch_stride: int = 3  # pixels between patches
    gradient_descent_iterations: int = 25  # of each patch
    variational_refinement_iterations: int = 5  # at each scale


@dataclass(frozen=True)
class FarnebackParameters:
    """Parameters of polynomial expansion (Farnebäck 2003), with OpenCV's defaults."""

    num_levels: int = 5  # of the image pyramid
    pyr_scale: float = 0.5  # size of a pyramid level relative to the next finer one
    win_size: int = 13  # averaging window in pixels: larger is smoother
    num_iters: int = 10  # per level
    poly_n: int = 5  # neighbourhood of the polynomial in pixels, 5 or 7
    poly_sigma: float = 1.1  # of its Gaussian weights


@dataclass(frozen=True)
class BroxLiuParameters:
    """Parameters of `brox_liu`, with the values that the published demo of Liu's code uses."""

    alpha: float = 0.012  # weight of the smoothness term
    ratio: float = 0.75  # size of a pyramid level relative to the next finer one
    minimum_width: int = 20  # of the coarsest level, in pixels
    outer_iterations: int = 7  # warpings at the finest level; one more at each coarser one
    inner_iterations: int = 1  # re-weightings per warping
    sor_iterations: int = 30  # at the finest level; three more at each coarser one
