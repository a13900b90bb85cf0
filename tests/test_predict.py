"""Predictions for one video from an exported model: those of the evaluation, from any subset of modalities."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from raw import depth_frame, write_image
from tiny import MODALITIES
from tiny_run import make_config, make_run, small_networks, write_noisy_records

from data_prep.video.depth import DepthSettings, encode_depth
from data_prep.video.sources import ImageFolder
from dmcl_tf import export
from dmcl_tf.data import records
from dmcl_tf.errors import InputError
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.scoring.accuracy import softmax
from dmcl_tf.scoring.logits import Evaluator
from workflow import predict as script

__all__ = ["small_networks"]  # acts on every test here

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    return write_noisy_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, info):
    return make_run(tmp_path_factory.mktemp("trained"), info, make_config())


@pytest.fixture(scope="module")
def model(tmp_path_factory, trained):
    return export.export(trained, tmp_path_factory.mktemp("exported"), "best", ())


@pytest.fixture(scope="module")
def raw(tmp_path_factory, info):
    """The frames of the video test-0 as images, one folder for each modality, called as the video."""
    root = tmp_path_factory.mktemp("raw")
    for path in info.shard_paths("test"):
        for serialized in tf.data.TFRecordDataset(str(path)):
            context, frames = records.parse_video(serialized, MODALITIES)
            if context["video_id"].numpy() == b"test-0":
                for modality in MODALITIES:
                    for index, jpeg in enumerate(frames[modality]):
                        image = tf.io.decode_jpeg(jpeg, 3).numpy()
                        write_image(root / modality / "test-0" / f"{index}.png", image[..., ::-1])
    return root


def sources(raw, subset):
    return {modality: ImageFolder(raw / modality / "test-0") for modality in subset}


@pytest.mark.parametrize("subset", [("rgb",), ("depth",), ("depth", "rgb"), MODALITIES])
def test_it_says_what_the_evaluation_says(model, trained, info, raw, subset):
    path, record = script.find_version(model)
    probabilities, moments = script.predict(path, record, sources(raw, subset), "test-0", clips=3)
    assert moments == 12
    ensemble, _ = restore_ensemble(trained, "best")
    videos = Evaluator(ensemble, info, make_config())("test")
    column = videos.video_ids.index("test-0")
    rows = [MODALITIES.index(modality) for modality in subset]
    expected = softmax(videos.logits[rows, column].mean(axis=0))
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)


def test_depth_is_prepared_as_in_the_records(model, tmp_path):
    for index in range(10):
        write_image(tmp_path / "test-0" / f"{index}.png", depth_frame(index))
    path, record = script.find_version(model)
    seen = {}

    def keep(directory):
        return type("Model", (), {"signatures": {"depth": lambda depth: seen.update(depth=depth) or answer}})

    answer = {"probabilities": tf.constant([[0.5, 0.5]])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.saved_model, "load", keep)
        depth = {"modalities": ["depth"], "mode": "clip_mm", "near": 1000.0, "far": 3000.0}
        script.predict(path, {**record, "depth": depth}, {"depth": ImageFolder(tmp_path / "test-0")}, "x", clips=2)
    drawn = records.draw_clips("x", 10, clips=2)
    settings = DepthSettings("clip_mm", 1000, 3000)
    expected = [[encode_depth(depth_frame(index), 40, settings) for index in clip] for clip in drawn]
    np.testing.assert_array_equal(seen["depth"], np.repeat(np.array(expected)[..., None], 3, axis=-1))


def test_a_short_video_repeats_its_last_frame(tmp_path):
    for index in range(2):
        write_image(tmp_path / f"{index}.png", np.full((8, 8, 3), 100 * (index + 1), np.uint8))
    settings = script.FrameSettings("x", 8)
    clips, moments = script.read_clips({"rgb": ImageFolder(tmp_path)}, "x", settings, clips=4, frames=8)
    assert moments == 2
    levels = clips["rgb"][..., 0, 0, 0]
    np.testing.assert_array_equal(levels, np.where(records.draw_clips("x", 9, clips=4) == 0, 100, 200))


def test_settings_of_the_records_reach_the_model(trained, info, tmp_path):
    """From dataset.json through the run's folder to the exported model."""
    depth = {"modalities": ["depth"], "mode": "per_clip"}
    described = dataclasses.replace(info, depth=depth)
    folder = make_run(tmp_path / "run", described, make_config())
    run = folder.load()
    folder.config_path.unlink()
    folder.create_or_match(dataclasses.replace(run, depth=described.depth))
    assert folder.load().depth == depth
    version = export.export(folder, tmp_path / "exported", "best", ())
    assert script.find_version(version)[1]["depth"] == depth


def test_the_newest_version_is_taken(model, tmp_path):
    for version in ("2", "10"):
        shutil.copytree(model, tmp_path / version)
    assert script.find_version(tmp_path)[0] == tmp_path / "10"
    with pytest.raises(InputError, match=r"--model=.*none: no exported model there; expected exported/<data set>"):
        script.find_version(tmp_path / "none")
    (tmp_path / "10" / export.RECORD).write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        script.find_version(tmp_path)


def test_flags_are_those_of_the_models_modalities(model, tmp_path):
    values = flags.FlagValues()
    script.define_flags(values, [f"--model={model}", "--rgb=clip.avi"])
    values(["predict", f"--model={model}", "--rgb=clip.avi"])
    assert (values.rgb, values.depth, values.flow) == ("clip.avi", None, None)
    other = tmp_path / "1"
    other.mkdir()
    record = json.loads((model / export.RECORD).read_text())
    record["config"]["modalities"] = ["clips"]
    (other / export.RECORD).write_text(json.dumps(record))
    with pytest.raises(InputError, match="the modality 'clips' has the name of another flag"):
        script.define_flags(flags.FlagValues(), [f"--model={other}"])


def test_as_a_script(model, raw):
    command = [sys.executable, "-m", "workflow.predict", f"--model={model}", f"--depth={raw}/depth/test-0", "--clips=2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"depth of {raw}/depth/test-0: 12 frames, 2 clips"
    assert lines[1].split() == ["class", "%"]
    shares = [float(line.split()[-1]) for line in lines[2:]]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 100.05


def run(values, arguments):
    script.define_flags(values, arguments)
    values(["predict", *arguments])
    script.main()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model is missing: expected an exported model"),
        (["--model=none"], "--model=none: no exported model there"),
        (["--model={model}"], "no video: give one or more of --rgb, --depth, --flow"),
        (["--model={model}", "--rgb=none.avi"], "none.avi: No such file or directory; expected a video file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(model, monkeypatch, arguments, message):
    arguments = [argument.format(model=model) for argument in arguments]
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    with pytest.raises(InputError) as error:
        run(values, arguments)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
