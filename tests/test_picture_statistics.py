"""Statistics of pictures, on pictures whose statistics are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.picture_statistics import (
    colour_statistics,
    depth_statistics,
    filled,
    raggedness,
    spectral_slope,
)


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(values).astype(np.uint8)[..., None], 3, axis=2)


def test_of_a_ramp():
    found = colour_statistics(_grey(np.tile(np.arange(64.0) * 2, (64, 1))))
    assert found["gradient"] == pytest.approx(2)
    assert found["strong edges"] == 0
    assert found["colourfulness"] == pytest.approx(0, abs=1e-9)
    assert found["brightness"] == pytest.approx(63 / 255)
    assert found["rms contrast"] == pytest.approx(128 / np.sqrt(12) / 255, rel=1e-3)


def test_of_an_edge():
    picture = _grey(np.where(np.arange(50) < 25, 20, 220) * np.ones((50, 1)))
    found = colour_statistics(picture)
    assert found["strong edges"] == pytest.approx(2 / 50)
    assert found["gradient"] == pytest.approx(2 / 50 * 100)
    mask = np.zeros((50, 50), bool)
    mask[:, :20] = True
    assert colour_statistics(picture, mask)["strong edges"] == 0


def test_colourfulness_of_two_colours():
    picture = np.zeros((10, 10, 3), np.uint8)
    picture[:5, :, 0] = picture[5:, :, 1] = 100  # red and green: their differences are 100 and -100, and 50 to blue
    assert colour_statistics(picture)["colourfulness"] == pytest.approx(100 + 0.3 * 50)


@pytest.mark.parametrize("slope", [1.0, 2.0, 3.0])
def test_slope_of_noise(slope):
    random = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    frequency[0, 0] = 1
    noise = np.fft.ifft2(np.fft.fft2(random.standard_normal((128, 128))) / frequency ** (slope / 2)).real
    assert spectral_slope(_grey((128 + 40 * noise / noise.std()).clip(0, 255))) == pytest.approx(slope, abs=0.3)


def test_of_depth():
    picture = np.full((20, 20), 100, np.uint8)
    picture[:, 10:] = 150
    picture[:4] = 0
    found = depth_statistics(picture)
    assert found["missing"] == pytest.approx(0.2)
    assert found["levels"] == pytest.approx(2)
    assert found["level spread"] == pytest.approx(25)
    assert found["gradient"] == 0
    assert found["depth edges"] == pytest.approx(16 / (16 * 19 + 15 * 20))


def test_of_silhouettes():
    square = np.zeros((40, 40), bool)
    square[10:30, 10:30] = True
    assert raggedness(square) < 0.1
    rough = square.copy()
    rough[9, 10:30:2] = True
    assert raggedness(rough) > raggedness(square) + 0.05
    rough = square.copy()
    rough[15:18, 15:18] = False
    np.testing.assert_array_equal(filled(rough), square)
    rough[12:28, 12:28] = False
    np.testing.assert_array_equal(filled(rough), rough)
