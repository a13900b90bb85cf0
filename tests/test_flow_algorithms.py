"""Optical flow algorithms: accuracy on known motion, parameters, and the variational method's own parts."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import cv2
import numpy as np
import pytest

from data_prep.flow import brox_liu
from data_prep.flow.algorithms import (
    ALGORITHMS,
    PRESETS,
    DISParameters,
    FarnebackParameters,
    TVL1Parameters,
    compute_flow,
    make_dis,
    make_farneback,
    make_tvl1,
)
from data_prep.flow.settings import preset_settings
from data_prep.synthetic.demo_skeletons import demo_clips
from data_prep.synthetic.rendering.clip import render, stage, true_flow

EVERY_PRESET = [(name, preset) for name, algorithm in ALGORITHMS.items() for preset in algorithm.presets]
MARGIN = 20


def flow_function(algorithm, preset):
    return ALGORITHMS[algorithm].make(preset_settings(algorithm, preset).parameters)


def texture(size):
    noise = np.random.RandomState(0).randint(0, 256, (size // 4, size // 4)).astype(np.uint8)
    return cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)


def moving_pair(motion, size=80):
    """Two frames and the true flow (size, size, 2) from the first to the second: `motion(x, y)` about the centre."""
    ground = texture(size + 2 * MARGIN)
    x, y = np.meshgrid(*2 * [np.arange(size, dtype=np.float32)])
    u, v = (np.broadcast_to(part, x.shape).astype(np.float32) for part in motion(x - size / 2, y - size / 2))
    second = cv2.remap(ground, x + MARGIN, y + MARGIN, cv2.INTER_CUBIC)
    first = cv2.remap(ground, x + u + MARGIN, y + v + MARGIN, cv2.INTER_CUBIC)
    return first, second, np.dstack([u, v])


MOTIONS = {
    "translation": lambda x, y: (2.5, -1.25),
    "rotation": lambda x, y: (-0.05 * y, 0.05 * x),
    "zoom": lambda x, y: (0.04 * x, 0.04 * y),
}


def rendered_pairs(step, size=80):
    for clip_id, skeletons in list(demo_clips(subjects=1))[::step]:
        frames = [cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY) for colour, _ in render(stage(skeletons, size, clip_id))]
        for i in (len(frames) // 4, 3 * len(frames) // 4):
            yield frames[i], frames[i + 1], true_flow(skeletons, i, size, clip_id)


def test_every_algorithm_has_the_same_presets():
    assert all(tuple(algorithm.presets) == PRESETS for algorithm in ALGORITHMS.values())


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize(("algorithm", "preset"), EVERY_PRESET)
def test_known_motion_is_found(algorithm, preset, motion):
    first, second, truth = moving_pair(MOTIONS[motion])
    flow = flow_function(algorithm, preset)(first, second)
    assert (flow.shape, flow.dtype) == (truth.shape, np.float32)
    error = np.linalg.norm(flow - truth, axis=-1)[8:-8, 8:-8]
    assert np.median(error) < 0.1
    assert error.mean() < (0.08 if (algorithm, preset) == ("brox_liu", "default") else 0.15)  # pixels, of up to 2.8


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tiny_and_still_frames(algorithm):
    flow = flow_function(algorithm, "default")
    image = texture(24)[:16, :17].copy()
    assert np.median(np.abs(flow(image, image))) < 0.02
    assert np.isfinite(flow(np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8))).all()


def test_accuracy_on_rendered_people():
    """Each algorithm against TV-L1 with OpenCV's parameters, whose error counts as 1: on bodies of known motion."""
    errors = dict.fromkeys(EVERY_PRESET, 0.0)
    for first, second, truth in rendered_pairs(step=5):
        body = np.any(truth != 0, axis=-1)
        for key in EVERY_PRESET:
            errors[key] += float(np.linalg.norm(flow_function(*key)(first, second) - truth, axis=-1)[body].mean())
    relative = {key: error / errors["tvl1", "default"] for key, error in errors.items()}
    assert min(errors.values()) > 0
    assert relative["tvl1", "fast"] < 1.1
    assert relative["brox_liu", "default"] < 1.05
    assert relative["brox_liu", "fast"] < 1.05
    assert max(relative.values()) < 1.4


def test_the_variational_method_agrees_with_tvl1_on_rendered_people():
    for first, second, _ in rendered_pairs(step=10):
        flows = [flow_function(name, "default")(first, second) for name in ("brox_liu", "tvl1")]
        assert np.linalg.norm(flows[0] - flows[1], axis=-1).mean() < 0.2
        moving = np.linalg.norm(flows[1], axis=-1) > 1
        assert moving.any()
        a, b = (flow[moving].ravel() for flow in flows)
        assert np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) > 0.8


def test_the_linear_system_is_solved():
    """Against NumPy's dense solver, on frames of even and odd sides."""
    random = np.random.RandomState(0)
    for height, width in ((6, 8), (5, 8), (6, 7), (5, 7)):
        a, c = 0.5 + random.rand(2, height, width).astype(np.float32)
        b = 0.5 * np.sqrt(a * c) * random.rand(height, width).astype(np.float32)
        right = random.rand(height, width, 2).astype(np.float32)
        to_right, to_below = brox_liu._couplings(random.rand(height, width, 2).astype(np.float32), 0.3)
        found = brox_liu._solve([a, b, c], right, to_right, to_below, 300)

        def apply(x, a=a, b=b, c=c, to_right=to_right, to_below=to_below):
            data = np.dstack([a * x[..., 0] + b * x[..., 1], b * x[..., 0] + c * x[..., 1]])
            return data - brox_liu._diffuse(x, to_right, to_below)

        unknowns = right.size
        basis = np.eye(unknowns, dtype=np.float32).reshape(unknowns, height, width, 2)
        dense = np.stack([apply(x).ravel() for x in basis], axis=1)
        np.testing.assert_allclose(dense, dense.T, atol=1e-6)
        np.testing.assert_allclose(found.ravel(), np.linalg.solve(dense, right.ravel()), atol=1e-4)


def test_smoothness_is_the_gradient_of_its_energy():
    """The diffusion of a flow is minus half the derivative of Σ couplings · differences², by finite differences."""
    random = np.random.RandomState(1)
    flow = random.rand(4, 5, 2).astype(np.float64)
    to_right, to_below = brox_liu._couplings(flow.astype(np.float32), 1.0)

    def energy(x):
        across, down = np.diff(x, axis=1) ** 2, np.diff(x, axis=0) ** 2
        return (to_right[:, :-1, None] * across).sum() + (to_below[:-1, :, None] * down).sum()

    numeric = np.zeros_like(flow)
    for index in np.ndindex(*flow.shape):
        step = np.zeros_like(flow)
        step[index] = 1e-4
        numeric[index] = (energy(flow + step) - energy(flow - step)) / 2e-4
    np.testing.assert_allclose(brox_liu._diffuse(flow, to_right, to_below), -numeric / 2, rtol=1e-5, atol=1e-5)


def test_the_variational_methods_parameters_matter():
    first, second, _ = moving_pair(MOTIONS["zoom"], size=40)
    default = brox_liu.BroxLiuParameters()
    assert list(asdict(default).values()) == [0.012, 0.75, 20, 7, 1, 30]  # of the published demo
    base = brox_liu.coarse_to_fine_flow(first, second, default)
    changes = {"alpha": 0.1, "ratio": 0.5, "minimum_width": 30, "outer_iterations": 1, "inner_iterations": 2}
    for name, value in {**changes, "sor_iterations": 3}.items():
        changed = brox_liu.coarse_to_fine_flow(first, second, replace(default, **{name: value}))
        assert not np.array_equal(changed, base), name


@pytest.mark.parametrize(
    ("make", "module", "create", "values", "setters"),
    [
        (
            make_tvl1,
            cv2.optflow,
            "DualTVL1OpticalFlow_create",
            TVL1Parameters(0.2, 0.11, 0.33, 4, 3, 0.02, 12, 7, 0.6, 0.1, 3),
            {"nscales": "ScalesNumber", "warps": "WarpingsNumber"},
        ),
        (make_dis, cv2, "DISOpticalFlow_create", DISParameters(2, 12, 5, 7, 3), {}),
        (make_farneback, cv2, "FarnebackOpticalFlow_create", FarnebackParameters(3, 0.6, 11, 4, 7, 1.3), {}),
    ],
)
def test_every_parameter_reaches_opencv(monkeypatch, make, module, create, values, setters):
    made = []
    original = getattr(module, create)
    monkeypatch.setattr(module, create, lambda *args, **kwargs: made.append(original(*args, **kwargs)) or made[-1])
    assert all(getattr(values, field.name) != field.default for field in fields(values))
    make(asdict(values))
    names = [field.name.rstrip("_") for field in fields(values)]
    getters = [setters.get(name, name.title().replace("_", "")) for name in names]
    assert [getattr(made[0], f"get{getter}")() for getter in getters] == list(asdict(values).values())
    if make is make_dis:  # whose finest scale is not OpenCV's
        return
    make(asdict(type(values)()))
    untouched = original()
    for getter in getters:  # our defaults are OpenCV's
        assert getattr(made[1], f"get{getter}")() == getattr(untouched, f"get{getter}")()


def test_there_is_as_much_flow_as_frames_and_the_last_is_repeated():
    first, second, _ = moving_pair(MOTIONS["translation"], size=32)
    flows = list(compute_flow([first, second, first, second], flow_function("dis", "default")))
    assert len(flows) == 4
    np.testing.assert_array_equal(flows[3], flows[2])
    assert not np.array_equal(flows[2], flows[1])


def test_one_frame_does_not_move():
    (flow,) = compute_flow([texture(64)], flow_function("tvl1", "fast"))
    assert flow.shape == (64, 64, 2)
    assert not flow.any()
