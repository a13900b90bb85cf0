"""Coarse-to-fine variational optical flow in the manner of Liu, the method that the paper's flow was computed with.

Sources: Brox, Bruhn, Papenberg, Weickert, "High accuracy optical flow estimation based on a theory for warping" (ECCV
2004); Liu, "Beyond pixels", appendix A (MIT 2009). The flow w minimises, over the pixels p,

    mean over features c of √((c₂(p + w) - c₁(p))² + ε²)  +  α √(|∇u|² + |∇v|² + ε²)

where the features are the grey level in [0, 1] and its two derivatives (brightness and gradient constancy). At each
level of a pyramid, outer iterations warp the second frame, inner ones re-weight the two penalties, and successive
over-relaxation (SOR) solves the linear system of the increment that results.

Deviations from Liu's published code: grey frames only (no colour differences as features); bicubic instead of bilinear
warping, which finds a translation by a fraction of a pixel ten times as exactly; pixels that move out of the frame have
no data term; SOR visits the pixels of one colour of a checkerboard, then those of the other, so that a processor's
vectors can be used, and solves for u and v of a pixel at once.
"""

from __future__ import annotations

import cv2
import numpy as np

from data_prep.flow import brox_liu_kernels as kernels
from data_prep.flow.parameters import BroxLiuParameters
from data_prep.flow.sampling import BORDER

_EPSILON = 0.001  # of both penalties
_DERIVATIVE = np.array([1, -8, 0, 8, -1], np.float32) / 12
_SMOOTHING = np.array([0.02, 0.11, 0.74, 0.11, 0.02], np.float32)
_IDENTITY = np.ones(1, np.float32)

Pyramid = list  # of features (3, H, W) float32, the full size first


class BroxLiu:
    """The method with given parameters."""

    def __init__(self, parameters: BroxLiuParameters) -> None:
        self.parameters = parameters

    def prepare(self, frame: np.ndarray) -> Pyramid:
        """Returns the features of ever smaller versions of a grey frame `(H, W)`, uint8 or float of 0 … 255.

        Each version is blurred as much as the next step of sampling asks for.
        """
        ratio = self.parameters.ratio
        image = frame.astype(np.float32) / 255
        pyramid = [_features(image)]
        blur = 0.6 * np.sqrt(ratio**-2 - 1)
        while min(image.shape) * ratio >= self.parameters.minimum_width:
            height, width = (round(side * ratio) for side in image.shape)
            if (height, width) == image.shape:  # as small as rounding makes it
                break
            blurred = cv2.GaussianBlur(image, (0, 0), blur, borderType=cv2.BORDER_REPLICATE)
            image = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
            pyramid.append(_features(image))
        return pyramid

    def between(self, first: Pyramid, second: Pyramid) -> np.ndarray:
        """Returns the flow `(H, W, 2)` float32 in pixels between two prepared frames of one size."""
        flow = np.zeros((2, *first[-1].shape[1:]), np.float32)
        for level in reversed(range(len(first))):
            height, width = first[level].shape[1:]
            scale = width / flow.shape[2], height / flow.shape[1]
            resized = [cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR) for part in flow]
            flow = np.stack([np.float32(factor) * part for factor, part in zip(scale, resized)])
            self._refine(first[level], second[level], flow, level)
        return cv2.merge(tuple(flow))

    def _refine(self, first: np.ndarray, second: np.ndarray, flow: np.ndarray, level: int) -> None:
        """The outer and inner fixed-point iterations of a level: features `(3, H, W)`; changes the flow `(2, H, W)`."""
        parameters = self.parameters
        height, width = flow.shape[1:]
        alpha, epsilon2 = np.float32(parameters.alpha), np.float32(_EPSILON**2)
        enlarged = [cv2.copyMakeBorder(image, *4 * [BORDER], cv2.BORDER_REPLICATE) for image in second]
        images = np.stack(enlarged).reshape(len(second), -1)
        smooth_first = _filter(first, _SMOOTHING, _SMOOTHING)
        first_dx = np.float32(0.4) * _filter(smooth_first, _DERIVATIVE, _IDENTITY)
        first_dy = np.float32(0.4) * _filter(smooth_first, _IDENTITY, _DERIVATIVE)
        warped, bordered = np.empty_like(first), np.empty((len(first), height + 4, width + 4), np.float32)
        inside = np.empty((height, width), np.float32)
        to_right, to_below = np.empty((2, height, width), np.float32)
        terms = np.empty((5, height, width), np.float32)
        increment = np.empty_like(flow)
        board = kernels.new_board(height, width)
        for _ in range(parameters.outer_iterations + level):
            kernels.warp(images, flow, width + 2 * BORDER, warped, inside)
            _filter(warped, _SMOOTHING, _SMOOTHING, bordered[:, 2:-2, 2:-2])
            bordered[:, 2:-2, :2], bordered[:, 2:-2, -2:] = bordered[:, 2:-2, 2:3], bordered[:, 2:-2, -3:-2]
            bordered[:, :2], bordered[:, -2:] = bordered[:, 2:3], bordered[:, -3:-2]
            increment[:] = 0
            for _ in range(parameters.inner_iterations):
                kernels.data_term(smooth_first, first_dx, first_dy, bordered, inside, increment, epsilon2, terms)
                kernels.couplings(flow + increment, alpha, epsilon2, to_right, to_below)
                kernels.assemble(terms, flow, to_right, to_below, board)
                kernels.solve(board, height, width, parameters.sor_iterations + 3 * level, increment)
            flow += increment


def _filter(
    images: np.ndarray, along_x: np.ndarray, along_y: np.ndarray, filtered: np.ndarray | None = None
) -> np.ndarray:
    """Filters each of the images `(C, H, W)`, into the array `filtered` if given."""
    if filtered is None:
        filtered = np.empty_like(images)
    for image, target in zip(images, filtered):
        cv2.sepFilter2D(image, cv2.CV_32F, along_x, along_y, dst=target, borderType=cv2.BORDER_REPLICATE)
    return filtered


def _features(image: np.ndarray) -> np.ndarray:
    """Grey level and its derivatives along x and y: `(H, W)` → `(3, H, W)`."""
    images = image[None]
    along_x, along_y = _filter(images, _DERIVATIVE, _IDENTITY), _filter(images, _IDENTITY, _DERIVATIVE)
    return np.concatenate([images, along_x, along_y])
