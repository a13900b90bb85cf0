"""Optical flow algorithms: accuracy on known motion, parameters, and the variational method's own parts."""

from __future__ import annotations

from dataclasses import asdict, fields

import cv2
import numpy as np
import pytest

from data_prep.flow.algorithms import (
    ALGORITHMS,
    compute_flow,
    flow_between,
    make_dis,
    make_farneback,
    make_tvl1_opencv,
)
from data_prep.flow.parameters import DISParameters, FarnebackParameters, OpenCVTVL1Parameters
from data_prep.flow.settings import preset_settings
from data_prep.synthetic.demo_skeletons import demo_clip_ids, demo_skeletons
from data_prep.synthetic.rendering.clip import render, stage, true_flow

EVERY_PRESET = [(name, preset) for name, algorithm in ALGORITHMS.items() for preset in algorithm.presets]
MARGIN = 20


def flow_algorithm(name, preset):
    return ALGORITHMS[name].make(preset_settings(name, preset).parameters)


def flow_by(name, preset, first, second):
    return flow_between(flow_algorithm(name, preset), first, second)


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
    for clip_id in demo_clip_ids(subjects=1)[::step]:
        skeletons = demo_skeletons(clip_id)
        frames = [cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY) for colour, _ in render(stage(skeletons, size, clip_id))]
        for i in (len(frames) // 4, 3 * len(frames) // 4):
            yield frames[i], frames[i + 1], true_flow(skeletons, i, size, clip_id)


def test_every_algorithm_has_the_presets_default_and_fast():
    assert {name: tuple(algorithm.presets)[2:] for name, algorithm in ALGORITHMS.items()} == {
        **dict.fromkeys(ALGORITHMS, ()),
        "tvl1": ("precise",),
    }
    assert all(tuple(algorithm.presets)[:2] == ("default", "fast") for algorithm in ALGORITHMS.values())


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize(("algorithm", "preset"), EVERY_PRESET)
def test_known_motion_is_found(algorithm, preset, motion):
    first, second, truth = moving_pair(MOTIONS[motion])
    flow = flow_by(algorithm, preset, first, second)
    assert (flow.shape, flow.dtype) == (truth.shape, np.float32)
    error = np.linalg.norm(flow - truth, axis=-1)[8:-8, 8:-8]
    assert np.median(error) < 0.1
    assert error.mean() < (0.08 if (algorithm, preset) == ("brox_liu", "default") else 0.15)  # pixels, of up to 2.8


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_tiny_and_still_frames(algorithm):
    image = texture(24)[:16, :17].copy()
    assert np.median(np.abs(flow_by(algorithm, "default", image, image))) < 0.02
    black, white = np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8)
    assert np.isfinite(flow_by(algorithm, "default", black, white)).all()


def test_accuracy_on_rendered_people():
    """Each algorithm against TV-L1 of OpenCV, whose error counts as 1: on bodies of known motion, and on all pixels."""
    body, frame = dict.fromkeys(EVERY_PRESET, 0.0), dict.fromkeys(EVERY_PRESET, 0.0)
    for first, second, truth in rendered_pairs(step=5):
        moving = np.any(truth != 0, axis=-1)
        for key in EVERY_PRESET:
            distance = np.linalg.norm(flow_by(*key, first, second) - truth, axis=-1)
            body[key] += float(distance[moving].mean())
            frame[key] += float(distance.mean())
    relative = {key: error / body["tvl1_opencv", "default"] for key, error in body.items()}
    assert min(body.values()) > 0
    for errors in (body, frame):
        assert errors["tvl1", "default"] < errors["tvl1_opencv", "default"]
        assert errors["tvl1", "precise"] < errors["tvl1_opencv", "default"]
        assert errors["tvl1", "fast"] < errors["tvl1_opencv", "fast"]
    assert relative["tvl1_opencv", "fast"] < 1.1
    assert relative["brox_liu", "default"] < 1.05
    assert relative["brox_liu", "fast"] < 1.05
    assert max(relative.values()) < 1.4


def test_opencvs_pyramid_recovers_from_a_small_frame():
    """OpenCV's object keeps the few levels that a small frame has room for; flow after it is as without it."""
    algorithm = flow_algorithm("tvl1_opencv", "fast")
    small, (first, second, _) = texture(20), moving_pair(lambda x, y: (7.5, 0), size=64)
    expected = flow_between(algorithm, first, second)
    flow_between(algorithm, small, small)
    np.testing.assert_array_equal(flow_between(algorithm, first, second), expected)


@pytest.mark.parametrize(
    ("make", "module", "create", "values", "setters"),
    [
        (
            make_tvl1_opencv,
            cv2.optflow,
            "DualTVL1OpticalFlow_create",
            OpenCVTVL1Parameters(0.2, 0.11, 0.33, 4, 3, 0.02, 12, 7, 0.6, 0.1, 3),
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
    make(asdict(values)).make()
    names = [field.name.rstrip("_") for field in fields(values)]
    getters = [setters.get(name, name.title().replace("_", "")) for name in names]
    assert [getattr(made[0], f"get{getter}")() for getter in getters] == list(asdict(values).values())
    if make is make_dis:  # whose finest scale is not OpenCV's
        return
    make(asdict(type(values)())).make()
    untouched = original()
    for getter in getters:  # our defaults are OpenCV's
        assert getattr(made[1], f"get{getter}")() == getattr(untouched, f"get{getter}")()


@pytest.mark.parametrize("name", ["dis", "tvl1"])
def test_there_is_as_much_flow_as_frames_and_the_last_is_repeated(name):
    first, second, _ = moving_pair(MOTIONS["translation"], size=32)
    algorithm = flow_algorithm(name, "default")
    flows = list(compute_flow(iter([first, second, first, second]), algorithm))
    assert len(flows) == 4
    np.testing.assert_array_equal(flows[0], flow_between(algorithm, first, second))
    np.testing.assert_array_equal(flows[1], flow_between(algorithm, second, first))
    np.testing.assert_array_equal(flows[3], flows[2])
    assert not np.array_equal(flows[2], flows[1])


def test_each_frame_is_prepared_once_and_taken_when_needed():
    taken, prepared = [], []

    class Recorder:
        def prepare(self, frame):
            prepared.append(int(frame[0, 0]))
            return frame

        def between(self, first, second):
            return np.full((2, 2, 2), second[0, 0] - first[0, 0], np.float32)

    def frames():
        for i in range(5):
            taken.append(i)
            yield np.full((2, 2), i * i, np.float32)

    flows = compute_flow(frames(), Recorder())
    assert next(flows)[0, 0, 0] == 1
    assert taken == [0, 1]
    assert [flow[0, 0, 0] for flow in flows] == [3, 5, 7, 7]
    assert prepared == [0, 1, 4, 9, 16]


def test_one_frame_does_not_move():
    (flow,) = compute_flow([texture(64)], flow_algorithm("tvl1", "fast"))
    assert flow.shape == (64, 64, 2)
    assert not flow.any()


def test_no_frames_have_no_flow():
    assert list(compute_flow([], flow_algorithm("dis", "fast"))) == []
