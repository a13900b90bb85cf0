"""The SavedModel says what the ensemble says, for every subset of modalities, without this project's code."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import MODALITIES
from tiny_run import make_config, make_run, parse_flags, save_checkpoint, smooth_clips, write_noisy_records

from dmcl_tf import export as script
from dmcl_tf import files, model_card, serving
from dmcl_tf.errors import InputError, is_wrong_place
from dmcl_tf.export import ExportSettings, export
from dmcl_tf.files import atomic_path, lock
from dmcl_tf.runs import checkpoints
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import RunFolder

SUBSETS = {
    **{modality: (modality,) for modality in MODALITIES},
    "rgb_depth": ("rgb", "depth"),
    "rgb_flow": ("rgb", "flow"),
    "depth_flow": ("depth", "flow"),
    "rgb_depth_flow": MODALITIES,
}
OUTPUTS = ("classes", "logits", "probabilities", "scores")

# Serves clips of .npz files by every signature of a SavedModel; knows nothing of how the model was made.
SERVER = """
import sys
import numpy as np
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
for file in sys.argv[2:]:
    clips, outputs = np.load(file), {}
    for name, serve in model.signatures.items():
        inputs = {modality: tf.constant(clips[modality]) for modality in serve.structured_input_signature[1]}
        for output, value in serve(**inputs).items():
            outputs[f"{name} {output}"] = np.asarray(value.numpy())
        outputs[f"{name} inputs"] = np.asarray(sorted(inputs))
    outputs = {name: array.astype("U") if array.dtype == object else array for name, array in outputs.items()}
    np.savez(file + ".served.npz", **outputs)
assert not {"dmcl_tf", "data_prep"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_noisy_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, records):
    """A run, not to be changed."""
    return make_run(tmp_path_factory.mktemp("trained"), records, make_config())


@pytest.fixture(scope="module")
def exported(tmp_path_factory, trained):
    """The folder of its first version, not to be changed."""
    return export(ExportSettings(trained.directory, tmp_path_factory.mktemp("exported") / "model"))


@pytest.fixture(scope="module")
def signatures(exported):
    """Its signatures, in this process."""
    return tf.saved_model.load(str(exported)).signatures


@pytest.fixture
def own(exported, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(exported, tmp_path / "model" / "1")


@pytest.fixture
def unused_networks(monkeypatch):
    """Lets nothing be exported again."""
    monkeypatch.setattr(checkpoints, "restore_ensemble", None)


@pytest.fixture
def empty_models(monkeypatch):
    """Exports versions without their graphs, where only the versions count."""

    def write(directory, *_):
        directory.mkdir()
        (directory / "saved_model.pb").write_bytes(b"")

    monkeypatch.setattr(serving, "write_saved_model", write)


def serve(version, directory, *batches):
    """What another process gets from every signature for some batches of clips: signature → output → array of each."""
    files = []
    for number, clips in enumerate(batches):
        files.append(str(directory / f"clips{number}.npz"))
        np.savez(files[-1], **clips)
    subprocess.run([sys.executable, "-I", "-c", SERVER, str(version), *files], check=True, cwd=directory)
    served = []
    for file in files:
        served.append({})
        for key, value in np.load(f"{file}.served.npz").items():
            signature, output = key.split()
            served[-1].setdefault(signature, {})[output] = value
    return served


def as_functions(ensemble, config):
    return {modality: partial(serving.clip_logits, net, config) for modality, net in ensemble.networks.items()}


def in_memory(folder, clips, subsets=SUBSETS, precision="float32"):
    """The same from the ensemble itself, signature by signature."""
    run = folder.load()
    ensemble = restore_ensemble(folder, "best", precision=precision)
    networks = as_functions(ensemble, run.config)
    return {
        name: serving.predict(networks, {modality: clips[modality] for modality in subset}, run.config, run.class_names)
        for name, subset in subsets.items()
    }


def assert_same_predictions(served, expected):
    np.testing.assert_allclose(served["logits"], expected["logits"], atol=1e-4, rtol=1e-5)
    np.testing.assert_allclose(served["probabilities"], expected["probabilities"], atol=1e-5)
    np.testing.assert_allclose(served["scores"], expected["scores"], atol=1e-5)
    assert served["classes"].tolist() == [[name.decode() for name in row] for row in expected["classes"].numpy()]


def test_every_signature_gives_what_the_ensemble_gives(exported, trained, tmp_path):
    """For frames of the stored size and of a camera's."""
    batches = [smooth_clips(40, 40), smooth_clips(60, 80)]
    for clips, served in zip(batches, serve(exported, tmp_path, *batches)):
        assert set(served) == {*SUBSETS, "serving_default"}
        expected = in_memory(trained, clips)
        for name, subset in SUBSETS.items():
            assert set(served[name]) == {*OUTPUTS, "inputs"}
            assert served[name]["inputs"].tolist() == sorted(subset)
            assert served[name]["logits"].shape == served[name]["probabilities"].shape == (2, 6)
            assert served[name]["classes"].shape == served[name]["scores"].shape == (2, 5)
            assert_same_predictions(served[name], expected[name])
        assert_same_predictions(served["serving_default"], expected["rgb_depth_flow"])
        certain = [served[name]["probabilities"].max() for name in SUBSETS]
        assert min(certain) < 0.99  # else anything would look equal
        assert np.abs(served["rgb"]["logits"] - served["depth"]["logits"]).max() > 1e-3


def test_saved_model_cli(exported, trained, tmp_path):
    clips, signature = smooth_clips(50, 70, clips=1), "rgb_flow"
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


@pytest.mark.parametrize(
    "shape",
    [
        *((2, 9, 40, 40, 3), (2, 0, 40, 40, 3), (0, 8, 40, 40, 3), (2, 8, 40, 40, 1), (2, 8, 0, 40, 3)),
        *((8, 40, 40, 3), (2, 8, 40, 40), (1, 2, 8, 40, 40, 3), ()),
    ],
)
def test_clips_of_another_shape_are_refused_by_the_graph(signatures, shape):
    sound = tf.zeros((max(1, shape[0] if len(shape) == 5 else 2), 8, 40, 40, 3), tf.uint8)
    for name, wrong in (("depth", "depth"), ("rgb_depth", "depth"), ("serving_default", "flow")):
        inputs = dict.fromkeys(signatures[name].structured_input_signature[1], sound)
        inputs[wrong] = tf.zeros(shape, tf.uint8)
        got = " ".join(map(str, shape))
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=rf"{wrong}: expected clips of shape \(N, 8, height, width, 3\).*\[{got}\]",
        ):
            signatures[name](**inputs)


def test_modalities_of_different_numbers_of_clips_are_refused_by_the_graph(signatures):
    clips = {"rgb": tf.zeros((1, 8, 40, 40, 3), tf.uint8), "depth": tf.zeros((3, 8, 40, 40, 3), tf.uint8)}
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"depth: expected .*N ≥ 1 as of rgb; got.*\[3 8 40 40 3\]"
    ):
        signatures["rgb_depth"](**clips)


@pytest.mark.usefixtures("empty_models")
def test_default_modalities_make_another_version(own, trained):
    second = export(ExportSettings(trained.directory, own.parent, "best", ("depth", "flow")))
    assert second == own.parent / "2"
    assert script.read_exported(second).default_modalities == ("depth", "flow")
    assert sorted(path.name for path in own.parent.iterdir()) == [".lock", "1", "2"]


@pytest.mark.usefixtures("unused_networks")
def test_the_same_export_is_kept(own, trained, records):
    assert export(ExportSettings(trained.directory, own.parent)) == own
    assert export(ExportSettings(trained.directory, own.parent, "best", MODALITIES)) == own
    record = script.read_exported(own)
    assert (record.checkpoint, record.weights.epoch, record.config) == ("best", 5, make_config())
    assert record.class_names == records.description.class_names
    assert record.default_modalities == MODALITIES


@pytest.mark.usefixtures("empty_models")
def test_an_evaluation_makes_a_version_with_its_accuracy(own, trained, monkeypatch):
    monkeypatch.setattr(model_card, "describe_accuracy", lambda *_: "## Accuracy\n\n87.65 %")
    second = export(ExportSettings(trained.directory, own.parent))
    assert second == own.parent / "2"
    assert "87.65 %" in (second / "model_card.md").read_text(encoding="utf-8")
    assert export(ExportSettings(trained.directory, own.parent)) == second


@pytest.mark.usefixtures("empty_models")
def test_a_run_trained_again_is_exported_again(own, trained, records, tmp_path):
    """In the same folder with the same settings and epoch: all but the weights is equal."""
    folder = RunFolder(shutil.copytree(trained.directory, tmp_path / "run"))
    settings = ExportSettings(folder.directory, own.parent)
    record = own / "dmcl_tf.json"
    content = {**json.loads(record.read_text()), "run_dir": os.path.relpath(folder.directory)}
    record.write_text(json.dumps(content))
    assert export(settings) == own
    save_checkpoint(folder, records, "best", epoch=5, seed=9)
    assert export(settings) == own.parent / "2"


@pytest.mark.usefixtures("empty_models")
def test_versions_count_on_and_what_is_none_does_not_count(own, trained, monkeypatch):
    own.rename(own.with_name("9"))
    (own.parent / "notes").mkdir()
    (own.parent / "²").mkdir()  # a digit, but no number
    (own.parent / "9" / "dmcl_tf.json").write_text("{")  # of unknown making: no reason to keep it
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with atomic_path(own.parent / "10") as partial:
        partial.mkdir()
    left = partial.name.replace(str(os.getpid()), str(ended.pid))  # of a killed process
    (own.parent / "10").rename(own.parent / left)
    monkeypatch.setattr(files, "_written_to", set())  # as another process
    assert script.find_versions(own.parent) == [own.parent / "9"]
    tenth = export(ExportSettings(trained.directory, own.parent, "last"))
    assert tenth == own.parent / "10"
    assert (tenth / "saved_model.pb").exists()
    assert script.read_exported(tenth).weights.epoch == 7
    assert sorted(path.name for path in own.parent.iterdir()) == [".lock", "10", "9", "notes", "²"]


def test_a_half_written_version_is_none(own, trained, monkeypatch):
    monkeypatch.setattr(serving, "write_saved_model", lambda directory, *_: (directory / "assets").mkdir(parents=True))
    monkeypatch.setattr(script, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        export(ExportSettings(trained.directory, own.parent, "last"))
    assert script.find_versions(own.parent) == [own]
    assert sorted(path.name for path in own.parent.iterdir()) == [".lock", "1"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"class_names": "walk"}', '{"config": {"modalities": 3}}'],
)
def test_a_damaged_record_is_named(own, content):
    (own / "dmcl_tf.json").write_text(content)
    with pytest.raises(InputError, match=rf"{own}/dmcl_tf\.json is not what it should be .*export the run again"):
        script.read_exported(own)


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
)
@pytest.mark.usefixtures("empty_models")
def test_a_damaged_version_is_named_and_exported_again(own, trained, name):
    content = bytearray((own / name).read_bytes())
    content[len(content) // 2] ^= 1
    (own / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{own}/{name} is damaged: export the run again"):
        script.check_files(own, script.read_exported(own))
    (own / name).unlink()
    with pytest.raises(InputError, match=rf"{own}/{name}: No such file or directory; export the run again"):
        script.check_files(own, script.read_exported(own))
    assert export(ExportSettings(trained.directory, own.parent)) == own.parent / "2"


@pytest.mark.usefixtures("unused_networks")
def test_where_the_videos_have_changed_since_it_says_so(own, trained, records, tmp_path, capsys):
    assert export(ExportSettings(trained.directory, own.parent)) == own
    assert "warning" not in capsys.readouterr().out
    table = records.directory / "videos.csv"
    before = table.read_text()
    table.write_text(before.replace(",test,", ",validation,"))
    try:
        assert export(ExportSettings(trained.directory, own.parent)) == own
    finally:
        table.write_text(before)
    said = capsys.readouterr().out
    assert "warning: the model is of the run as it was trained, and the records have changed since: " in said
    assert "other videos or splits (" in said


def test_a_run_in_bfloat16_is_served_in_float32_and_by_default_as_asked(records, tmp_path):
    config = make_config(precision="bfloat16", modalities=("rgb", "depth"))
    folder = make_run(tmp_path / "run", records, config)
    version = export(ExportSettings(folder.directory, tmp_path / "model", "best", ("depth",)))
    signatures, clips = tf.saved_model.load(str(version)).signatures, smooth_clips(40, 40)
    subsets = {"rgb": ("rgb",), "depth": ("depth",), "rgb_depth": ("rgb", "depth"), "serving_default": ("depth",)}
    assert set(signatures) == set(subsets)
    in_bfloat16 = in_memory(folder, clips, subsets, precision=None)
    for name, expected in in_memory(folder, clips, subsets).items():
        served = signatures[name](**{modality: tf.constant(clips[modality]) for modality in subsets[name]})
        assert served["probabilities"].dtype == tf.float32
        np.testing.assert_allclose(served["probabilities"], expected["probabilities"], atol=1e-5)
        difference = np.abs(expected["probabilities"] - in_bfloat16[name]["probabilities"]).max()
        assert 1e-5 < difference < 0.05
    keras.mixed_precision.set_global_policy("float32")


def test_modalities_whose_subsets_would_be_served_by_one_name():
    assert list(script.name_signatures(("rgb", "flow"))) == ["rgb", "flow", "rgb_flow"]
    with pytest.raises(InputError, match="a and b cannot be exported beside a_b, as both would be served as 'a_b'"):
        script.name_signatures(("a", "b", "a_b"))
    with pytest.raises(InputError, match="'serving_default'"):
        script.name_signatures(("rgb", "serving_default"))
    for name in ("the depth", "tiefe_ü", "_rgb", "a/b", "1"):
        with pytest.raises(InputError, match=f"the modality '{name}' cannot name an input"):
            script.name_signatures(("rgb", name))


def test_a_run_of_such_modalities_is_refused_before_anything_is_written(trained, tmp_path):
    folder, run = RunFolder(tmp_path / "run"), trained.load()
    config = dataclasses.replace(run.config, modalities=("a", "b", "a_b"), select_by="sum")
    folder.create_or_match(dataclasses.replace(run, config=config))
    with pytest.raises(InputError, match="train with modalities of other names"):
        export(ExportSettings(folder.directory, tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_default_modalities_that_the_run_has_not(trained, tmp_path):
    with pytest.raises(InputError, match="--default_modalities: the run has no thermal, only rgb, depth, flow"):
        export(ExportSettings(trained.directory, tmp_path / "model", "best", ("rgb", "thermal")))
    with pytest.raises(InputError, match="--default_modalities=rgb,rgb: expected different names"):
        export(ExportSettings(trained.directory, tmp_path / "model", "best", ("rgb", "rgb")))
    assert not (tmp_path / "model").exists()


def test_a_place_that_cannot_be_used(own, trained, tmp_path):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OSError, match="file") as caught:
        export(ExportSettings(trained.directory, tmp_path / "file"))
    assert is_wrong_place(caught.value)  # which scripts print in one line
    with lock(own.parent), pytest.raises(InputError, match=f"{own.parent} is in use by process"):
        export(ExportSettings(trained.directory, own.parent, "last"))


def test_no_run_and_no_checkpoint(trained, tmp_path):
    with pytest.raises(InputError, match=rf"{tmp_path}/none/config\.json: No such file.*expected a run"):
        export(ExportSettings(tmp_path / "none", tmp_path / "model"))
    shutil.copytree(trained.directory, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "best")
    with pytest.raises(InputError, match=f"{tmp_path}/run: no best checkpoint; train the run first"):
        export(ExportSettings(tmp_path / "run", tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_flags(trained, tmp_path, monkeypatch):
    values = parse_flags(script, run_dir="a", export_dir="b", checkpoint="last", default_modalities="rgb,flow")
    assert script.settings_from_flags(values) == ExportSettings(Path("a"), Path("b"), "last", ("rgb", "flow"))
    assert script.settings_from_flags(parse_flags(script, run_dir="a")) == ExportSettings(Path("a"))
    with pytest.raises(InputError, match="--run_dir is missing: expected the folder of a run"):
        script.settings_from_flags(parse_flags(script))
