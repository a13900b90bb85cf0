"""Optical flow: its accuracy, its encoding, and the folders it is computed for."""

import json
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from data_prep import extract_flow as script
from data_prep.datasets.base import Skipped, Video
from data_prep.demo_skeletons import demo_clips
from data_prep.extract_video import FrameSettings, extract_video
from data_prep.frames import encode_jpeg, read_image
from data_prep.optical_flow import (
    ALGORITHMS,
    PRESETS,
    FlowSettings,
    TVL1Parameters,
    bound_in_pixels,
    compute_flow,
    decode_flow,
    encode_flow,
    make_tvl1,
)
from data_prep.rendering.clip import render, stage, true_flow
from data_prep.sources import ImageSequence
from dmcl_tf.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
FAST = FlowSettings(preset="fast", parameters=asdict(PRESETS["fast"]))


def ground(size=64, seed=0):
    noise = np.random.RandomState(seed).randint(0, 256, (size // 4, size // 4)).astype(np.uint8)
    return cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)


def sliding(frames, step=2, size=64):
    """Grey frames of a pattern that moves `step` pixels to the right at each."""
    wide = ground(size + step * frames)
    return [wide[:size, step * (frames - i) : step * (frames - i) + size] for i in range(frames)]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_known_translation_is_found(preset):
    flow = make_tvl1(asdict(PRESETS[preset]))(*sliding(2))
    inside = flow[8:-8, 8:-8]
    np.testing.assert_allclose(np.median(inside, axis=(0, 1)), [2, 0], atol=0.1)


def test_the_fast_preset_is_nearly_as_accurate_on_rendered_people():
    errors = dict.fromkeys(PRESETS, 0.0)
    for clip_id, skeletons in list(demo_clips(subjects=1))[::5]:
        clip = stage(skeletons, 80, clip_id)
        frames = [cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY) for colour, _ in render(clip)]
        for i in (len(frames) // 4, 3 * len(frames) // 4):
            truth = true_flow(skeletons, i, 80, clip_id)
            body = np.any(truth != 0, axis=-1)
            for preset, parameters in PRESETS.items():
                flow = make_tvl1(asdict(parameters))(frames[i], frames[i + 1])
                errors[preset] += float(np.linalg.norm(flow - truth, axis=-1)[body].mean())
    assert 0 < errors["fast"] < 1.1 * errors["default"]


def test_every_parameter_reaches_opencv(monkeypatch):
    made = []
    create = cv2.optflow.DualTVL1OpticalFlow_create
    monkeypatch.setattr(cv2.optflow, "DualTVL1OpticalFlow_create", lambda: made.append(create()) or made[-1])
    values = TVL1Parameters(0.2, 0.11, 0.33, 4, 3, 0.02, 12, 7, 0.6, 0.1, 3)
    assert all(getattr(values, field.name) != field.default for field in fields(values))
    make_tvl1(asdict(values))
    make_tvl1(asdict(TVL1Parameters()))
    names = [field.name.rstrip("_").title().replace("_", "") for field in fields(values)]
    getters = [{"Nscales": "ScalesNumber", "Warps": "WarpingsNumber"}.get(name, name) for name in names]
    assert [getattr(made[0], f"get{getter}")() for getter in getters] == list(asdict(values).values())
    untouched = create()
    for getter in getters:  # our defaults are OpenCV's
        assert getattr(made[1], f"get{getter}")() == getattr(untouched, f"get{getter}")()


def test_encoding_maps_rest_to_128_and_bounds_inside_the_range():
    flow = np.array([[[0, 0], [20, -20], [-20, 20], [50, 0], [0, -50]]], np.float32)
    image = encode_flow(flow, 20)
    assert image.dtype == np.uint8
    assert image[0].tolist() == [[128, 128, 0], [255, 1, 255], [1, 255, 255], [255, 128, 180], [128, 1, 180]]


def test_decoding_is_exact_to_half_a_step():
    flow = np.random.RandomState(0).uniform(-6.25, 6.25, (32, 32, 2)).astype(np.float32)
    error = np.abs(decode_flow(encode_flow(flow, 6.25), 6.25) - flow)
    assert error.max() <= 6.25 / 254 + 1e-5


def test_the_bound_scales_with_the_frame():
    assert bound_in_pixels(20, 256, 256) == 20
    assert bound_in_pixels(20, 80, 80) == 6.25
    assert bound_in_pixels(20, 480, 640) == 50


def test_there_is_as_much_flow_as_frames_and_the_last_is_repeated():
    flows = list(compute_flow(sliding(4), ALGORITHMS["tvl1"](FAST.parameters)))
    assert len(flows) == 4
    np.testing.assert_array_equal(flows[3], flows[2])
    assert not np.array_equal(flows[2], flows[1])


def test_one_frame_does_not_move():
    (flow,) = compute_flow([ground()], ALGORITHMS["tvl1"](FAST.parameters))
    assert flow.shape == (64, 64, 2)
    assert not flow.any()


def write_frames(folder, frames):
    (folder / "rgb").mkdir(parents=True)
    for i, frame in enumerate(frames):
        (folder / "rgb" / f"{i:06d}.jpg").write_bytes(encode_jpeg(frame, 95))
    return folder


def test_stored_channels_are_u_v_magnitude_for_a_red_green_blue_decoder(tmp_path):
    folder = write_frames(tmp_path / "clip", sliding(3))
    assert script.extract_video_flow(folder, settings=FAST) == script.ExtractedFlow("clip", 2)
    files = sorted((folder / "flow").iterdir())
    assert [path.name for path in files] == ["000000.jpg", "000001.jpg", "000002.jpg"]
    assert files[1].read_bytes() == files[2].read_bytes()
    image = tf.io.decode_jpeg(files[0].read_bytes(), channels=3, dct_method="INTEGER_ACCURATE").numpy()
    bound = bound_in_pixels(20, 64, 64)
    u, v = np.median(decode_flow(image, bound)[8:-8, 8:-8], axis=(0, 1))
    assert abs(u - 2) < 0.15
    assert abs(v) < 0.05
    assert abs(np.median(image[8:-8, 8:-8, 2]) - 2 * 255 / (np.sqrt(2) * bound)) < 5
    np.testing.assert_allclose(read_image(files[0])[..., ::-1].astype(int), image, atol=1)


def test_full_chroma_keeps_the_flow_sharper():
    flow = np.zeros((64, 64, 2), np.float32)
    flow[20:40, 24:30] = (3, -2)
    errors = []
    for full_chroma in (True, False):
        content = encode_jpeg(encode_flow(flow, 5)[..., ::-1].copy(), 95, full_chroma=full_chroma)
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        errors.append(np.abs(decode_flow(image, 5) - flow).mean())
    assert errors[0] < 0.8 * errors[1]


def test_padding_repeats_the_last_real_flow(tmp_path):
    paths = []
    for i, frame in enumerate(sliding(4)):
        paths.append(tmp_path / f"{i}.jpg")
        paths[-1].write_bytes(encode_jpeg(frame, 95))
    video = Video("short", 0, {"rgb": ImageSequence(tuple(paths))})
    extract_video(video, frames_dir=tmp_path, settings=FrameSettings("nwucla", 64))
    assert script.extract_video_flow(tmp_path / "short", settings=FAST).computed == 3
    files = [path.read_bytes() for path in sorted((tmp_path / "short" / "flow").iterdir())]
    assert len(files) == 9
    assert len(set(files[:3])) == 3
    assert set(files[2:]) == {files[2]}


def test_complete_flow_is_kept_and_incomplete_flow_replaced(tmp_path):
    folder = write_frames(tmp_path / "clip", sliding(3))
    (folder / "flow.partial").mkdir()
    (folder / "flow.partial" / "000007.jpg").write_bytes(b"half")
    script.extract_video_flow(folder, settings=FAST)
    first = {path.name: path.read_bytes() for path in (folder / "flow").iterdir()}
    assert script.extract_video_flow(folder, settings=FAST).computed == 0
    (folder / "flow" / "000001.jpg").unlink()
    assert script.extract_video_flow(folder, settings=FAST).computed == 2
    assert {path.name: path.read_bytes() for path in (folder / "flow").iterdir()} == first
    assert sorted(path.name for path in folder.iterdir()) == ["flow", "rgb"]


def test_unusable_folders_are_named(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    cut = write_frames(tmp_path / "cut", sliding(3))
    image = cut / "rgb" / "000001.jpg"
    image.write_bytes(image.read_bytes()[:-50])
    mixed = write_frames(tmp_path / "mixed", [ground(64), ground(32)])
    for folder, reason in ((empty, "no .jpg frames"), (cut, "000001.jpg: the JPEG is cut off"), (mixed, "in size")):
        result = script.extract_video_flow(folder, settings=FAST)
        assert isinstance(result, Skipped)
        assert reason in result.reason
        assert folder.name in result.reason
        assert not (folder / "flow").exists()


def test_flow_of_other_settings_is_refused(tmp_path):
    write_frames(tmp_path / "clip", sliding(2))
    script.extract_flow(tmp_path, ["clip"], FAST, workers=1)
    assert json.loads((tmp_path / "flow.json").read_text()) == asdict(FAST)
    with pytest.raises(InputError, match=r"was made with bound=20.0, but bound=10.0 is asked for.*flow\.json"):
        script.extract_flow(tmp_path, ["clip"], replace(FAST, bound=10.0), workers=1)


def test_flags_override_the_preset():
    values = flags.FlagValues()
    script.define_flags(values)
    values(["x", "--flow_preset=fast", "--tvl1_lambda=0.1", "--tvl1_median_filtering=3", "--flow_bound=8"])
    settings = script.flow_settings_from_flags(values, default_preset="default")
    expected = replace(PRESETS["fast"], lambda_=0.1, median_filtering=3)
    assert settings.parameters == asdict(expected)
    assert (settings.preset, settings.bound) == ("fast", 8)
    values = flags.FlagValues()
    script.define_flags(values)
    values(["x"])
    assert script.flow_settings_from_flags(values, default_preset="default") == FlowSettings()


def run(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_script_works_alone_on_any_folder_of_frames(tmp_path):
    for name in ("first", "zweite Aufnahme ü"):
        write_frames(tmp_path / name, sliding(3, size=32))
    write_frames(tmp_path / "broken", [])
    result = run("data_prep/extract_flow.py", f"--frames_dir={tmp_path}", "--flow_preset=fast", "--workers=2")
    assert result.returncode == 0, result.stderr
    assert "4 frame pairs in" in result.stdout
    assert "2 videos with flow" in result.stdout
    assert "broken" in result.stderr
    throughput = json.loads((tmp_path / "flow_throughput.json").read_text())
    assert throughput["flow_fields"] == 4
    assert throughput["flow_fields_per_second"] > 0
    for name in ("first", "zweite Aufnahme ü"):
        assert len(list((tmp_path / name / "flow").iterdir())) == 3


def test_the_script_names_a_folder_without_videos(tmp_path):
    result = run("data_prep/extract_flow.py", f"--frames_dir={tmp_path / 'nowhere'}")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "nowhere: no video folders there" in result.stderr


def test_the_benchmark_prints_every_preset():
    result = run("benchmarks/optical_flow.py", "--size=32", "--clips=2", "--pairs_per_clip=1", "--rounds=1")
    assert result.returncode == 0, result.stderr
    for preset in PRESETS:
        (line,) = (line for line in result.stdout.splitlines() if line.startswith(preset))
        numbers = [float(word) for word in line.split()[1:]]
        assert len(numbers) == 6
        assert numbers[0] > 0
        assert 0 < numbers[2] < 2
