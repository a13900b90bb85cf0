"""A run folder knows its configuration and keeps every digit of its history."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from dmcl_tf.config import resolve
from dmcl_tf.errors import InputError
from dmcl_tf.runs.folder import Run, RunFolder, write_text


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "checkpoints" / "tiny" / "dmcl" / "run")


def make_run(records="data/records", **changes):
    return Run("tiny", records, ("walk", "sit"), resolve("authors", "compact", changes))


def test_a_run_survives(folder):
    run = make_run(seed=3, decay_epochs=(1, 2))
    folder.create_or_match(run)
    assert folder.load() == run
    written = json.loads(folder.config_path.read_text())
    expected = {"dataset", "records", "protocol", "videos", "class_names", "config", "teacher", "depth"}
    expected |= {"git_commit", "python", "versions"}
    assert set(written) == expected
    assert written["versions"]["numpy"] == np.__version__
    assert [path.name for path in folder.directory.iterdir()] == ["config.json"]


def test_the_same_configuration_is_accepted_and_the_file_left_alone(folder):
    folder.create_or_match(make_run())
    before = folder.config_path.read_bytes()
    folder.create_or_match(make_run())
    assert folder.config_path.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 5.0}, "temperature: 2.0 there, 5.0 now"),
        ({"modalities": ("rgb",)}, r"modalities: \['rgb', 'depth', 'flow'\] there, \['rgb'\] now"),
        ({"seed": 1, "epochs": 3}, "epochs: 60 there, 3 now; seed: 0 there, 1 now"),
    ],
)
def test_another_configuration_is_refused_by_the_name_of_its_settings(folder, changes, message):
    folder.create_or_match(make_run())
    with pytest.raises(InputError, match=message) as caught:
        folder.create_or_match(make_run(**changes))
    assert str(folder.directory) in str(caught.value)
    assert "--run_name" in str(caught.value)


def test_other_records_are_refused(folder):
    folder.create_or_match(make_run("data/one"))
    with pytest.raises(InputError, match=r"records: data/one there, data/two now"):
        folder.create_or_match(make_run("data/two"))


def test_records_of_another_split_in_the_same_folder_are_refused(folder):
    split = {"protocol": {"train_views": [1, 2], "test_view": 3}, "videos": {"train": 30, "test": 20}}
    run = dataclasses.replace(make_run(), **split)
    folder.create_or_match(run)
    folder.create_or_match(run)
    for changes in ({"protocol": {"train_views": [1, 3], "test_view": 2}}, {"videos": {"train": 10, "test": 20}}):
        (name,) = changes
        with pytest.raises(InputError, match=rf"another configuration \({name}: .* there, .* now\)"):
            folder.create_or_match(dataclasses.replace(run, **changes))


def test_a_run_of_a_version_that_did_not_record_the_split_continues(folder):
    folder.create_or_match(make_run())
    record = json.loads(folder.config_path.read_text())
    del record["protocol"], record["videos"]
    write_text(folder.config_path, json.dumps(record))
    folder.create_or_match(dataclasses.replace(make_run(), protocol={"test_view": 3}, videos={"train": 30}))
    assert folder.load().protocol is None


def test_a_folder_without_or_with_a_damaged_configuration_is_named(folder):
    with pytest.raises(InputError, match=r"config\.json does not exist: expected a run"):
        folder.load()
    write_text(folder.config_path, '{"config": ')
    with pytest.raises(InputError, match=r"config\.json is not JSON"):
        folder.load()
    write_text(folder.config_path, '{"config": {"epochs": 3}}')
    with pytest.raises(InputError, match=r"config\.json: .*expected the settings of a run of this version"):
        folder.load()


def test_history_keeps_every_digit(folder):
    assert folder.read_history().empty
    random = np.random.RandomState(0)
    rows = pd.DataFrame({"epoch": range(500), "loss": random.rand(500) / 3, "validation_sum": random.rand(500) * 100})
    rows.loc[1::2, "validation_sum"] = np.nan
    folder.write_history(rows)
    once = folder.history_path.read_bytes()
    pd.testing.assert_frame_equal(folder.read_history(), rows, check_exact=True)
    folder.write_history(folder.read_history())
    assert folder.history_path.read_bytes() == once


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "results.json"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
