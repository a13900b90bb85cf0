"""Optical flow by total variation and the L1 norm (TV-L1), made for speed.

Source: Zach, Pock, Bischof, "A duality based approach for realtime TV-L1 optical flow" (DAGM 2007). The flow w = (u, v)
from an image I₀ to an image I₁ minimises, with an auxiliary field ŵ beside it (their equation 9),

    Σ  |∇w|  +  |w - ŵ|² / 2θ  +  λ |ρ(ŵ)|,      ρ(w) = I₁(x + w₀) - I₀ + ∇I · (w - w₀)

where ρ is the difference of the images linearised about the flow w₀ found so far, a *warp*. |∇w| is written as the
largest p · ∇w over dual vectors of length |p| ≤ 1, whereupon two steps take turns:

    w ← prox(w + τ div p)                     prox(w) = w - ∇I · clip( τ ρ(w) / ((τ + θ) |∇I|²), ±λτ )
    p ← p + σ ∇w,   p ← p / max(1, |p|)

The first is their thresholding step (equation 15) for the flow itself: the minimum over ŵ of the last two terms is a
function of w alone, whose proximal operator this is. The second is the projection of Chambolle and Pock 2011.

Warps and iterations run on every level of an image pyramid, from the coarsest on; flow and dual variables are handed
on. With the few iterations that there are, τ decides what comes first: a large one follows the images, a small one
with its larger σ smooths. So τ is large on the levels in between, where motion is found with one warp, smaller at full
size, and smallest on small levels, which cost little and whose errors all others inherit. After each warp, and after a
flow was enlarged, a 3 × 3 median takes outliers out of it (Wedel et al. 2009).

Deviations from Zach et al.: |∇w| is the length of all four derivatives together, so that u and v share their
discontinuities, instead of |∇u| + |∇v|; the gradient ∇I is that of ½ (I₀ + warped I₁), by differences over five pixels;
λ grows towards coarse levels, whose pixels are means and so less noisy; pixels that the flow moves out of the image
have no data term, nor have those where the image is flat.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from data_prep.flow import tvl1_kernels as kernels
from data_prep.flow.parameters import TVL1Parameters
from data_prep.flow.sampling import BORDER
from dmcl_tf.errors import InputError

_SAMPLING_BLUR = 0.45  # standard deviation per √(step⁻² - 1), before a level is sampled for the next

Pyramid = list  # of images (H, W) float32, the full size first


class TVL1:
    """TV-L1 with given parameters. Holds the memory that it works in, so it is for one caller at a time.

    Raises:
        InputError: parameters of a pyramid that does not end.
    """

    def __init__(self, parameters: TVL1Parameters) -> None:
        if not 0 < parameters.scale_step < 1:
            raise InputError(f"scale_step={parameters.scale_step}: expected a number between 0 and 1")
        if parameters.minimum_side < 4:
            raise InputError(f"minimum_side={parameters.minimum_side}: expected 4 pixels or more")
        self.parameters = parameters
        self._memory = [np.empty(0, np.float32)] * 2

    def prepare(self, frame: np.ndarray) -> Pyramid:
        """Returns the image pyramid of a grey frame `(H, W)`, uint8 or float of 0 … 255."""
        values = self.parameters
        image = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), values.smoothing)
        pyramid = []
        while True:
            border = 4 * [BORDER]
            pyramid.append(cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE))
            height, width = (round(side * values.scale_step ** len(pyramid)) for side in frame.shape)
            if min(height, width) < values.minimum_side:
                return pyramid
            blurred = cv2.GaussianBlur(image, (0, 0), _SAMPLING_BLUR * math.sqrt(values.scale_step**-2 - 1))
            image = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)

    def between(self, first: Pyramid, second: Pyramid) -> np.ndarray:
        """Returns the flow `(H, W, 2)` float32 in pixels between two prepared frames of one size."""
        coarser: tuple[np.ndarray, int, int] | None = None
        for level in reversed(range(len(first))):
            height, pitch = first[level].shape[0] - 2 * BORDER, first[level].shape[1]
            state = self._state(level % 2, height, pitch)
            if coarser is not None:
                scales = np.ones(kernels.CARRIED, np.float32)
                scales[kernels.U] = (pitch - 2 * BORDER) / (coarser[2] - 2 * BORDER)
                scales[kernels.V] = height / coarser[1]
                kernels.enlarge(*coarser, state, height, pitch, scales)
                _filter(state, height, pitch)
            self._refine(state, first[level].reshape(-1), second[level].reshape(-1), height, pitch, level)
            coarser = state, height, pitch
        return kernels.flow_of(state, height, pitch)

    def _refine(
        self, state: np.ndarray, first: np.ndarray, second: np.ndarray, height: int, pitch: int, level: int
    ) -> None:
        """All warps of one level."""
        values = self.parameters
        is_small = height * (pitch - 2 * BORDER) <= values.small
        lambda_ = min(values.lambda_ / values.scale_step**level, max(values.coarse_lambda, values.lambda_))
        tau = values.small_tau if is_small else values.coarse_tau if level else values.tau
        sigma, limit, share = map(np.float32, (values.tau_sigma / tau, tau * lambda_, tau / (tau + values.theta)))
        for _ in range(values.warps if is_small or level == 0 else values.coarse_warps):
            kernels.warp(state, first, second, height, pitch)
            kernels.repeat_border(state, kernels.MEAN, height, pitch)
            kernels.linearise(state, height, pitch, share)
            kernels.iterate(state, height, pitch, values.iterations, np.float32(tau), sigma, limit)
            _filter(state, height, pitch)

    def _state(self, parity: int, height: int, pitch: int) -> np.ndarray:
        """The cleared state of a level, in memory that the level after the next uses again."""
        shape = kernels.state_shape(height, pitch)
        if self._memory[parity].size < math.prod(shape):
            self._memory[parity] = np.zeros(math.prod(shape), np.float32)
        state = self._memory[parity][: math.prod(shape)].reshape(shape)
        state[: kernels.CARRIED] = 0
        state[kernels.INSIDE] = 0
        return state


def _filter(state: np.ndarray, height: int, pitch: int) -> None:
    """Takes outliers out of the flow."""
    for field in (kernels.U, kernels.V):
        kernels.repeat_border(state, field, height, pitch)
        kernels.median_filter(state, field, height, pitch)
