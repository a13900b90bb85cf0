"""The flags of the training script and what they make of a configuration."""

import dataclasses
import os
import re
from pathlib import Path

import pytest
from absl import flags
from tiny import write_records

from dmcl_tf import train
from dmcl_tf.config import Config, resolve
from dmcl_tf.errors import InputError
from dmcl_tf.methods import OBJECTIVES
from dmcl_tf.runs.folder import Run, RunFolder

ROOT = Path(__file__).parents[1]


def parse(*arguments):
    flag_values = flags.FlagValues()
    train.define_flags(flag_values)
    flag_values(["train", *arguments])
    return flag_values


def config_of(*arguments):
    return train.config_from_flags(parse(*arguments))


def test_without_flags_the_authors_recipe_at_full_size():
    assert config_of() == Config()


def test_every_setting_has_a_flag_with_help():
    flag_values = flags.FlagValues()
    train.define_flags(flag_values)
    for field in dataclasses.fields(Config):
        assert field.metadata["help"] in flag_values[field.name].help
        for choice in field.metadata["choices"] or ():
            assert choice in flag_values[field.name].help
    assert {"records", "checkpoints", "run_name", "lambda"} <= set(flag_values)


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


def test_every_method_is_explained():
    for name in OBJECTIVES:
        assert re.search(rf"^  {name}  +\S", train.__doc__, re.MULTILINE), name
        assert re.search(rf"^      {name}  +\S", (ROOT / "run.sh").read_text(), re.MULTILINE), name


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


@pytest.fixture
def run_main(tmp_path, monkeypatch):
    """`run_main(flag, …)` runs the script on records of four training videos; runs go to `tmp_path / "checkpoints"`."""
    info = write_records(tmp_path / "records", {"train": 4, "test": 1}, modalities=("rgb", "depth"))
    places = [f"--records={info.directory}", f"--checkpoints={tmp_path / 'checkpoints'}"]
    settings = ["--modalities=rgb,depth", "--frame_size=48", "--crop_size=32", "--batch_size=2"]

    def run(*arguments):
        monkeypatch.setattr(flags, "FLAGS", parse(*places, *settings, *arguments))
        train.main()

    return run


def test_another_configuration_in_the_same_folder_is_refused(run_main, tmp_path):
    folder = RunFolder(tmp_path / "checkpoints" / "tiny" / "dmcl" / "authors-paper-seed0")
    folder.create_or_match(Run("tiny", "elsewhere", ("walk",), Config(batch_size=2)))
    with pytest.raises(
        InputError, match=r"authors-paper-seed0 holds a run of another .*temperature: 2\.0 there, 5\.0 now"
    ):
        run_main("--temperature=5")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--batch_size=50", "4 training videos are fewer than --batch_size=50"),
        ("--clip_frames=4", "clips have 8 frames, but --clip_frames=4"),
        ("--modalities=rgb,flow", "records of rgb,depth at 48 pixels, but rgb,flow"),
    ],
)
def test_a_setting_that_does_not_fit_the_records_leaves_no_folder_behind(run_main, tmp_path, flag, message):
    with pytest.raises(InputError, match=message):
        run_main(flag)
    assert not (tmp_path / "checkpoints").exists()


def test_missing_records_are_named(run_main, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.dataset\.json.*make_tfrecords\.py"):
        run_main(f"--records={tmp_path / 'nowhere'}")
