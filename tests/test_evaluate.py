"""Evaluation of a run: its files, when they are kept, and what does not fit."""

import dataclasses
import shutil

import numpy as np
import pytest
from tiny_run import describe_run, make_config, make_run, parse_flags, save_checkpoint, write_noisy_records

from dmcl_tf import evaluate as script
from dmcl_tf.data.records import decode_video, encode_video, read_record, write_record
from dmcl_tf.data.table import Records
from dmcl_tf.datasets import DATASETS, custom
from dmcl_tf.errors import InputError
from dmcl_tf.evaluate import EvaluateSettings, evaluate
from dmcl_tf.files import lock, write_json
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.runs import checkpoints
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.scoring import results as files
from dmcl_tf.scoring.logits import Evaluator

MODALITIES = ("rgb", "depth")
CONFIG = make_config(modalities=MODALITIES)
FILES = ("results.json", "predictions.csv", "confusion.csv")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return write_noisy_records(tmp_path_factory.mktemp("records"), modalities=MODALITIES)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, records):
    """A run with results, not to be changed, and what `evaluate` returned."""
    directory = tmp_path_factory.mktemp("evaluated") / "run"
    make_run(directory, records, CONFIG)
    return directory, evaluate(EvaluateSettings(directory))


@pytest.fixture
def own(evaluated, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(evaluated[0], tmp_path / "run")


@pytest.fixture
def copied(records, tmp_path):
    """A copy of its records, to be changed."""
    return Records.load(shutil.copytree(records.directory, tmp_path / "copied"))


@pytest.fixture
def unused_networks(monkeypatch):
    """Lets nothing evaluate again."""
    monkeypatch.setattr(checkpoints, "restore_ensemble", None)


def contents(directory):
    return [((directory / name).read_bytes(), (directory / name).stat().st_mtime_ns) for name in FILES]


def test_results_hold_what_was_evaluated(evaluated, records):
    directory, results = evaluated
    assert files.read_results(directory) == results
    of = results.evaluated
    assert (of.dataset, of.origin, of.split, of.videos, of.clips_per_video) == ("custom", "drawn", "test", 7, 10)
    assert (of.checkpoint, of.weights.epoch, of.config) == ("best", 5, CONFIG)
    assert of.splits == RunFolder(directory).load().splits
    assert results.class_names == records.description.class_names
    videos = files.read_predictions(directory, results)
    assert videos.video_ids == [f"test-{k}" for k in range(7)]
    assert videos.labels.tolist() == [k % 6 for k in range(7)]
    assert all(len(set(classes)) > 1 for classes in videos.logits.argmax(axis=2))
    ensemble = checkpoints.restore_ensemble(RunFolder(directory), "best")
    expected = Evaluator(ensemble, records, RunFolder(directory).splits(records), CONFIG)("test")
    np.testing.assert_allclose(videos.logits, expected.logits, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("unused_networks")
def test_results_of_the_same_weights_are_kept(own, evaluated):
    before = contents(own)
    assert evaluate(EvaluateSettings(own)) == evaluated[1]
    assert script.current_results(EvaluateSettings(own)) == evaluated[1]
    assert script.current_results(EvaluateSettings(own, checkpoint="last")) is None
    assert contents(own) == before


def test_results_of_other_weights_are_made_again_even_of_the_same_epoch(own, evaluated, records):
    save_checkpoint(RunFolder(own), records, "best", epoch=5, seed=3)
    results = evaluate(EvaluateSettings(own))
    assert results.evaluated.weights.epoch == 5
    assert results.evaluated.weights.checksum != evaluated[1].evaluated.weights.checksum
    before, after = files.read_predictions(*evaluated), files.read_predictions(own, results)
    assert np.abs(before.logits - after.logits).max() > 0.01


def test_the_other_checkpoint_and_the_other_split(own, evaluated):
    last = evaluate(EvaluateSettings(own, checkpoint="last"))
    assert (last.evaluated.checkpoint, last.evaluated.weights.epoch) == ("last", 7)
    assert last.accuracy != evaluated[1].accuracy
    results_of_last = (own / "results.json").read_bytes()
    validation = evaluate(EvaluateSettings(own, split="validation"))
    assert (validation.evaluated.split, validation.evaluated.videos) == ("validation", 2)
    assert validation.per_class["rgb"]["class 5"] is None  # two videos do not have all six classes
    assert files.read_results(own, "validation") == validation
    assert (own / "results.json").read_bytes() == results_of_last


@pytest.mark.parametrize("name", ["results.json", "confusion.csv"])
def test_a_missing_or_damaged_file_is_made_again(own, evaluated, name):
    expected = (own / name).read_bytes()
    if name == "results.json":
        (own / name).write_text('{"accuracy": ')
    else:
        (own / name).unlink()
    assert evaluate(EvaluateSettings(own)) == evaluated[1]
    assert (own / name).read_bytes() == expected


def test_records_elsewhere(own, evaluated, copied):
    (own / "results.json").unlink()
    assert evaluate(EvaluateSettings(own, copied.directory)) == evaluated[1]


def test_groups_of_test_videos_are_those_of_the_data_set(own, evaluated, copied, monkeypatch):
    """Two test views, for one."""
    monkeypatch.setitem(DATASETS, "custom", dataclasses.replace(custom.DATASET, group="view"))
    table = copied.directory / "videos.csv"
    lines = table.read_text().splitlines()
    views = ["view", *(("3", "4")[line.split(",")[0] in ("test-5", "test-6")] for line in lines[1:])]
    table.write_text("".join(f"{line},{view}\n" for line, view in zip(lines, views)))
    (own / "results.json").unlink()
    results = evaluate(EvaluateSettings(own, copied.directory))
    assert {name: group.videos for name, group in results.groups.items()} == {"view 3": 5, "view 4": 2, "mean": 7}
    assert results.accuracy == evaluated[1].accuracy  # pooled
    assert "view 3 %" in files.table(results)


def test_a_split_without_videos_is_nothing_to_evaluate(tmp_path, capsys):
    """Own data may have no test videos."""
    records = write_noisy_records(tmp_path / "records", videos={"train": 6, "validation": 2}, modalities=("rgb",))
    folder = RunFolder(tmp_path / "run")
    config = make_config(modalities=("rgb",), select_by="rgb")
    folder.create_or_match(describe_run(records, config))
    checkpoints.Checkpoints(folder.directory, make_ensemble(config, 6)).save_best(0)
    settings = EvaluateSettings(folder.directory)
    assert evaluate(settings) is None
    script.show(settings)
    assert capsys.readouterr().out == f"{folder.directory}: there are no test videos, so there is nothing to evaluate\n"
    assert not (folder.directory / "results.json").exists()


def test_no_run_folder(tmp_path):
    with pytest.raises(InputError, match=rf"{tmp_path}/none/config\.json: No such file.*; expected a run of this"):
        evaluate(EvaluateSettings(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_no_checkpoint(own):
    shutil.rmtree(own / "last")
    with pytest.raises(InputError, match=f"{own}: no last checkpoint; train the run first"):
        evaluate(EvaluateSettings(own, checkpoint="last"))


@pytest.mark.parametrize("pattern", ["*.index", "*.data-*"])
def test_a_damaged_checkpoint(own, pattern):
    (file,) = (own / "last").glob(pattern)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=f"{own}/last/.* cannot be restored .*: bring back .*/last, or remove"):
        evaluate(EvaluateSettings(own, checkpoint="last"))


def test_records_that_do_not_fit(own, copied, tmp_path):
    with pytest.raises(InputError, match=rf"{tmp_path}/none/dataset\.json.*make the records with data_prep/make_tfr"):
        evaluate(EvaluateSettings(own, tmp_path / "none"))
    there = copied.directory
    sound = copied.description
    write_json(there / "dataset.json", dataclasses.replace(sound, modalities=("rgb",)))
    with pytest.raises(InputError, match=f"{there}: records of rgb at 40 pixels, but rgb,depth at 40 pixels are ask"):
        evaluate(EvaluateSettings(own, there))
    write_json(there / "dataset.json", dataclasses.replace(sound, class_names=sound.class_names[::-1]))
    with pytest.raises(InputError, match=f"{there}: its classes are not those of {own}; give its own"):
        evaluate(EvaluateSettings(own, there))
    write_json(there / "dataset.json", sound)
    table = there / "videos.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if "test-6" not in line))
    with pytest.raises(InputError, match=rf"{there}: other videos or splits \(.*6 test\) than {own} was trained on"):
        evaluate(EvaluateSettings(own, there))


def test_records_that_are_damaged_or_of_another_video(own, copied):
    """To the last byte, though the networks might not see it."""
    (own / "results.json").unlink()
    path = copied.path(copied.by_id["test-3"])
    whole = path.read_bytes()
    for position in (len(whole) // 2, len(whole) - 1):
        content = bytearray(whole)
        content[position] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{path} is damaged: delete it and run data_prep/make_tfrecords.py"):
            evaluate(EvaluateSettings(own, copied.directory))
    about, frames = decode_video(whole[12:-4])
    write_record(path, encode_video(about, {**frames, "rgb": frames["rgb"][::-1]}))
    with pytest.raises(InputError, match=f"{path} is another record than .*videos.csv says"):
        evaluate(EvaluateSettings(own, copied.directory))
    assert not (own / "results.json").exists()
    assert read_record(path)


def test_logits_that_are_not_finite_are_no_result(own, evaluated, records):
    ensemble = checkpoints.restore_ensemble(RunFolder(own), "best")
    ensemble.networks["depth"].get_layer("logits").bias.assign([np.nan] * 6)
    checkpoints.Checkpoints(own, ensemble).save_best(99)
    with pytest.raises(InputError, match=f"{own}: the networks say nothing finite about test-0"):
        evaluate(EvaluateSettings(own))
    assert files.read_results(own) == evaluated[1]


def test_a_run_in_use(own):
    with lock(own), pytest.raises(InputError, match=f"{own} is in use by process"):
        evaluate(EvaluateSettings(own))


def test_flags():
    values = parse_flags(script, run_dir="a", records="b", split="validation", checkpoint="last")
    settings = script.settings_from_flags(values)
    assert (str(settings.run_dir), str(settings.records)) == ("a", "b")
    assert (settings.split, settings.checkpoint) == ("validation", "last")
    assert script.settings_from_flags(parse_flags(script, run_dir="a")).records is None
    with pytest.raises(InputError, match="--run_dir is missing: expected the folder of a run"):
        script.settings_from_flags(parse_flags(script))
