"""The SavedModel says what the ensemble says, for every subset of modalities, without this project's code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tiny import MODALITIES
from tiny_run import make_config, make_run, save_checkpoint, small_networks, smooth_clips, write_noisy_records

from data_prep.video.frames import resize
from dmcl_tf import export as script
from dmcl_tf.data import pipeline as input_pipeline
from dmcl_tf.data import records
from dmcl_tf.errors import InputError, is_wrong_place
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import RunFolder

__all__ = ["small_networks"]  # acts on every test here

ROOT = Path(__file__).resolve().parents[1]
SUBSETS = {
    **{modality: (modality,) for modality in MODALITIES},
    "rgb_depth": ("rgb", "depth"),
    "rgb_flow": ("rgb", "flow"),
    "depth_flow": ("depth", "flow"),
    "rgb_depth_flow": MODALITIES,
}
OUTPUTS = ("probabilities", "classes", "scores")

# Serves clips of an .npz file by every signature of a SavedModel; knows nothing of how the model was made.
SERVER = """
import sys
import numpy as np
import tensorflow as tf

model, clips, outputs = tf.saved_model.load(sys.argv[1]), np.load(sys.argv[2]), {}
for name, serve in model.signatures.items():
    inputs = {modality: tf.constant(clips[modality]) for modality in serve.structured_input_signature[1]}
    for output, value in serve(**inputs).items():
        outputs[f"{name} {output}"] = value.numpy()
    outputs[f"{name} inputs"] = sorted(inputs)
assert not {"dmcl_tf", "data_prep"} & set(sys.modules)
arrays = {name: np.asarray(value) for name, value in outputs.items()}
np.savez(sys.argv[3], **{name: array.astype("U") if array.dtype == object else array for name, array in arrays.items()})
"""


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    return write_noisy_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, info):
    """A run, not to be changed."""
    return make_run(tmp_path_factory.mktemp("trained"), info, make_config())


@pytest.fixture(scope="module")
def exported(tmp_path_factory, trained):
    """The folder of its first version, not to be changed."""
    return script.export(trained, tmp_path_factory.mktemp("exported") / "model", "best", ())


@pytest.fixture
def own(exported, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(exported, tmp_path / "model" / "1")


def serve(version, clips, directory):
    """What another process gets from every signature: signature → output → array."""
    np.savez(directory / "clips.npz", **clips)
    files = [str(path) for path in (version, directory / "clips.npz", directory / "outputs.npz")]
    subprocess.run([sys.executable, "-I", "-c", SERVER, *files], check=True, cwd=directory)
    outputs = {}
    for key, value in np.load(directory / "outputs.npz").items():
        signature, output = key.split()
        outputs.setdefault(signature, {})[output] = value
    return outputs


def in_memory(folder, clips, checkpoint="best", precision="float32"):
    """The same from the ensemble itself, signature by signature."""
    run = folder.load()
    ensemble, _ = restore_ensemble(folder, checkpoint, precision=precision)
    return {
        name: script.predict(ensemble, {modality: clips[modality] for modality in subset}, run.config, run.class_names)
        for name, subset in SUBSETS.items()
    }


def assert_same_predictions(served, expected):
    np.testing.assert_allclose(served["probabilities"], expected["probabilities"], atol=1e-5)
    np.testing.assert_allclose(served["scores"], expected["scores"], atol=1e-5)
    assert served["classes"].tolist() == [[name.decode() for name in row] for row in expected["classes"].numpy()]


@pytest.mark.parametrize("size", [(40, 40), (60, 80)], ids=["stored size", "camera size"])
def test_every_signature_gives_what_the_ensemble_gives(exported, trained, tmp_path, size):
    clips = smooth_clips(*size)
    served = serve(exported, clips, tmp_path)
    assert set(served) == {*SUBSETS, "serving_default"}
    expected = in_memory(trained, clips)
    for name, subset in SUBSETS.items():
        assert served[name]["inputs"].tolist() == sorted(subset)
        assert served[name]["probabilities"].shape == (2, 6)
        assert served[name]["classes"].shape == served[name]["scores"].shape == (2, 5)
        assert_same_predictions(served[name], expected[name])
    assert_same_predictions(served["serving_default"], expected["rgb_depth_flow"])
    certain = [served[name]["probabilities"].max() for name in SUBSETS]
    assert min(certain) < 0.99  # else anything would look equal
    assert np.abs(served["rgb"]["probabilities"] - served["depth"]["probabilities"]).max() > 1e-3


def test_predictions_are_ordered_and_of_summed_logits(trained):
    clips = smooth_clips(40, 40)
    ensemble, _ = restore_ensemble(trained, "best")
    config, class_names = make_config(), trained.load().class_names
    predicted = script.predict(ensemble, clips, config, class_names)
    logits = ensemble({modality: clips[modality][:, :, 4:36, 4:36].astype(np.float32) for modality in MODALITIES})
    expected = tf.nn.softmax(tf.add_n([logits[modality] for modality in MODALITIES]) / 3).numpy()
    np.testing.assert_allclose(predicted["probabilities"], expected, atol=1e-6)
    order = np.argsort(-expected, axis=1)[:, :5]
    np.testing.assert_allclose(predicted["scores"], np.take_along_axis(expected, order, axis=1), atol=1e-6)
    names = [[class_names[label].encode() for label in row] for row in order]
    assert predicted["classes"].numpy().tolist() == names


def test_fewer_than_five_classes():
    ensemble = make_ensemble(make_config(modalities=("rgb",), select_by="rgb"), 3)
    predicted = script.predict(ensemble, {"rgb": smooth_clips(40, 40)["rgb"]}, make_config(), ("a", "b", "c"))
    assert predicted["classes"].shape == predicted["scores"].shape == (2, 3)


@pytest.mark.parametrize("signature", ["depth", "rgb_flow"])
def test_saved_model_cli(exported, trained, tmp_path, signature):
    clips = smooth_clips(50, 70, clips=1)
    np.savez(tmp_path / "clips.npz", **clips)
    inputs = ";".join(f"{modality}={tmp_path}/clips.npz[{modality}]" for modality in SUBSETS[signature])
    tool = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run", "--dir", str(exported)]
    tool += ["--tag_set", "serve", "--signature_def", signature, "--inputs", inputs, "--outdir", str(tmp_path / "out")]
    done = subprocess.run(tool, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == sorted(OUTPUTS)
    served = {name: np.load(tmp_path / "out" / f"{name}.npy", allow_pickle=True) for name in OUTPUTS}
    served["classes"] = np.vectorize(bytes.decode)(served["classes"])
    assert_same_predictions(served, in_memory(trained, clips)[signature])


@pytest.mark.parametrize("size", [(120, 160), (48, 64), (40, 64), (41, 43), (20, 30), (30, 90), (40, 40)])
def test_frames_are_resized_as_the_records_are(size):
    clips = np.stack([smooth_clips(*size)["rgb"], np.random.RandomState(0).randint(0, 256, (2, 8, *size, 3))])
    clips = clips.reshape(-1, 8, *size, 3).astype(np.uint8)
    prepared = script.prepare_clips(tf.constant(clips), make_config()).numpy()
    expected = np.stack([[resize(image, 40)[4:36, 4:36] for image in clip] for clip in clips])
    assert prepared.shape == expected.shape
    assert prepared.dtype == np.float32
    assert np.abs(prepared - expected).max() <= 1
    if size == (40, 40):
        np.testing.assert_array_equal(prepared, expected)
    elif size == (120, 160):  # the area average, not samples of it
        sampled = np.stack(
            [
                [cv2.resize(image, (40, 40), interpolation=cv2.INTER_LINEAR)[4:36, 4:36] for image in clip]
                for clip in clips
            ]
        )
        assert np.abs(prepared - sampled).max() > 20


@pytest.mark.parametrize("value_range", ["0..255", "-1..1"])
def test_stored_frames_are_fed_as_in_the_evaluation(info, value_range):
    config = make_config(value_range=value_range)
    (batch,) = input_pipeline.evaluation_dataset(info, config, "test", 7).as_numpy_iterator()
    serialized = next(iter(tf.data.TFRecordDataset(str(info.shard_paths("test")[0]))))
    context, frames = records.parse_video(serialized, MODALITIES)
    assert context["video_id"].numpy() == batch["video_id"][0]
    clips = np.asarray(info.clips["test"][batch["video_id"][0].decode()])
    for modality in MODALITIES:
        images = np.stack([tf.io.decode_jpeg(jpeg, 3).numpy() for jpeg in frames[modality].numpy()])
        prepared = script.prepare_clips(tf.constant(images[clips]), config)
        expected = input_pipeline.network_input(batch["clips"][modality][0], value_range)
        np.testing.assert_array_equal(prepared, expected)
        assert float(tf.reduce_min(prepared)) < 0 or value_range == "0..255"


def test_default_modalities_make_another_version(own, trained, tmp_path):
    second = script.export(trained, own.parent, "best", ("depth", "flow"))
    assert second == own.parent / "2"
    clips = smooth_clips(40, 40)
    served = serve(second, clips, tmp_path)
    assert served["serving_default"]["inputs"].tolist() == ["depth", "flow"]
    expected = in_memory(trained, clips)["depth_flow"]
    assert_same_predictions(served["serving_default"], expected)
    assert sorted(path.name for path in own.parent.iterdir()) == ["1", "2"]


def test_the_same_export_is_kept(own, trained, info, monkeypatch):
    monkeypatch.setattr(script, "restore_ensemble", None)  # exporting again would need it
    assert script.export(trained, own.parent, "best", ()) == own
    assert script.export(trained, own.parent, "best", MODALITIES) == own
    record = json.loads((own / "dmcl_tf.json").read_text())
    assert (record["checkpoint"], record["epoch"]) == ("best", 5)
    assert record["class_names"] == list(info.class_names)
    assert record["config"] == make_config().to_json()


def test_a_run_trained_again_is_exported_again(own, trained, info, tmp_path):
    """In the same folder with the same settings and epoch: all but the weights is equal."""
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(trained.directory, folder.directory)
    record = own / "dmcl_tf.json"
    content = {**json.loads(record.read_text()), "run_dir": os.path.relpath(folder.directory)}
    record.write_text(json.dumps(content))
    assert script.export(folder, own.parent, "best", ()) == own
    save_checkpoint(folder, info, "best", epoch=5, seed=9)
    assert script.export(folder, own.parent, "best", ()) == own.parent / "2"


def test_versions_count_on_and_leftovers_are_replaced(own, trained):
    own.rename(own.with_name("9"))
    (own.parent / "10.partial" / "assets").mkdir(parents=True)
    (own.parent / "notes").mkdir()
    (own.parent / "9" / "dmcl_tf.json").write_text("{")  # of unknown making: no reason to keep it
    tenth = script.export(trained, own.parent, "last", ())
    assert tenth == own.parent / "10"
    assert (tenth / "saved_model.pb").exists()
    assert json.loads((tenth / "dmcl_tf.json").read_text())["epoch"] == 7
    assert sorted(path.name for path in own.parent.iterdir()) == ["10", "9", "notes"]


def test_a_run_in_bfloat16_is_served_in_float32(info, tmp_path):
    folder = make_run(tmp_path / "run", info, make_config(precision="bfloat16"))
    version = script.export(folder, tmp_path / "model", "best", ())
    clips = smooth_clips(40, 40)
    served = serve(version, clips, tmp_path)
    in_bfloat16 = in_memory(folder, clips, precision=None)
    for name, expected in in_memory(folder, clips).items():
        assert served[name]["probabilities"].dtype == np.float32
        assert_same_predictions(served[name], expected)
        difference = np.abs(expected["probabilities"] - in_bfloat16[name]["probabilities"]).max()
        assert 1e-5 < difference < 0.05


def test_default_modalities_that_the_run_has_not(trained, tmp_path):
    with pytest.raises(InputError, match="--default_modalities: the run has no thermal, only rgb, depth, flow"):
        script.export(trained, tmp_path / "model", "best", ("rgb", "thermal"))
    with pytest.raises(InputError, match="--default_modalities=rgb,rgb: expected different names"):
        script.export(trained, tmp_path / "model", "best", ("rgb", "rgb"))
    assert not (tmp_path / "model").exists()


def test_a_file_in_the_place_of_the_export_folder(trained, tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(FileExistsError) as caught:
        script.export(trained, tmp_path / "model", "best", ())
    assert is_wrong_place(caught.value)  # which scripts print in one line


def test_no_run_and_no_checkpoint(trained, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path}/none/config.json does not exist: expected a run"):
        script.export(RunFolder(tmp_path / "none"), tmp_path / "model", "best", ())
    shutil.copytree(trained.directory, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "best")
    with pytest.raises(InputError, match=f"{tmp_path}/run: no best checkpoint; train the run first"):
        script.export(RunFolder(tmp_path / "run"), tmp_path / "model", "best", ())
    assert not (tmp_path / "model").exists()
