"""Optical flow of folders of frames: what is stored, kept, replaced and refused, and the flags."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from data_prep import extract_flow as script
from data_prep.flow.algorithms import ALGORITHMS
from data_prep.flow.encoding import ENCODINGS, bound_in_pixels, decode_flow
from data_prep.flow.settings import FlowSettings, preset_settings
from data_prep.flow_flags import flow_settings_from_flags
from data_prep.raw.base import Skipped
from data_prep.video.frames import encode_jpeg, read_image
from dmcl_tf.errors import InputError
from dmcl_tf.flag_groups import define

ROOT = Path(__file__).resolve().parents[1]
FAST = preset_settings("tvl1", "fast")


def ground(size=64, seed=0):
    noise = np.random.RandomState(seed).randint(0, 256, (size // 4, size // 4)).astype(np.uint8)
    return cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)


def sliding(frames, step=2, size=64):
    """Grey frames of a pattern that moves `step` pixels to the right at each."""
    wide = ground(size + step * frames)
    return [wide[:size, step * (frames - i) : step * (frames - i) + size] for i in range(frames)]


def write_frames(folder, frames):
    (folder / "rgb").mkdir(parents=True)
    for i, frame in enumerate(frames):
        (folder / "rgb" / f"{i:06d}.jpg").write_bytes(encode_jpeg(frame, 95))
    return folder


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    frames = sliding(12)
    expected = write_frames(tmp_path / "padded", frames)
    folder = tmp_path / "plain"
    (folder / "rgb").mkdir(parents=True)
    for i, frame in enumerate(frames):
        (folder / "rgb" / f"{i + 1}.jpg").write_bytes(encode_jpeg(frame, 95))
    (folder / "rgb" / "._1.jpg").write_bytes(b"of another system")
    for each in (expected, folder):
        assert script.extract_video_flow(each, settings=FAST) == 12
    for i in range(12):
        assert (folder / f"flow/{i + 1}.jpg").read_bytes() == (expected / f"flow/{i:06d}.jpg").read_bytes()


def test_flow_of_others_is_neither_replaced_nor_taken_for_ours(tmp_path):
    folder = write_frames(tmp_path / "clip", sliding(3))
    (folder / "flow").mkdir()
    (folder / "flow/000000.png").write_bytes(b"theirs")
    with pytest.raises(InputError, match=r"clip/flow is there, but no .*flow\.json that says how it was made"):
        script.extract_flow(tmp_path, ["clip"], FAST, workers=1)
    assert (folder / "flow/000000.png").read_bytes() == b"theirs"
    assert not (tmp_path / "flow.json").exists()


def test_stored_channels_are_u_v_magnitude_for_a_red_green_blue_decoder(tmp_path):
    folder = write_frames(tmp_path / "clip", sliding(3))
    assert script.extract_video_flow(folder, settings=FAST) == 3
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


def test_complete_flow_is_kept_and_incomplete_flow_replaced(tmp_path):
    folder = write_frames(tmp_path / "clip", sliding(3))
    script.extract_video_flow(folder, settings=FAST)
    first = {path.name: path.read_bytes() for path in (folder / "flow").iterdir()}
    assert script.extract_video_flow(folder, settings=FAST) == 0
    (folder / "flow" / "000001.jpg").unlink()
    assert script.extract_video_flow(folder, settings=FAST) == 3
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
    with pytest.raises(InputError, match=r"flow\.json says that the flow there was made with other settings"):
        script.extract_flow(tmp_path, ["clip"], replace(FAST, bound=10.0), workers=1)


def settings(*arguments):
    values = define(script.FLAG_GROUPS, flags.FlagValues())
    values(["x", *arguments])
    return flow_settings_from_flags(values, default_preset="default")


def test_flags_override_the_preset():
    given = ("--flow_preset=fast", "--flow_parameters=lambda_=0.1,iterations=3", "--flow_bound=8")
    expected = {**FAST.parameters, "lambda_": 0.1, "iterations": 3}
    assert settings(*given) == replace(FAST, parameters=expected, bound=8.0)
    assert settings("--flow_preset=fast", "--flow_parameters=warps=2").parameters == {**FAST.parameters, "warps": 2}
    assert settings() == FlowSettings()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_chosen_by_name(algorithm):
    chosen = settings(f"--flow_algorithm={algorithm}", "--flow_preset=fast", "--flow_encoding=hsv")
    assert chosen == preset_settings(algorithm, "fast", encoding="hsv")
    name, value = next(iter(chosen.parameters.items()))
    chosen = settings(f"--flow_algorithm={algorithm}", f"--flow_parameters={name}=1")
    assert chosen.parameters[name] == 1
    assert type(chosen.parameters[name]) is type(value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--flow_algorithm=dis", "--flow_preset=precise"], "dis has no preset 'precise'; it has default, fast"),
        (["--flow_algorithm=brox_liu", "--flow_parameters=beta=2"], "has no parameter 'beta'; it has alpha, ratio"),
        (["--flow_parameters=warps=many"], "--flow_parameters=warps=many: expected a whole number"),
        (["--flow_parameters=tau"], "--flow_parameters=tau=: expected a number"),
    ],
)
def test_parameters_that_do_not_exist_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        settings(*arguments)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_stored_as_the_decoder_expects_it(tmp_path, encoding):
    folder = write_frames(tmp_path / encoding, sliding(2))
    script.extract_video_flow(folder, settings=preset_settings("dis", "default", encoding=encoding))
    image = read_image(folder / "flow" / "000000.jpg")[..., ::-1]
    flow = decode_flow(image, bound_in_pixels(20, 64, 64), encoding)[8:-8, 8:-8]
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [2, 0], atol=0.15)


def run(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_script_works_alone_on_any_folder_of_frames(tmp_path):
    for name in ("first", "zweite Aufnahme ü"):
        write_frames(tmp_path / name, sliding(3, size=32))
    write_frames(tmp_path / "broken", [])
    result = run("-m", "data_prep.extract_flow", f"--frames_dir={tmp_path}", "--flow_preset=fast", "--workers=2")
    assert result.returncode == 0, result.stderr
    assert "2 videos with flow" in result.stdout
    assert "broken" in result.stderr
    for name in ("first", "zweite Aufnahme ü"):
        assert len(list((tmp_path / name / "flow").iterdir())) == 3


def test_the_script_names_a_folder_without_videos(tmp_path):
    result = run("-m", "data_prep.extract_flow", f"--frames_dir={tmp_path / 'nowhere'}")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "nowhere: no video folders there" in result.stderr
