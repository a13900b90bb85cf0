"""Runs a matrix of experiments, methods × seeds, and reports on it: `bash run.sh experiments [flags]`.

Every run is trained and evaluated by the code that does it alone. What is complete is skipped, what was interrupted is
continued, and a run that fails is listed at the end while the others go on. The command can be stopped at any time: the
first seed's runs come first, so that what is there can be compared. Flags of preparation, training and evaluation go
to all runs; the scale is compact unless --scale=full is given. A finished run is copied without its weights to
<results>/runs/<method>/<run>/, which is what belongs under version control, and a copy of the same configuration
counts as complete where the run itself is not at hand.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from absl import flags
from tqdm import tqdm

from data_prep import make_tfrecords
from dmcl_tf import report
from dmcl_tf.datasets import find_dataset
from dmcl_tf.datasets.base import in_words
from dmcl_tf.errors import InputError
from dmcl_tf.flag_groups import define, given_config, modality_names
from dmcl_tf.runs.stages import OF_SOME
from dmcl_tf.scoring.results import read_results
from workflow import command_line, stages
from workflow.matrix import BASELINE, PUBLISHED, Experiment, Matrix, Selection, check_entries, default_methods
from workflow.processes import call
from workflow.states import describe, find_state, find_states, load_records, publish, slim_path

SET_BY_MATRIX = ("method", "seed", "train_fraction", "run_name", "run_dir", "teacher_run", "initial_weights", "split")
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"


def matrix_flags(values: flags.FlagValues) -> None:
    """The flags of the matrix itself."""
    lists = {
        "methods": (None, "what is trained: methods, or method:recipe; default: every method, and dmcl:paper"),
        "seeds": ("0,1,2", "seeds, one run of a method for each"),
        "all_seeds": (
            None,
            f"methods that run with every seed, others with the first; default: those of --methods, else {PUBLISHED}",
        ),
        "train_fractions": ("1,0.5,0.25", "shares of the training videos"),
        "all_fractions": (f"{BASELINE},dmcl", "methods that run with every share, the others with all videos"),
    }
    for name, (default, text) in lists.items():
        flags.DEFINE_list(name, default, text, flag_values=values)
    flags.DEFINE_string("student", "rgb", "modality that learns where others teach it", flag_values=values)
    text = "folder of the report and of the slim copies; default: reports/<dataset>"
    flags.DEFINE_string("results", None, text, flag_values=values)
    text = "print the runs, how far each is and what work is left, and do nothing"
    flags.DEFINE_boolean("dry_run", False, text, flag_values=values)


FLAG_GROUPS = (matrix_flags, *stages.FLAG_GROUPS)


def parse(arguments: Sequence[str]) -> flags.FlagValues:
    """The flags of the matrix and of all its runs.

    Raises:
        InputError: for an unknown flag or an impossible value.
    """
    values = command_line.parse(define(FLAG_GROUPS, flags.FlagValues()), arguments)
    for name in SET_BY_MATRIX:
        if values[name].present:
            raise InputError(f"--{name}: the matrix sets it for each run; see --methods, --seeds, --train_fractions")
    values["dataset"].value = values["dataset"].value or "nwucla"
    values["scale"].value = values["scale"].value or "compact"
    return values


def make_selection(values: flags.FlagValues) -> Selection:
    """The matrix that the flags select.

    Raises:
        InputError: for an impossible value.
    """
    methods = tuple(values.methods) if values.methods is not None else default_methods()
    for name, entries in (
        ("methods", methods),
        ("all_seeds", values.all_seeds),
        ("all_fractions", values.all_fractions),
    ):
        check_entries(name, entries or ())
    return Selection(
        methods=methods,
        every_seed=tuple(values.all_seeds or values.methods or PUBLISHED.split(",")),
        seeds=_numbers("seeds", values.seeds, int),
        fractions=_numbers("train_fractions", values.train_fractions, float),
        every_fraction=tuple(values.all_fractions),
        teachers=modality_names(values.teacher_modalities or ()),
        student=modality_names([values.student])[0],
    )


def _numbers(name: str, values: Sequence[str], kind: type) -> tuple:
    try:
        return tuple(dict.fromkeys(kind(value) for value in values))
    except ValueError:
        raise InputError(f"--{name}={','.join(values)}: expected numbers separated by commas") from None


def run_all(experiments: Sequence[Experiment], runs: Path) -> dict[str, str]:
    """Makes what is not complete, one run after another; returns the reasons of the runs that failed by label."""
    states = find_states(experiments, runs)
    failed: dict[str, str] = {}
    costs = [0.0 if state.complete else run.work(state.epochs) for run, state in zip(experiments, states)]
    total = sum(experiment.work() for experiment in experiments)
    options = {"smoothing": 0, "miniters": 0, "dynamic_ncols": True, "bar_format": _BAR}
    with tqdm(total=total, initial=total - sum(costs), **options) as progress:
        for number, (experiment, state, cost) in enumerate(zip(experiments, states, costs), 1):
            if state.complete:
                continue
            progress.set_description_str(f"run {number} of {len(experiments)}, {experiment.label}")
            print(file=sys.stderr, flush=True)  # the run's own bar goes below
            needed = [source.label for source in experiment.sources if source.label in failed]
            reason = f"it needs {needed[0]}, which failed" if needed else run_one(experiment, runs)
            if reason:
                failed[experiment.label] = reason
                progress.total -= cost  # for the estimate of the time that is left
            else:
                progress.update(cost)
        progress.set_description_str(f"{len(experiments) - len(failed)} of {len(experiments)} runs complete")
    return failed


def run_one(experiment: Experiment, runs: Path) -> str | None:
    """Trains and evaluates a run and copies what it found; returns the reason where it failed."""
    failure = call(stages.train_and_evaluate, experiment)
    if failure:
        return failure.reason
    state = find_state(experiment, slim_path(experiment, runs), load_records(experiment.train.records))
    if not state.complete:
        return f"{experiment.train.directory}: {state.text} after training and evaluation"
    if state.evaluated:  # and not without test videos, where there is nothing to copy
        publish(experiment.folder, slim_path(experiment, runs))
    return None


def check_copies(plan: Plan) -> None:
    """Checks that the folder of slim copies holds what one report can hold together with the runs to come.

    Raises:
        InputError: it holds runs of another scale, protocol, origin or checkpoint.
    """
    (runs,), (first, *_) = plan.report.runs, plan.experiments
    here = {
        "scale": first.config.scale,
        "protocol": in_words(first.train.protocol),
        "checkpoint": first.evaluate.checkpoint,
    }
    records = load_records(plan.prepare.records)
    origin = records.description.origin if records else plan.prepare.origin
    if origin:  # without records it is as the flag says, or nobody knows yet
        here["origin"] = origin
    for path in sorted(runs.glob("*/*/results.json")):
        of = read_results(path.parent).evaluated
        there = {
            "scale": of.config.scale,
            "protocol": in_words(of.protocol),
            "checkpoint": of.checkpoint,
            "origin": of.origin,
        }
        for name, value in here.items():
            if there[name] != value:
                raise InputError(
                    f"{path.parent} is of another {name} ({there[name]}; these runs: {value}), and one report holds "
                    "one: choose another --results"
                )


@dataclass(frozen=True)
class Plan:
    """All that a command line asks for.

    Attributes:
        prepare: the settings of the records of all runs.
        experiments: the runs.
        report: the settings of the report, whose runs are the slim copies.
    """

    prepare: make_tfrecords.RecordSettings
    experiments: list[Experiment]
    report: report.ReportSettings


def make_plan(values: flags.FlagValues) -> Plan:
    """What the flags ask for.

    Raises:
        InputError: for an impossible value.
    """
    selection, dataset = make_selection(values), find_dataset(values["dataset"].value)
    values["teacher_modalities"].value = None  # they are of the runs that have a teacher, and part of the selection
    given = given_config(values)
    for name in OF_SOME:  # the matrix gives them to the runs that they concern
        values[name].value = None
    pipeline = stages.make_pipeline(values)
    usual = dict(dataset.defaults)
    if "modalities" not in given:
        usual["modalities"] = pipeline.prepare.modalities
    checkpoints = Path(values["checkpoints"].value)
    matrix = Matrix(selection, usual, given, pipeline.train, pipeline.evaluate, checkpoints)
    lacking = matrix.about_others()
    if lacking:
        about = (
            f"{', '.join(lacking)}: about modalities that the videos do not have, which are "
            f"{', '.join(matrix.modalities)}; --student and --teacher_modalities say what else learns and teaches"
        )
        if values.methods is not None:
            raise InputError(f"--methods={','.join(values.methods)}: leave out {about}")
        print(f"left out: {about}")
        selection = replace(selection, methods=tuple(m for m in selection.methods if m not in lacking))
        matrix = replace(matrix, selection=selection)
    results = Path(values["results"].value or Path("reports") / dataset.name)
    runs = matrix.experiments()
    if not runs:
        raise InputError(
            "no run is left: give --methods and --seeds; of --train_fractions other than 1 there are only the methods "
            "of --all_fractions"
        )
    return Plan(pipeline.prepare, runs, report.ReportSettings((results / "runs",), results))


def main(arguments: Sequence[str]) -> int:
    """Runs the matrix; returns the exit status."""
    if command_line.asks_for_help(arguments):
        command_line.print_help(__doc__, define(FLAG_GROUPS, flags.FlagValues()))
        return 0
    values = parse(arguments)
    plan = make_plan(values)
    experiments, (runs,) = plan.experiments, plan.report.runs
    states = find_states(experiments, runs)
    if values["dry_run"].value:
        print(describe(experiments, states))
        return 0
    check_copies(plan)
    for experiment, state in zip(experiments, states):
        if state.evaluated:  # it may have been stopped before its copy was made
            publish(experiment.folder, slim_path(experiment, runs))
    failed: dict[str, str] = {}
    if not all(state.complete for state in states):
        unprepared = call(make_tfrecords.make_records, plan.prepare)
        if unprepared:
            return unprepared.status
        try:
            failed = run_all(experiments, runs)
        except KeyboardInterrupt:
            command = f"bash run.sh report --runs={runs} --output={plan.report.output}"
            print(f"\nfor a report on what is there: {command}", file=sys.stderr)
            raise
    print(describe(experiments, find_states(experiments, runs)), flush=True)
    unreported = call(report.report, plan.report)
    for label, why in failed.items():
        print(f"failed: {label}: {why}", file=sys.stderr)
    return 1 if failed or unreported else 0
