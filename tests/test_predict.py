"""Predictions for one video from an exported model: those of the evaluation, from any subset of modalities."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from raw import depth_frame, write_image
from tiny import MODALITIES, split
from tiny_run import make_config, make_run, write_noisy_records

from data_prep.flow.algorithms import ALGORITHMS, compute_flow
from data_prep.flow.encoding import encode_flow
from data_prep.flow.settings import preset_settings
from data_prep.raw.base import RawVideo
from data_prep.video.depth import DepthSettings, encode_depth
from data_prep.video.record import VideoSettings
from data_prep.video.sources import open_source
from dmcl_tf import export
from dmcl_tf.data import records
from dmcl_tf.errors import InputError
from dmcl_tf.files import write_json
from dmcl_tf.networks import weights
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import Record, RunFolder
from dmcl_tf.scoring.accuracy import softmax
from dmcl_tf.scoring.logits import Evaluator
from workflow import __main__ as workflow
from workflow import footage, served
from workflow import predict as command
from workflow.predict import SAMPLES


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    return write_noisy_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, info):
    return make_run(tmp_path_factory.mktemp("trained"), info, make_config())


@pytest.fixture(scope="module")
def model(tmp_path_factory, trained):
    return export.export(export.ExportSettings(trained.directory, tmp_path_factory.mktemp("exported")))


@pytest.fixture(scope="module")
def raw(tmp_path_factory, info):
    """The frames of the video test-0 as images, one folder for each modality, called as the video."""
    root = tmp_path_factory.mktemp("raw")
    _, frames = records.decode_video(records.read_record(info.path(info.by_id["test-0"])))
    for modality, images in frames.items():
        for index, jpeg in enumerate(images):
            image = tf.io.decode_jpeg(jpeg, 3).numpy()
            write_image(root / modality / "test-0" / f"{index}.png", image[..., ::-1])
    return root


def settings(model, paths, clips=10):
    return command.PredictSettings(model, export.read_exported(model), paths, clips)


@pytest.fixture(scope="module")
def evaluated(trained, info):
    """The logits of the test videos."""
    return Evaluator(restore_ensemble(trained, "best"), info, split(info), make_config())("test")


@pytest.mark.parametrize("subset", [("rgb",), ("depth",), ("depth", "rgb"), MODALITIES])
def test_it_says_what_the_evaluation_says(model, evaluated, raw, subset):
    paths = {modality: raw / modality / "test-0" for modality in subset}
    probabilities, moments = command.predict_video(settings(model, paths))
    assert moments == 12
    column = evaluated.video_ids.index("test-0")
    rows = [MODALITIES.index(modality) for modality in subset]
    expected = softmax(evaluated.logits[rows, column].mean(axis=0))
    np.testing.assert_allclose(probabilities, expected, rtol=1e-4)


def test_depth_is_prepared_as_in_the_records(tmp_path):
    for index in range(10):
        write_image(tmp_path / "x" / f"{index}.png", depth_frame(index))
    depth = DepthSettings("clip_mm", 1000, 3000)
    video = RawVideo("x", "", {"depth": open_source(tmp_path / "x")})
    clips, _ = footage.read_clips(video, VideoSettings(("depth",), 40, depth=depth), clips=2, frames=8)
    drawn = records.draw_clips("x", 10, clips=2)
    expected = [[encode_depth(depth_frame(index), 40, depth) for index in clip] for clip in drawn]
    np.testing.assert_array_equal(clips["depth"], np.repeat(np.array(expected)[..., None], 3, axis=-1))


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_flow_is_that_of_the_records(tmp_path, count):
    """Computed between the drawn frames and the next ones alone, and yet what all frames in turn would give."""
    random = np.random.RandomState(0)
    texture = cv2.GaussianBlur(random.randint(0, 256, (80, 80, 3)).astype(np.uint8), (0, 0), 2)
    frames = [np.roll(texture, (index, index**2 // 4), (0, 1))[:40, :40] for index in range(count)]
    for index, frame in enumerate(frames):
        write_image(tmp_path / "x" / f"{index:02d}.png", frame)
    flow = preset_settings("dis", "default")
    video = RawVideo("x", "", {"rgb": open_source(tmp_path / "x")})
    settings = VideoSettings(("rgb", "flow"), 40, flow=flow)
    clips, moments = footage.read_clips(video, settings, clips=3, frames=8)
    assert moments == count
    grey = (cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames)
    flows = compute_flow(grey, ALGORITHMS["dis"].make(flow.parameters))
    images = np.stack([encode_flow(field, 20 * 40 / 256) for field in flows])
    drawn = np.minimum(records.draw_clips("x", max(count, 9), clips=3), count - 1)
    np.testing.assert_array_equal(clips["flow"], images[drawn])
    np.testing.assert_array_equal(clips["rgb"], np.stack(frames)[drawn][..., ::-1])
    assert np.ptp(images[..., 0]) > 20 or count < 3
    only, _ = footage.read_clips(video, VideoSettings(("flow",), 40, flow=flow), clips=3, frames=8)
    assert set(only) == {"flow"}
    np.testing.assert_array_equal(only["flow"], clips["flow"])


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_settings_of_flow_survive_the_file(algorithm):
    """Whole numbers stay whole: an algorithm would refuse to iterate 15.0 times."""
    settings = preset_settings(algorithm, "fast")
    flow = json.loads(json.dumps(dataclasses.asdict(settings))) | {"bound_in_pixels": 5.0}
    read = footage.computed_flow(SimpleNamespace(config=make_config(), flow=flow))
    assert read == settings
    for name, value in settings.parameters.items():
        assert type(read.parameters[name]) is type(value)


def test_modalities_are_chosen_among_what_can_be_had(model):
    flow = dataclasses.asdict(preset_settings("dis", "fast")) | {"bound_in_pixels": 3.125}
    exported = dataclasses.replace(export.read_exported(model), flow=flow)

    def modalities(given, *chosen):
        return command.PredictSettings(model, exported, dict.fromkeys(given, model), chosen=chosen).modalities

    assert modalities(["rgb"]) == ("rgb", "flow")
    assert modalities(["depth", "rgb"]) == MODALITIES
    assert modalities(["depth"]) == ("depth",)
    assert modalities(["rgb"], "flow") == ("flow",)
    with pytest.raises(InputError, match="--with: flow is not given; give --flow, or --rgb, of which it is computed"):
        modalities(["depth"], "flow")
    with pytest.raises(InputError, match="--with: the model has no thermal, only rgb, depth, flow"):
        modalities(["depth"], "thermal")
    assert footage.video_settings(exported, ("rgb", "flow"), given=("rgb",)).computed_flow.algorithm == "dis"
    assert footage.video_settings(exported, ("rgb", "flow"), given=("rgb", "flow")).flow is None


def test_json(model, raw, capsys):
    assert workflow.main(["predict", f"--model={model}", f"--rgb={raw}/rgb/test-0", "--clips=2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["modalities"], result["frames"], result["clips"]) == (["rgb"], 12, 2)
    shares = [entry["probability"] for entry in result["classes"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    assert {entry["class"] for entry in result["classes"]} == set(export.read_exported(model).class_names)


def test_a_short_video_repeats_its_last_frame(tmp_path):
    for index in range(2):
        write_image(tmp_path / f"{index}.png", np.full((8, 8, 3), 100 * (index + 1), np.uint8))
    video = RawVideo("x", "", {"rgb": open_source(tmp_path)})
    clips, moments = footage.read_clips(video, VideoSettings(("rgb",), 8), clips=4, frames=8)
    assert moments == 2
    levels = clips["rgb"][..., 0, 0, 0]
    np.testing.assert_array_equal(levels, np.where(records.draw_clips("x", 9, clips=4) == 0, 100, 200))


def test_settings_of_the_records_reach_the_model(trained, tmp_path):
    """From dataset.json through the run's folder and the exported model to the settings of the prediction."""
    depth = {"modalities": ["depth"], "mode": "per_clip"}
    folder = RunFolder(shutil.copytree(trained.directory, tmp_path / "run"))
    run = folder.load()
    write_json(folder.config_path, Record(dataclasses.replace(run, depth=depth)))
    version = export.export(export.ExportSettings(folder.directory, tmp_path / "exported", formats=("weights",)))
    assert served.find_model(version)[1].depth == depth
    assert footage.video_settings(served.find_model(version)[1], ("depth",)).depth.mode == "per_clip"


def test_the_newest_version_is_taken(model, tmp_path):
    for version in ("2", "10"):
        shutil.copytree(model, tmp_path / version)
    (tmp_path / "11").mkdir()  # half-written
    assert served.find_model(tmp_path)[0] == tmp_path / "10"
    with pytest.raises(InputError, match=r"--model=.*none: no exported model there; expected exported/<data set>"):
        served.find_model(tmp_path / "none")
    (tmp_path / "10" / "dmcl_tf.json").write_text("{")
    with pytest.raises(InputError, match=r"dmcl_tf\.json is not what it should be"):
        served.find_model(tmp_path)


def test_the_command(model, raw, capsys):
    assert workflow.main(["predict", f"--model={model.parent}", f"--depth={raw}/depth/test-0", "--clips=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"depth of {raw}/depth/test-0: 12 frames, 2 clips; by depth"
    assert lines[1].split() == ["class", "%"]
    shares = [float(line.split()[-1]) for line in lines[2:]]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 100.05


def test_the_samples_are_looked_at_and_their_table_is_written_where_it_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "_show_many", lambda settings: kept.append((settings.keep, settings.output)))
    kept = []
    for arguments in ([], ["--output=out"], [f"--model={SAMPLES}/model", f"--videos={SAMPLES}/videos.csv"]):
        assert workflow.main(["predict", *arguments]) == 0
    assert kept == [(False, Path("predictions")), (True, Path("out")), (True, Path("predictions"))]


def test_help_names_the_modalities_of_the_model(model, capsys):
    assert workflow.main(["predict", f"--model={model}", "--help"]) == 0
    assert "--depth: the video's depth" in capsys.readouterr().out
    assert workflow.main(["predict", "--help"]) == 0
    assert "--model" in capsys.readouterr().out


def test_many_videos(model, raw, tmp_path, capsys):
    """Each as if it were alone; what cannot be used says why, and the others go on."""
    table = tmp_path / "list.csv"
    lines = [f"test-0,{raw}/rgb/test-0,", f"test-0,{raw}/rgb/test-0,{raw}/depth/test-0", "x,none.avi,", "y,,"]
    table.write_text("\n".join(["video_id,rgb,depth", *lines]))
    arguments = [f"--model={model}", f"--videos={table}", f"--output={tmp_path}/out", "--clips=2"]
    assert workflow.main(["predict", *arguments]) == 0
    said = capsys.readouterr()
    assert "2 of 4 could not be predicted" in said.err
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    assert rows["video_id"].tolist() == ["test-0", "test-0", "x", "y"]
    assert rows["modalities"].tolist() == ["rgb", "rgb+depth", "", ""]
    assert rows["frames"].tolist() == [12, 12, 0, 0]
    assert "none.avi: No such file or directory" in rows["error"][2]
    assert rows["error"][3] == "line 5 names no file"
    names = export.read_exported(model).class_names
    for line, subset in enumerate([("rgb",), ("rgb", "depth")]):
        paths = {modality: raw / modality / "test-0" for modality in subset}
        alone, _ = command.predict_video(settings(model, paths, clips=2))
        np.testing.assert_allclose(
            rows.loc[line, [f"probability:{name}" for name in names]].astype(float), alone, rtol=1e-4
        )
        assert rows["prediction"][line] == names[alone.argmax()]


def test_the_weights_say_what_the_saved_model_says(model, trained, raw, tmp_path):
    """But for the rounding to half precision; a subset needs its own networks alone."""
    small = export.export(export.ExportSettings(trained.directory, tmp_path / "small", formats=("weights",)))
    assert sorted(path.name for path in small.iterdir()) == ["dmcl_tf.json", "model_card.md", "weights.npz"]
    for subset in (("depth",), ("rgb", "flow")):
        paths = {modality: raw / modality / "test-0" for modality in subset}
        expected, _ = command.predict_video(settings(model, paths, clips=2))
        got, _ = command.predict_video(settings(small, paths, clips=2))
        np.testing.assert_allclose(got, expected, atol=5e-3)
    content = dict(np.load(small / "weights.npz"))
    networks = restore_ensemble(trained, "best").networks
    content.pop("depth/convolution_0/0")
    np.savez(tmp_path / "other.npz", **content)
    with pytest.raises(InputError, match=r"other.npz: not the weights of these networks .*depth/convolution_0/0"):
        weights.read_weights(tmp_path / "other.npz", networks)
    kernel = networks["rgb"].get_layer("convolution_0")
    kernel.set_weights([np.full_like(array, 1e5) for array in kernel.get_weights()])
    with pytest.raises(InputError, match="--formats=weights: rgb, convolution_0: a weight exceeds 65504"):
        weights.write_weights(tmp_path / "large.npz", networks)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rgb=clip.mp4"], "--model is missing: expected an exported model"),
        (["--model=none"], "--model=none: no exported model there"),
        (["--model={model}"], "no video: give one or more of --rgb, --depth, --flow"),
        (["--model={model}", "--thermal=x"], "--thermal: the model has no such modality, only rgb, depth, flow"),
        (["--model={model}", "--rgb=none.avi"], "none.avi: No such file or directory; expected a video file"),
        (["--model={model}", "--rgb=x", "--clips=0"], "flag --clips=0"),
        (["--videos=x.csv"], "--model is missing: expected an exported model"),
        (["--model={model}", "--videos=x.csv", "--rgb=x"], "--rgb is of one video, and --videos lists many"),
        (["--model={model}", "--videos=none.csv"], "--videos=none.csv: No such file or directory; expected a CSV file"),
        (["--model={model}", "--rgb=x", "--window=0"], "flag --window=0"),
        (["--model={model}", "--rgb=x", "--window=nan"], "--window=nan: expected a finite number"),
        (["--model={model}", "--rgb=x", "--window=1", "--fps=inf"], "--fps=inf: expected a finite number"),
        (["--model={model}", "--rgb=x", "--annotate={model}.mp4"], "1.mp4: it is a folder; give the name of a file"),
        (["--model={model}", "x.avi"], "unexpected argument 'x.avi': every setting is a flag, --name=value"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(model, arguments, message):
    model.with_name(f"{model.name}.mp4").mkdir(exist_ok=True)
    with pytest.raises(InputError) as error:
        workflow.main(["predict", *(argument.format(model=model) for argument in arguments)])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_long_video_in_windows(tiny_model, tmp_path, capsys):
    """The table, the strip and the annotated video that the command writes, as its flags say."""
    output, annotated = tmp_path / "out", tmp_path / "said.avi"
    video = ["--window=0.5", "--stride=0.25", f"--rgb={command.SAMPLES.resolve()}/throw_rgb.avi", "--with=rgb"]
    flags = [f"--model={tiny_model}", *video, f"--output={output}", f"--annotate={annotated}"]
    assert workflow.main(["predict", *flags]) == 0
    said = capsys.readouterr().out.splitlines()
    names = export.read_exported(tiny_model).class_names
    table = pd.read_csv(output / "timeline.csv")
    assert f"{len(table)} windows; by rgb" in said[0]
    np.testing.assert_allclose(table["end"] - table["begin"], 0.5, atol=0.05)
    np.testing.assert_allclose(np.diff(table["begin"]), 0.25, atol=0.05)
    np.testing.assert_allclose(table[[f"probability:{name}" for name in names]].sum(axis=1), 1, atol=1e-4)
    assert set(table["class"]) <= set(names)
    assert cv2.imread(str(output / "timeline.png")) is not None
    length = len(list(open_source(command.SAMPLES / "throw_rgb.avi").frames()))
    assert len(list(open_source(annotated).frames())) == length
    assert workflow.main(["predict", *flags[:-1], "--fps=12", "--json"]) == 0
    slower = json.loads(capsys.readouterr().out)
    assert slower[-1]["end"] > 1.5 * table["end"].iloc[-1]
