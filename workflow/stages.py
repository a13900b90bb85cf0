"""The stages of a data set in turn: prepare, train, evaluate, export; each skips what is already complete.

The command line is parsed once. Each stage gets its own settings, a dataclass, and a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from absl import flags

from data_prep import earlier, make_tfrecords
from dmcl_tf import evaluate, export, train
from dmcl_tf.data.table import Records
from dmcl_tf.datasets.base import in_words
from dmcl_tf.errors import InputError
from dmcl_tf.evaluate import EvaluateSettings
from dmcl_tf.flag_groups import define, given_config
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.train import TrainSettings
from workflow import command_line
from workflow.processes import call

if TYPE_CHECKING:
    from workflow.matrix import Experiment


STAGES: dict[str, Callable] = {
    "prepare": make_tfrecords.make_records,
    "train": train.train,
    "evaluate": evaluate.show,
    "export": export.show,
}
# what needs nothing but a run, where one is named
_OF_A_RUN = {"evaluate": evaluate.settings_from_flags, "export": export.settings_from_flags}
FLAG_GROUPS = (
    *make_tfrecords.FLAG_GROUPS,
    *train.FLAG_GROUPS,
    *evaluate.FLAG_GROUPS,
    *export.FLAG_GROUPS,
)


@dataclass(frozen=True)
class Pipeline:
    """The settings of every stage of one run."""

    prepare: make_tfrecords.RecordSettings
    train: TrainSettings
    evaluate: EvaluateSettings
    export: export.ExportSettings


def train_and_evaluate(run: Pipeline | Experiment) -> None:
    """Both stages of a run in one process, which imports TensorFlow once."""
    STAGES["train"](run.train)
    STAGES["evaluate"](run.evaluate)


def parse(dataset: str, arguments: Sequence[str]) -> flags.FlagValues:
    """The flags of all stages.

    Raises:
        InputError: an unknown flag or an impossible value.
    """
    return command_line.parse(define(FLAG_GROUPS, flags.FlagValues()), [f"--dataset={dataset}", *arguments])


def make_pipeline(values: flags.FlagValues) -> Pipeline:
    """The settings of every stage, the folders of one handed to the next.

    Raises:
        InputError: an impossible value.
    """
    prepare = make_tfrecords.settings_from_flags(values, data_root=command_line.data_root())
    training = train.settings_from_flags(values, modalities=prepare.modalities, data_root=command_line.data_root())
    if values["run_dir"].value is None:
        values["run_dir"].value = str(training.directory)
        values["records"].value = str(prepare.records)  # where they are now; a run that is named knows its own
    return Pipeline(prepare, training, evaluate.settings_from_flags(values), export.settings_from_flags(values))


def check_no_run_is_named(values: flags.FlagValues) -> None:
    """Checks that what is to be trained is not evaluated elsewhere.

    Raises:
        InputError: `--run_dir` is given.
    """
    if values["run_dir"].value is not None:
        raise InputError(
            f"--run_dir={values['run_dir'].value}: it names the run that is evaluated or exported; training goes to "
            "<checkpoints>/<data set>/<method>/<run_name>: give --checkpoints and --run_name"
        )


def check_table(prepare: make_tfrecords.RecordSettings) -> None:
    """Checks that the records that are there are those of the CSV file, where one lists the videos.

    Raises:
        InputError: they are of another file or of an earlier state of it, or there are none.
    """
    listed = prepare.raw.reader().listed
    if listed:
        whole = not prepare.limit and prepare.part is None
        earlier.check_listed(Records.load(prepare.records), listed, prepare.raw.source, whole=whole)


def check_trained(values: flags.FlagValues, training: train.TrainSettings) -> None:
    """Checks that the run that is there was trained with the settings that are given: no other run is meant silently.

    Raises:
        InputError: it was not; the message names the setting and both values.
    """
    folder = RunFolder(training.directory)
    if not folder.config_path.exists():
        return  # the stage that needs it says so
    run, given = folder.load(), given_config(values)  # --lambda stands for two settings
    there = {**asdict(run.config), **run.protocol}
    for name, value in {**asdict(training.config), **training.protocol}.items():
        is_given = name in given or (name in values and values[name].present)
        if is_given and in_words(value) != in_words(there.get(name)):
            flag = f"lambda ({name})" if name in given and values[name].value is None else name
            raise InputError(
                f"--{flag}: {training.directory} was trained with {in_words(there.get(name))}, not {in_words(value)}; "
                "leave the flag out, or name the run that is meant with --run_name or --run_dir"
            )


def main(dataset: str, arguments: Sequence[str]) -> int:
    """Runs the stages, or the one that is named first; returns the exit status of the first that failed, else 0."""
    stages, rest = list(STAGES), list(arguments)
    if rest and not rest[0].startswith("-"):
        if rest[0] not in STAGES:
            raise InputError(f"unknown stage {rest[0]!r}: expected one of {', '.join(STAGES)}")
        stages = [rest.pop(0)]
    if command_line.asks_for_help(rest):
        command_line.print_help(_help(dataset, stages), define(FLAG_GROUPS, flags.FlagValues()))
        return 0
    values = parse(dataset, rest)
    default_run = values["run_dir"].value is None
    if "train" in stages:
        check_no_run_is_named(values)
    settings: dict[str, Any]
    if stages[0] in _OF_A_RUN and not default_run:
        settings = {stages[0]: _OF_A_RUN[stages[0]](values)}
    else:
        settings = vars(make_pipeline(values))
        if stages[0] in _OF_A_RUN:
            check_trained(values, settings["train"])
    for stage in stages:
        print(f"\n== {dataset}: {stage} ==", flush=True)
        if stage == "train":
            check_table(settings["prepare"])
        failure = call(STAGES[stage], settings[stage])
        if failure:
            return failure.status
    return 0


def _help(dataset: str, stages: Sequence[str]) -> str:
    modules = {"prepare": make_tfrecords, "train": train, "evaluate": evaluate, "export": export}
    texts = [f"{stage}: {modules[stage].__doc__}" for stage in stages]
    return "\n".join([f"bash run.sh {dataset} [{'|'.join(STAGES)}] [flags]\n", *texts])
