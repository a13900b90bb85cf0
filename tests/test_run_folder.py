"""A run folder knows its configuration, keeps every digit of its history, and says how far the run is."""

import dataclasses
import json
import zlib

import numpy as np
import pandas as pd
import pytest
from tiny import write_records
from tiny_run import describe_run

from dmcl_tf.config import resolve
from dmcl_tf.errors import InputError
from dmcl_tf.files import write_text
from dmcl_tf.runs.folder import Run, RunFolder, Weights, run_path, training_columns
from dmcl_tf.runs.progress import best_score, done_epochs, identify_checkpoint


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "checkpoints" / "nwucla" / "dmcl" / "run")


def make_run(**changes):
    values = {
        "dataset": "nwucla",
        "records": "data/records",
        "origin": "",
        "class_names": ("walk", "sit"),
        "protocol": {"train_views": [1, 2], "test_view": 3},
        "videos": {"train": 30, "test": 20},
        "splits": "01234567",
        "config": resolve("authors", "compact", {}),
    }
    return Run(**{**values, **changes})


def make_config(**changes):
    return resolve("authors", "compact", changes)


def test_a_run_survives(folder):
    config = make_config(seed=3, decay_epochs=(1, 2))
    run = make_run(config=config, depth={"near": 0.5}, teacher=Weights(4, "ab"))
    folder.create_or_match(run)
    assert folder.load() == run
    written = json.loads(folder.config_path.read_text())
    assert set(written) == {"run", "git_commit", "python", "versions"}
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
        ({"config": make_config(temperature=5.0)}, "temperature: 2.0 there, 5.0 now"),
        (
            {"config": make_config(modalities=("rgb",))},
            "modalities: rgb,depth,flow there, rgb now",
        ),
        ({"config": make_config(seed=1, epochs=3)}, "epochs: 60 there, 3 now; seed: 0 there, 1 now"),
        ({"records": "data/two"}, "records: data/records there, data/two now"),
        (
            {"protocol": {"train_views": [1, 3], "test_view": 2}},
            r"\(protocol: train_views 1,2, test_view 3 there, train_views 1,3, test_view 2 now\)",
        ),
        ({"videos": {"train": 10, "test": 20}}, r"\(videos: train 30, test 20 there, train 10, test 20 now\)"),
        ({"splits": "89abcdef"}, "splits: 01234567 there, 89abcdef now"),
        ({"teacher": Weights(1, "ab")}, "teacher: none there, epoch 1, checksum ab now"),
    ],
)
def test_another_configuration_is_refused_by_the_name_of_its_settings(folder, changes, message):
    folder.create_or_match(make_run())
    with pytest.raises(InputError, match=message) as caught:
        folder.create_or_match(make_run(**changes))
    assert str(folder.directory) in str(caught.value)
    assert "--run_name" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        None,
        '{"config": ',
        "[]",
        '{"config": {"epochs": 3}}',
        '{"run": {"dataset": "../../evil"}}',
        "\udcff",
        "[" * 10000,
    ],
    ids=["missing", "cut off", "list", "old", "crafted", "not UTF-8", "deep"],
)
def test_a_folder_without_or_with_a_damaged_configuration_is_named(folder, content):
    if content is not None:
        folder.directory.mkdir(parents=True)
        folder.config_path.write_text(content, errors="surrogateescape")
    with pytest.raises(InputError, match=r"config\.json.*: expected a run of this version|config\.json.*; expected"):
        folder.load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", "../../evil"),
        ("dataset", 3),
        ("class_names", "walk"),
        ("config", {"epochs": "many"}),
        ("splits", None),
    ],
)
def test_values_of_wrong_type_are_named(folder, name, value):
    folder.create_or_match(make_run())
    record = json.loads(folder.config_path.read_text())
    record["run"][name] = value
    folder.config_path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"config\.json is not what it should be \(.*\): expected a run"):
        folder.load()


@pytest.mark.parametrize("name", ["history.csv", "last", "best"])
def test_files_of_a_run_without_its_configuration_are_not_adopted(folder, name):
    (folder.directory / name).mkdir(parents=True)
    with pytest.raises(InputError, match=f"holds {name}, but no config.json"):
        folder.create_or_match(make_run())
    assert not folder.config_path.exists()


def test_a_run_name_is_no_path():
    config = make_config()
    assert run_path("nwucla", config, None).parts == ("nwucla", "dmcl", "authors-compact-seed0")
    for name in ("../other", "a/b", ".hidden"):
        with pytest.raises(InputError, match="--run_name"):
            run_path("nwucla", config, name)


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


@pytest.mark.parametrize(
    "content", ["", "loss\n1.0\n", "epoch,loss\n0,abc\n", "epoch,loss\nx,1.0\n", "epoch,loss\n,1\n"]
)
def test_a_history_that_is_none(folder, content):
    write_text(folder.history_path, content)
    with pytest.raises(InputError, match=r"history\.csv is no history of a run .*: restore it, or remove"):
        folder.read_history()


CONFIG = make_config(epochs=4, select_by="sum")


def make_rows(epochs, scores):
    trained = dict.fromkeys(training_columns(CONFIG), 1.0)
    return pd.DataFrame({**trained, "epoch": epochs, "validation_sum": np.array(scores, float)})


def write_files(folder, *, rows=0, last=None, best=None, scores=()):
    """A run's files with a history of some epochs, and checkpoints of others as TensorFlow calls them."""
    if rows:
        folder.write_history(make_rows(range(rows), [*scores, *[None] * (rows - len(scores))]))
    for name, epoch in (("last", last), ("best", best)):
        if epoch is not None:
            (folder.directory / name).mkdir(parents=True)
            (folder.directory / name / f"ckpt-{epoch}.index").write_bytes(b"index")
            (folder.directory / name / f"ckpt-{epoch}.data-00000-of-00001").write_bytes(b"data")
            (folder.directory / name / "checkpoint").write_text(
                f'model_checkpoint_path: "ckpt-{epoch}"\nall_model_checkpoint_paths: "ckpt-{epoch}"\n'
                "all_model_checkpoint_timestamps: 1764000000.123\nlast_preserved_timestamp: 1.764e+09\n"
            )


@pytest.mark.parametrize(
    ("files", "done"),
    [
        ({}, 0),
        ({"best": 0}, 0),  # killed in the first epoch after its best checkpoint
        ({"best": 0, "rows": 1, "scores": [50]}, 0),  # and after its history
        ({"best": 0, "rows": 1, "scores": [50], "last": 0}, 1),
        ({"best": 1, "rows": 1, "scores": [50], "last": 0}, 1),  # killed in the second after its best checkpoint
        ({"best": 1, "rows": 2, "scores": [50, 60], "last": 0}, 1),
        ({"best": 0, "rows": 3, "scores": [60, None, 50], "last": 2}, 3),
        ({"best": 2, "rows": 4, "scores": [50, 60, 70, 65], "last": 3}, 4),  # finished
        ({"rows": 2, "last": 1}, 2),  # there are no validation videos
        ({"rows": 4, "last": 3, "best": 3}, 4),
    ],
)
def test_epochs_that_are_complete(folder, files, done):
    write_files(folder, **files)
    assert done_epochs(folder, CONFIG) == done


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"rows": 4, "best": 2, "scores": [1, 2, 3, 0]}, "no last checkpoint, but history.csv has 4 epochs"),
        ({"rows": 2, "best": 1, "scores": [1, 2]}, "no last checkpoint, but history.csv has 2 epochs"),
        ({"last": 3, "best": 2}, "a last checkpoint of epoch 4, but history.csv has no epochs"),
        ({"last": 2, "best": 2, "rows": 2, "scores": [1, 2]}, "of epoch 3, but history.csv has 2 epochs"),
        ({"last": 0, "best": 2, "rows": 4, "scores": [1, 2, 3, 0]}, "of epoch 1, but history.csv has 4 epochs"),
        ({"last": 1, "rows": 2, "scores": [1, 2]}, "of epoch 2, but there is no best checkpoint"),
        ({"last": 3, "rows": 4}, "of epoch 4, but there is no best checkpoint"),
        ({"last": 1, "best": 3, "rows": 2, "scores": [1, 2]}, "but the best checkpoint is of epoch 4"),
        ({"best": 3}, "no last checkpoint, but the best checkpoint is of epoch 4"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(folder, files, message):
    write_files(folder, **files)
    with pytest.raises(
        InputError, match=f"{folder.directory}: the files of this run .*: there is .*{message}; restore"
    ):
        done_epochs(folder, CONFIG)


SEVERAL = dataclasses.replace(CONFIG, save_every=2)


@pytest.mark.parametrize(
    ("files", "done"),
    [
        ({"best": 1}, 0),  # killed in the second epoch, the first to be saved after
        ({"best": 1, "rows": 2, "scores": [50, 60]}, 0),
        ({"best": 3, "rows": 2, "scores": [50, 60], "last": 1}, 2),
        ({"best": 1, "rows": 3, "scores": [50, 60, 55], "last": 1}, 2),  # saved inside the fourth epoch
        ({"best": 3, "rows": 4, "scores": [50, 60, 55, 70], "last": 1}, 2),
    ],
)
def test_epochs_that_are_complete_where_several_make_a_save(folder, files, done):
    write_files(folder, **files)
    assert done_epochs(folder, SEVERAL) == done


@pytest.mark.parametrize("files", [{"best": 2}, {"rows": 3}, {"best": 0, "rows": 4, "scores": [9], "last": 0}])
def test_files_that_are_further_apart_than_two_saves_are_refused(folder, files):
    write_files(folder, **files)
    with pytest.raises(InputError, match="the files of this run do not belong together"):
        done_epochs(folder, SEVERAL)


def test_a_run_of_one_epoch_that_lost_its_last_checkpoint_is_refused(folder):
    write_files(folder, rows=1, best=0, scores=[50])
    with pytest.raises(InputError, match=r"there is no last checkpoint, but history\.csv has 1 epoch; restore"):
        done_epochs(folder, make_config(epochs=1, select_by="sum"))


def test_a_history_with_gaps_is_refused(folder):
    write_files(folder, last=2, best=0)
    folder.write_history(make_rows([0, 2, 1], [1, 1, 1]))
    with pytest.raises(InputError, match=r"history\.csv has others than the epochs 1, 2, 3"):
        done_epochs(folder, CONFIG)


def test_a_history_that_lost_a_column_is_refused(folder):
    write_files(folder, last=1, best=0)
    folder.write_history(make_rows([0, 1], [1, 1]).drop(columns=["rgb_wins", "flow_loss"]))
    with pytest.raises(InputError, match=r"history\.csv is no history of a run \(no column flow_loss, rgb_wins\): res"):
        done_epochs(folder, CONFIG)


@pytest.mark.parametrize(
    "state",
    [
        None,
        "",
        "model_checkpoint",
        'model_checkpoint_path: "ckpt-',
        'all_model_checkpoint_paths: "ckpt-3"\n',
        'model_checkpoint_path: "ckpt-2"\n',
        'model_checkpoint_path: "../../../other/last/ckpt-3"\n',
        'model_checkpoint_path: "/other/last/ckpt-3"\n',
        'model_checkpoint_path: "ckpt-3"\nall_model_checkpoint_paths: "/other/ckpt-1"\n',
        b"\xff\xfe",
    ],
)
def test_a_finished_run_without_a_sound_state_is_never_trained_again(folder, state):
    """The file `checkpoint` is missing, cut off, misspelt, of another checkpoint, or points elsewhere."""
    write_files(folder, rows=4, last=3, best=2, scores=[1, 2, 3, 0])
    path = folder.directory / "last" / "checkpoint"
    if state is None:
        path.unlink()
    else:
        path.write_bytes(state if isinstance(state, bytes) else state.encode())
    for ask in (lambda: done_epochs(folder, CONFIG), lambda: identify_checkpoint(folder, "last")):
        with pytest.raises(InputError, match=f"{path} is damaged .*: restore {path.parent}, or remove"):
            ask()
    path.rename(path.with_name("chekpoint")) if path.exists() else None
    with pytest.raises(InputError, match=f"{path} is damaged .it is missing, but ckpt-3.data-00000-of-00001 is there"):
        done_epochs(folder, CONFIG)


def test_a_checkpoint_is_known_by_its_epoch_and_weights(folder):
    write_files(folder, rows=4, last=3, best=2, scores=[1, 2, 3, 0])
    assert identify_checkpoint(folder, "best") == Weights(2, _crc(b"index"))
    (folder.directory / "best" / "ckpt-2.index").write_bytes(b"other")
    assert identify_checkpoint(folder, "best") == Weights(2, _crc(b"other"))
    with pytest.raises(InputError, match=f"{folder.directory / 'x'}: no last checkpoint; train the run first"):
        identify_checkpoint(RunFolder(folder.directory / "x"), "last")


def _crc(content):
    return f"{zlib.crc32(content):08x}"


def test_the_best_score_is_that_of_the_history():
    history = pd.DataFrame(
        {"epoch": range(3), "validation_sum": [50.0, np.nan, 40.0], "validation_oracle": [1, 2, 3.0]}
    )
    assert best_score(history, CONFIG) == 50.0
    assert best_score(history[1:2], CONFIG) == -1.0
    assert best_score(history, dataclasses.replace(CONFIG, select_by="oracle")) == 3.0
    assert best_score(pd.DataFrame(), CONFIG) == -1.0


def test_splits_are_those_of_the_run_on_any_copy_of_its_records(tmp_path):
    settings = {"modalities": ("rgb",), "lengths": (9,), "size": 16}
    records = write_records(tmp_path / "records", {"train": 3, "test": 2}, **settings)
    run = describe_run(records, make_config())
    folder = RunFolder(tmp_path / "run")
    folder.create_or_match(run)
    assert [video.video_id for video in folder.splits(records).test] == ["test-0", "test-1"]
    more = write_records(tmp_path / "more", {"train": 3, "test": 3}, **settings)
    with pytest.raises(InputError, match=r"more: other videos or splits \(.*3 test\) than .*/run was .*2 test\); give"):
        folder.splits(more)
    fewer = write_records(tmp_path / "fewer", {"train": 3, "test": 2}, classes=2, **settings)
    with pytest.raises(InputError, match=r"fewer: its classes are not those of .*/run; give its own --records"):
        folder.splits(fewer)
    videos = [dataclasses.replace(video, label="walk around") for video in records.videos]
    unseen = dataclasses.replace(
        records, videos=tuple(videos), description=dataclasses.replace(records.description, dataset="nwucla")
    )
    nwucla = RunFolder(tmp_path / "nwucla")
    nwucla.create_or_match(dataclasses.replace(run, dataset="nwucla", protocol={"test_view": 3}))
    with pytest.raises(InputError, match=r"config\.json: its protocol .* does not fit the videos of .* \('view'\)"):
        nwucla.splits(unseen)
    other = RunFolder(tmp_path / "other")
    other.create_or_match(dataclasses.replace(run, protocol={"colour": 1}))
    with pytest.raises(InputError, match="--colour: custom has no such setting"):
        other.splits(records)
