"""The flags of the training command, what they make of its settings, and what it refuses before there is a folder."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from tiny import split, write_records

from dmcl_tf import flag_groups, train
from dmcl_tf.config import Config, resolve
from dmcl_tf.datasets import DATASETS
from dmcl_tf.errors import InputError
from dmcl_tf.files import lock
from dmcl_tf.registry import METHODS
from dmcl_tf.runs.folder import Run, RunFolder

ROOT = Path(__file__).parents[1]


def define():
    values = flags.FlagValues()
    flag_groups.define(train.FLAG_GROUPS, values)
    return values


def settings_of(*arguments, **options):
    values = define()
    values(["train", *arguments])
    return train.settings_from_flags(values, **options)


def config_of(*arguments):
    return settings_of("--dataset=nwucla", *arguments).config


def test_without_flags_the_authors_recipe_at_full_size():
    assert config_of() == Config()


def test_every_setting_has_a_flag_with_help():
    values = define()
    for field in dataclasses.fields(Config):
        assert field.metadata["help"] in values[field.name].help
        for choice in field.metadata["choices"] or ():
            assert choice in values[field.name].help
    assert {"records", "checkpoints", "run_name", "lambda", "dataset", "train_views", "validation"} <= set(values)


def test_help_explains_every_method_without_waiting_for_tensorflow():
    code = "import sys; from dmcl_tf import train; print(train.__doc__); print('tensorflow' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = shown.splitlines()
    assert lines[-1] == "False"
    for name, method in METHODS.items():
        assert [name, *method.help.split()] in [line.split() for line in lines]


def test_settings_of_a_data_set(tmp_path):
    settings = settings_of("--dataset=demo", "--train_views=3,1", "--test_view=2", "--epochs=7", data_root=tmp_path)
    demo = DATASETS["demo"]
    assert settings.config == resolve("paper", "compact", {**demo.defaults, "epochs": 7})
    assert settings.records == tmp_path / "demo" / "records" / "56"
    assert settings.protocol == demo.protocol({"train_views": [1, 3], "test_view": 2})
    assert settings.directory == Path("checkpoints/demo/dmcl/paper-compact-seed0")
    given = settings_of(
        "--dataset=ntu60", "--scale=compact", "--checkpoints=runs", "--run_name=mine", "--frame_size=96"
    )
    assert given.records == Path("data/ntu/records/96")
    assert given.directory == Path("runs/ntu60/dmcl/mine")
    assert settings_of().dataset == "demo"


def test_modalities_are_those_of_the_flag_the_caller_the_data_set_or_the_records(tmp_path):
    assert config_of("--modalities=rgb").modalities == ("rgb",)
    assert settings_of("--modalities=rgb", modalities=("depth",)).config.modalities == ("rgb",)
    assert settings_of(modalities=("depth",)).config.modalities == ("depth",)
    assert settings_of("--dataset=nwucla").config.modalities == ("rgb", "depth", "flow")
    write_records(tmp_path / "custom" / "records" / "80", {"train": 3}, modalities=("sound", "rgb"), size=16)
    own = settings_of("--dataset=custom", "--scale=compact", "--select_by=sound", data_root=tmp_path)
    assert own.config.modalities == ("sound", "rgb")
    named = settings_of(f"--records={tmp_path / 'custom' / 'records' / '80'}")
    assert (named.dataset, named.config.modalities) == ("custom", ("sound", "rgb"))
    with pytest.raises(InputError, match=r"custom/records/256/dataset\.json.*make_tfrecords\.py"):
        settings_of("--dataset=custom", data_root=tmp_path)


# a flag of each type, and what it becomes
@pytest.mark.parametrize(
    ("flag", "setting", "value"),
    [
        ("--epochs=7", "epochs", 7),
        ("--temperature=5", "temperature", 5.0),
        ("--negate_flow", "negate_flow", True),
        ("--noscale_by_temperature_squared", "scale_by_temperature_squared", False),
        ("--optimizer=lamb", "optimizer", "lamb"),
        ("--modalities=rgb,depth", "modalities", ("rgb", "depth")),
        ("--modalities=RGB, Depth", "modalities", ("rgb", "depth")),
        ("--decay_epochs=3,5", "decay_epochs", (3, 5)),
        ("--decay_epochs=", "decay_epochs", ()),
        ("--weight_decay=0", "weight_decay", 0.0),
        ("--method=cmcl_stochastic", "method", "cmcl_stochastic"),
        ("--beta=0.5", "beta", 0.5),
        ("--train_fraction=0.25", "train_fraction", 0.25),
    ],
)
def test_given_flags_go_before_recipe_and_scale(flag, setting, value):
    config = config_of("--recipe=paper", "--scale=compact", flag)
    assert config == dataclasses.replace(resolve("paper", "compact", {}), **{setting: value})


def test_lambda_sets_both_weights():
    config = config_of("--recipe=paper", "--lambda=0.25")
    assert (config.loser_ground_truth_weight, config.distillation_weight) == (0.75, 0.25)
    taught = config_of("--method=generalized_distillation", "--teacher_run=run", "--lambda=0.25")
    assert (taught.loser_ground_truth_weight, taught.distillation_weight) == (0.75, 0.25)
    given = config_of("--lambda=0.25", "--distillation_weight=2")
    assert (given.loser_ground_truth_weight, given.distillation_weight) == (0.75, 2.0)


def test_the_folder_of_a_teacher_has_one_name():
    written = ("runs/tiny/teacher", "runs/tiny/teacher/", f"{os.getcwd()}/runs/tiny/teacher")
    for path in written:
        config = config_of("--method=generalized_distillation", f"--teacher_run={path}", "--teacher_modalities=depth")
        assert (config.teacher_run, config.teacher_modalities) == ("runs/tiny/teacher", ("depth",))


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--method=dmlc", r"--method=dmlc: expected one of .*; did you mean dmcl\?"),
        ("--recipe=authers", r"--recipe=authers: expected one of authors, paper; did you mean authors\?"),
        ("--scale=kompact", r"--scale=kompact: .*did you mean compact\?"),
        ("--lambda=1.5", r"--lambda=1\.5: expected a value from 0 to 1"),
        ("--decay_epochs=3,x", r"--decay_epochs=3,x: expected whole numbers separated by commas"),
        ("--select_by=depht", r"--select_by=depht: .*did you mean depth\?"),
        ("--crop_size=512", r"--crop_size=512 exceeds --frame_size=256"),
    ],
)
def test_impossible_values_are_named(flag, message):
    with pytest.raises(InputError, match=message):
        config_of(flag)


def test_an_unknown_flag_and_a_value_of_another_type_are_named():
    with pytest.raises(flags.UnrecognizedFlagError, match=r"temprature.*Did you mean: temperature"):
        config_of("--temprature=2")
    with pytest.raises(flags.IllegalFlagValueError, match="epochs=many"):
        config_of("--epochs=many")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    videos = {"train": 4, "validation": 1, "test": 1}
    return write_records(tmp_path_factory.mktemp("records"), videos, modalities=("rgb", "depth"), lengths=(9, 12))


@pytest.fixture
def run(records, tmp_path):
    """`run(flag, …)` trains on records of four videos; runs go to `tmp_path / "checkpoints"`."""
    places = [f"--records={records.directory}", f"--checkpoints={tmp_path / 'checkpoints'}"]
    settings = ["--frame_size=48", "--crop_size=32", "--batch_size=2", "--variant=testing"]
    return lambda *arguments: train.train(settings_of(*places, *settings, *arguments))


def test_another_configuration_in_the_same_folder_is_refused(run, records, tmp_path):
    folder = RunFolder(tmp_path / "checkpoints" / "custom" / "dmcl" / "authors-full-seed0")
    counts = split(records).counts()
    folder.create_or_match(Run("custom", "elsewhere", "drawn", ("walk",), {}, counts, "", Config(batch_size=2)))
    with pytest.raises(
        InputError, match=r"authors-full-seed0 holds a run of another .*temperature: 2\.0 there, 5\.0 now"
    ):
        run("--temperature=5")


def test_a_run_that_another_process_trains_is_refused(run, tmp_path):
    directory = tmp_path / "checkpoints" / "custom" / "dmcl" / "mine"
    with lock(directory), pytest.raises(InputError, match=rf"mine is in use by process {os.getpid()} on "):
        run("--run_name=mine")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--batch_size=50", "4 training videos are fewer than --batch_size=50"),
        ("--clip_frames=10", r"--clip_frames=10: train-0 has 9 frames; choose shorter clips"),
        ("--modalities=rgb,flow", "records of rgb,depth at 48 pixels, but rgb,flow at 48 pixels are asked for"),
        ("--frame_size=80", "but rgb,depth at 80 pixels are asked for"),
        ("--dataset=nwucla", "holds records of custom, not of nwucla"),
        ("--run_name=../up", r"--run_name '\.\./up' cannot name a folder"),
    ],
)
def test_what_does_not_fit_the_records_leaves_no_folder_behind(run, tmp_path, flag, message):
    with pytest.raises(InputError, match=message):
        run(flag)
    assert not (tmp_path / "checkpoints").exists()


def test_missing_records_are_named(run, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.dataset\.json.*make_tfrecords\.py"):
        run(f"--records={tmp_path / 'nowhere'}")
