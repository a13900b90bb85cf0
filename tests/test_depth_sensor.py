"""The depth sensor's model: steps, noise, shadows of the projector, surfaces that send nothing back."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.synthetic.rendering.sensor import DEPTH_RANGE, colour_picture, depth_picture, reflected

FOCAL = 145.0  # pixels
SIZE = 64


def _picture(depth: np.ndarray, echo: np.ndarray | float = 1.0, seed: int = 0) -> np.ndarray:
    depth = np.asarray(depth, np.float32)
    return depth_picture(depth, np.broadcast_to(np.float32(echo), depth.shape), FOCAL, np.random.default_rng(seed))


def _flat(metres: float) -> np.ndarray:
    return np.full((SIZE, SIZE), metres)


@pytest.mark.parametrize("metres", [1.0, 2.5, 4.0, 5.5])
def test_readings_are_whole_eighths_of_a_pixel_of_disparity(metres):
    possible = {round(348 / n * 255 / DEPTH_RANGE) for n in range(50, 500)}
    picture = _picture(_flat(metres))
    assert set(np.unique(picture)) <= possible
    assert picture.mean() == pytest.approx(metres * 255 / DEPTH_RANGE, abs=0.6 + metres**2 * 0.003 * 42)


def test_steps_grow_with_the_square_of_the_distance():
    ramp = np.linspace(1.0, 5.8, 4000)
    gaps = {}
    for low, high in ((2.5, 3.5), (4.8, 5.8)):
        depth = np.broadcast_to(ramp[(ramp > low) & (ramp < high)], (8, ((ramp > low) & (ramp < high)).sum()))
        levels = np.unique(_picture(depth)).astype(float)
        gaps[low] = np.diff(levels[levels > 0]).mean() / 255 * DEPTH_RANGE
    assert gaps[2.5] == pytest.approx(3.0**2 / 348, rel=0.3)
    assert gaps[4.8] == pytest.approx(5.3**2 / 348, rel=0.3)


def test_the_projector_does_not_light_a_strip_beside_a_near_thing():
    depth = _flat(4.0)
    depth[16:48, 20:40] = 1.0
    missing = np.mean([_picture(depth, seed=seed) == 0 for seed in range(8)], axis=0)
    width = FOCAL * 0.075 * (1 / 1.0 - 1 / 4.0)
    strip = missing[20:44]
    assert (strip[:, 40 : 39 + int(width)] == 1).all()
    assert strip[:, 42 + int(width) :].max() < 0.3
    assert strip[:, :18].max() < 0.3, "on the other side there is none"
    assert strip[:, 24:36].max() < 0.3


def test_edges_are_ragged_and_surfaces_even():
    depth = _flat(4.0)
    depth[:, 32:] = 2.5
    pictures = np.stack([_picture(depth, seed=seed) for seed in range(20)])
    holes = (pictures == 0).mean(0)
    assert holes[:, 30:32].mean() > 0.05
    assert holes[:, :28].mean() < 0.02
    assert holes[:, 36:].mean() < 0.02
    assert pictures[:, :, 40:].std() < 1


def test_little_light_comes_back_from_dark_grazing_and_distant_surfaces():
    def echo(grey=200.0, degrees=0.0, metres=2.0, gain=1.0):
        angle = np.radians(degrees)
        normal = np.array([[np.sin(angle), 0, -np.cos(angle)]])
        return reflected(np.full((1, 3), grey), np.array([[0, 0, metres]]), normal, np.array([gain]))[0]

    assert echo(255) == pytest.approx(1)
    assert echo(255, metres=4.0) == pytest.approx(0.25)
    assert echo(255, degrees=60) == pytest.approx(0.5)
    assert echo(20) < echo(120) < echo(200)
    assert echo(gain=0) == 0
    missing = [(_picture(_flat(3.0), strength) == 0).mean() for strength in (0.5, 0.05, 0.022, 0.01, 0)]
    assert missing[0] < 0.01
    assert missing[1] < 0.01
    assert 0.2 < missing[2] < 0.8
    assert min(missing[3:]) > 0.98


def test_what_is_missing_flickers_little():
    random = np.random.default_rng(0)
    echo = np.exp(random.normal(np.log(0.022), 0.5, (SIZE, SIZE))).astype(np.float32)
    first, second = (_picture(_flat(3.0), echo, seed) == 0 for seed in (1, 2))
    assert (first == second).mean() > 0.8
    assert (first != second).any()


def test_colour_is_softened_and_noisy():
    ideal = np.zeros((SIZE, SIZE, 3), np.float32)
    ideal[:, 32:] = 200
    picture = colour_picture(ideal, np.random.default_rng(0)).astype(float)
    assert 0.5 < picture[:, 40:].std() < 1.5
    edge = picture[:, 28:36].mean((0, 2))
    assert 2 < edge[3] < 40
    assert 160 < edge[4] < 198
    assert edge[0] < 2
    assert picture[:, 36:].mean() == pytest.approx(200, abs=0.5)
