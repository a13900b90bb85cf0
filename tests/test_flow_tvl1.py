"""TV-L1: accuracy against OpenCV's, any frames, the same bits everywhere, compiled code."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numba.core.caching import CacheImpl

from data_prep.flow.algorithms import ALGORITHMS, flow_between
from data_prep.flow.compiled import compiled
from data_prep.flow.parameters import TVL1Parameters
from data_prep.flow.settings import preset_settings
from data_prep.flow.tvl1 import TVL1
from dmcl_tf.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(__file__).parent / "golden" / "flow.npz"
PRESETS = tuple(ALGORITHMS["tvl1"].presets)


def tvl1(preset="default"):
    return ALGORITHMS["tvl1"].make(preset_settings("tvl1", preset).parameters)


def texture(height, width, seed=0):
    noise = np.random.RandomState(seed).randint(0, 256, (height // 4 + 2, width // 4 + 2)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def fast_disc(size, u, v):
    """A textured disc that moves fast before a textured, slowly moving ground, and the true flow."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    ground, disc = texture(2 * size, 2 * size), texture(2 * size, 2 * size, seed=1)
    centre, radius, offset = size / 2 - 0.5 * np.float32([u, v]), size / 5, size / 2

    def picture(time):
        shift = time * np.float32([u, v])
        behind = cv2.remap(ground, x + offset - time, y + offset, cv2.INTER_CUBIC)
        before = cv2.remap(disc, x + offset - shift[0], y + offset - shift[1], cv2.INTER_CUBIC)
        inside = np.hypot(x - centre[0] - shift[0], y - centre[1] - shift[1]) < radius
        return np.where(inside, before, behind), inside

    first, inside = picture(0)
    return first, picture(1)[0], np.where(inside[..., None], np.float32([u, v]), np.float32([1, 0]))


@pytest.mark.parametrize(("size", "u", "v"), [(64, 6, 2), (80, -5, 5), (100, 8, 0)])
def test_fast_motion_on_small_frames_is_found_as_well_as_by_opencv(size, u, v):
    first, second, truth = fast_disc(size, u, v)
    errors = {
        name: np.linalg.norm(
            flow_between(ALGORITHMS[name].make(preset_settings(name, "default").parameters), first, second) - truth,
            axis=-1,
        ).mean()
        for name in ("tvl1", "tvl1_opencv")
    }
    assert errors["tvl1"] < errors["tvl1_opencv"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 131), (203, 17), (75, 64), (33, 2101)])
def test_frames_of_any_size(height, width, preset):
    ground = texture(height, width + 1)
    flow = flow_between(tvl1(preset), ground[:, 1:].copy(), ground[:, :-1].copy())
    assert (flow.shape, flow.dtype) == ((height, width, 2), np.float32)
    assert np.isfinite(flow).all()
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [1, 0], atol=0.15)


@pytest.mark.parametrize("grey", [(0, 0), (255, 255), (77, 77), (0, 255), (133, 12)])
def test_constant_frames_do_not_move(grey):
    first, second = (np.full((45, 70), value, np.uint8) for value in grey)
    for algorithm in (tvl1(), tvl1("fast")):
        np.testing.assert_array_equal(flow_between(algorithm, first, second), 0)


def test_a_frame_does_not_move_against_itself():
    image = texture(50, 61)
    assert np.abs(flow_between(tvl1(), image, image)).max() == 0


def test_grey_levels_may_be_floats():
    first, second = texture(40, 50), texture(40, 50, seed=1)
    expected = flow_between(tvl1(), first, second)
    for kind in (np.float32, np.float64):
        np.testing.assert_array_equal(flow_between(tvl1(), first.astype(kind), second.astype(kind)), expected)


def test_one_object_serves_frames_of_several_sizes():
    algorithm = tvl1()
    for height, width in ((64, 80), (20, 30), (90, 40), (64, 80)):
        pair = texture(height, width), texture(height, width, seed=1)
        np.testing.assert_array_equal(flow_between(algorithm, *pair), flow_between(tvl1(), *pair))


@pytest.mark.parametrize("change", [{"scale_step": 1.0}, {"scale_step": 0.0}, {"minimum_side": 1}])
def test_parameters_without_an_end_to_the_pyramid_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        TVL1(TVL1Parameters(**change))


def test_the_flow_is_that_of_other_machines():
    """Golden flows, to a tolerance for the filters of other builds of OpenCV."""
    with np.load(GOLDEN) as golden:
        for preset in PRESETS:
            flow = flow_between(tvl1(preset), golden["first"], golden["second"])
            np.testing.assert_allclose(flow, golden[f"tvl1 {preset}"], atol=0.01)


def hash_of_a_flow():
    random = np.random.RandomState(0)
    first, second = (cv2.GaussianBlur(random.randint(0, 256, (61, 83)).astype(np.uint8), (0, 0), 2) for _ in range(2))
    flow = flow_between(tvl1("fast"), first, second)
    assert flow.any()
    return hashlib.sha256(flow.tobytes()).hexdigest()


def bits(cache, *, threads=1, **environment):
    """The same in a process of its own; returns what it prints on stdout and stderr."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests", "NUMBA_CACHE_DIR": str(cache), **environment}
    code = f"import cv2, test_flow_tvl1; cv2.setNumThreads({threads}); print(test_flow_tvl1.hash_of_a_flow(), end='')"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


def processor_flags():
    if not Path("/proc/cpuinfo").exists():
        return set()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((set(line.split()) for line in file if line.startswith("flags")), set())


def test_compiled_code_is_kept_and_gives_the_same_bits_whatever_the_vectors_and_threads(tmp_path):
    """With vectors of 16 bytes, of this processor's own size and, where it has them, of 64 bytes."""
    expected, narrow = hash_of_a_flow(), {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"}
    found, said = bits(tmp_path / "narrow", threads=2, **narrow)
    assert found == expected
    assert said.count("compiling optical flow") == 1
    assert any((tmp_path / "narrow").rglob("*.nbc"))
    assert bits(tmp_path / "narrow", **narrow) == (expected, "")
    if "avx512vl" in processor_flags():
        wide = {"NUMBA_CPU_NAME": "skylake", "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx512f,+avx512vl,+avx512dq,+avx512bw"}
        assert bits(tmp_path / "wide", **wide)[0] == expected


def test_without_a_folder_for_compiled_code_it_is_compiled_all_the_same(monkeypatch):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert compiled(lambda x: x + 1)(1) == 2


def test_settings_do_not_load_the_compiler():
    code = "import sys, data_prep.flow.settings; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
