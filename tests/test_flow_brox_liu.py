"""The variational method: its linear system, its smoothness, its parameters, and what it computed before."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.flow import brox_liu_kernels as kernels
from data_prep.flow.algorithms import ALGORITHMS, flow_between
from data_prep.flow.brox_liu import BroxLiu
from data_prep.flow.parameters import BroxLiuParameters
from data_prep.flow.settings import preset_settings

GOLDEN = Path(__file__).parent / "golden" / "flow.npz"


def couplings(flow, alpha):
    to_right, to_below = np.zeros((2, *flow.shape[1:]), np.float32)
    kernels.couplings(flow, np.float32(alpha), np.float32(1e-6), to_right, to_below)
    return to_right, to_below


def diffuse(flow, to_right, to_below):
    """What smoothness asks of each pixel of a flow `(2, H, W)`: the weighted differences to its four neighbours."""
    result = np.zeros_like(flow)
    across, down = to_right[:, :-1] * np.diff(flow, axis=2), to_below[:-1] * np.diff(flow, axis=1)
    result[:, :, :-1] += across
    result[:, :, 1:] -= across
    result[:, :-1] += down
    result[:, 1:] -= down
    return result


@pytest.mark.parametrize(("height", "width"), [(6, 8), (5, 8), (6, 7), (5, 7)])
def test_the_linear_system_is_solved(height, width):
    """Against NumPy's dense solver, on frames of even and odd sides."""
    random = np.random.RandomState(0)
    a, c = 0.5 + random.rand(2, height, width).astype(np.float32)
    b = 0.5 * np.sqrt(a * c) * random.rand(height, width).astype(np.float32)
    side, flow = random.rand(2, 2, height, width).astype(np.float32)
    to_right, to_below = couplings(random.rand(2, height, width).astype(np.float32), 0.3)
    board, found = kernels.new_board(height, width), np.empty_like(flow)
    kernels.assemble(np.stack([a, b, c, *side]), flow, to_right, to_below, board)
    kernels.solve(board, height, width, 300, found)

    def apply(x):
        return np.stack([a * x[0] + b * x[1], b * x[0] + c * x[1]]) - diffuse(x, to_right, to_below)

    basis = np.eye(flow.size, dtype=np.float32).reshape(flow.size, *flow.shape)
    dense = np.stack([apply(x).ravel() for x in basis], axis=1)
    np.testing.assert_allclose(dense, dense.T, atol=1e-6)
    right = side + diffuse(flow, to_right, to_below)
    np.testing.assert_allclose(found.ravel(), np.linalg.solve(dense, right.ravel()), atol=1e-4)


def test_smoothness_weighs_the_lengths_of_gradients():
    random = np.random.RandomState(1)
    flow = random.rand(2, 4, 5).astype(np.float32)
    to_right, to_below = couplings(flow, 1.0)
    squares = np.zeros((4, 5))
    squares[:, :-1] += (np.diff(flow, axis=2) ** 2).sum(axis=0)
    squares[:-1] += (np.diff(flow, axis=1) ** 2).sum(axis=0)
    expected = 0.5 / np.sqrt(squares + 1e-6)
    np.testing.assert_allclose(to_right[:, :-1], expected[:, :-1], rtol=1e-5)
    np.testing.assert_allclose(to_below[:-1], expected[:-1], rtol=1e-5)
    assert not to_right[:, -1].any()
    assert not to_below[-1].any()


@pytest.mark.parametrize("parameters", [{"ratio": 0.98}, {"minimum_width": 1}])
def test_the_pyramid_ends_where_rounding_keeps_its_size(parameters):
    pyramid = BroxLiu(BroxLiuParameters(**parameters)).prepare(np.zeros((32, 32), np.uint8))
    assert 2 <= len(pyramid) < 40


def test_the_parameters_matter():
    random = np.random.RandomState(0)
    first, second = (cv2.GaussianBlur(random.randint(0, 256, (40, 40)).astype(np.uint8), (0, 0), 3) for _ in range(2))
    default = BroxLiuParameters()
    assert list(asdict(default).values()) == [0.012, 0.75, 20, 7, 1, 30]  # of the published demo
    base = flow_between(BroxLiu(default), first, second)
    changes = {"alpha": 0.1, "ratio": 0.5, "minimum_width": 30, "outer_iterations": 1, "inner_iterations": 2}
    for name, value in {**changes, "sor_iterations": 3}.items():
        changed = flow_between(BroxLiu(replace(default, **{name: value})), first, second)
        assert not np.array_equal(changed, base), name


@pytest.mark.parametrize("preset", ["default", "fast"])
def test_the_flow_is_that_of_the_implementation_on_whole_arrays(preset):
    """Golden flows of the version in NumPy, which warped to the nearest 1/32 of a pixel."""
    with np.load(GOLDEN) as golden:
        algorithm = ALGORITHMS["brox_liu"].make(preset_settings("brox_liu", preset).parameters)
        flow = flow_between(algorithm, golden["first"], golden["second"])
        distance = np.linalg.norm(flow - golden[f"brox_liu {preset}"], axis=-1)
    assert distance.mean() < 0.01
    assert distance.max() < 0.2
