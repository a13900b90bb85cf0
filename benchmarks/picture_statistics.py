"""Statistics of pictures that do not depend on what they show: how rendered rooms are compared with filmed ones.

Colour pictures are (H, W, 3) uint8 RGB, depth pictures (H, W) uint8 with 0 for no reading; masks are (H, W) bool.
"""

from __future__ import annotations

import cv2
import numpy as np

STRONG_EDGE = 12.0  # grey levels a pixel
DEPTH_EDGE = 6.0  # levels between neighbours; 14 cm where white is six metres


def luminance(picture: np.ndarray) -> np.ndarray:
    """(H, W) float64 grey levels, 0 … 255 (ITU-R BT.601)."""
    return picture.astype(float) @ np.array([0.299, 0.587, 0.114])


def gradient(grey: np.ndarray) -> np.ndarray:
    """(H, W) magnitude of central differences, grey levels a pixel."""
    down, right = np.gradient(grey.astype(float))
    return np.hypot(down, right)


def colour_statistics(picture: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float]:
    """Statistics of a colour picture, or of the pixels of a mask.

    Returns:
        `brightness`: mean luminance, 0 … 1.
        `rms contrast`: standard deviation of luminance, 0 … 1 (Peli 1990).
        `gradient`: mean magnitude of the gradient, grey levels a pixel.
        `strong edges`: share of pixels whose gradient exceeds `STRONG_EDGE`.
        `colourfulness`: the measure M3 of Hasler and Süsstrunk (2003).
    """
    mask = np.ones(picture.shape[:2], bool) if mask is None else mask
    grey = luminance(picture)
    slope = gradient(grey)[mask]
    red, green, blue = picture[mask].astype(float).T
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    return {
        "brightness": float(grey[mask].mean() / 255),
        "rms contrast": float(grey[mask].std() / 255),
        "gradient": float(slope.mean()),
        "strong edges": float((slope > STRONG_EDGE).mean()),
        "colourfulness": float(spread + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())),
    }


def spectral_slope(picture: np.ndarray) -> float:
    """Exponent α of the power spectrum, power ∝ frequency^-α, of a square colour picture.

    Fitted by least squares to the logarithms of the power averaged over directions, from two periods a side to a third
    of the sampling frequency, under a Hann window.
    """
    grey = luminance(picture)
    side = len(grey)
    window = np.hanning(side + 2)[1:-1]
    taper = np.outer(window, window)
    grey = (grey - (grey * taper).sum() / taper.sum()) * taper
    power = np.abs(np.fft.fft2(grey)) ** 2
    frequency = np.fft.fftfreq(side) * side
    ring = np.rint(np.hypot(frequency[:, None], frequency)).astype(int)
    total, count = np.bincount(ring.ravel(), power.ravel()), np.bincount(ring.ravel())
    used = np.arange(2, side // 3)
    return float(-np.polyfit(np.log(used), np.log(total[used] / count[used] + 1e-9), 1)[0])


def depth_statistics(picture: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float]:
    """Statistics of a depth picture, or of the pixels of a mask.

    Returns:
        `missing`: share of pixels without a reading.
        `depth edges`: share of pixels that differ from their right or lower neighbour by more than `DEPTH_EDGE` levels,
            where both are read.
        `gradient`: mean difference to those neighbours where it is no edge, levels.
        `levels`: effective number of levels, two to the power of the entropy of their distribution in bits.
        `level spread`: standard deviation of the readings, levels.
    """
    mask = np.ones(picture.shape, bool) if mask is None else mask
    read = (picture > 0) & mask
    values = picture.astype(float)
    differences = []
    for first, second in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        both = read[first] & read[second]
        differences.append(np.abs(values[first] - values[second])[both])
    steps = np.concatenate(differences)
    levels = np.bincount(picture[read], minlength=256) / max(read.sum(), 1)
    levels = levels[levels > 0]
    smooth = steps[steps <= DEPTH_EDGE]
    return {
        "missing": float(1 - read.sum() / mask.sum()),
        "depth edges": float((steps > DEPTH_EDGE).mean()),
        "gradient": float(smooth.mean()),
        "levels": float(2 ** -(levels * np.log2(levels)).sum()),
        "level spread": float(values[read].std()),
    }


def raggedness(silhouette: np.ndarray) -> float:
    """How rough an outline is: pixels that a 3×3 majority changes, for each pixel along the outline."""
    shape = silhouette.astype(np.uint8)
    changed = cv2.medianBlur(shape, 3) != shape
    outline = shape - cv2.erode(shape, np.ones((3, 3), np.uint8))
    return float(changed.sum() / max(outline.sum(), 1))


def filled(silhouette: np.ndarray, largest: int = 60) -> np.ndarray:
    """The silhouette (H, W) bool with holes of up to `largest` pixels closed."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats((~silhouette).astype(np.uint8), connectivity=4)
    small = np.array([statistics[i, cv2.CC_STAT_AREA] <= largest for i in range(count)])
    small[0] = False
    return silhouette | small[labels]
