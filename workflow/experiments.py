"""Runs a matrix of experiments, methods × seeds, and reports on it: `bash run.sh experiments [flags]`.

Every run is trained and evaluated by the scripts that do it alone. What is complete is skipped, what was interrupted is
continued, and a run that fails is listed at the end while the others go on. The command can be stopped at any time: the
first seed's runs come first, so that what is there can be compared. Flags of preparation, training and evaluation go
to all runs; the scale is compact unless --scale=paper is given. A finished run is copied without its weights to
<results>/runs/<method>/<run>/, which is what belongs under version control, and a copy of the same configuration
counts as complete where the run itself is not at hand.
"""

from __future__ import annotations

import shlex
import sys
import textwrap
from pathlib import Path

from absl import flags
from tqdm import tqdm

from data_prep.raw import DATASETS
from dmcl_tf.errors import InputError, ending_in_one_line
from dmcl_tf.runs.folder import RunFolder
from workflow import stages
from workflow.matrix import (
    BASELINE,
    PUBLISHED,
    SET_BY_MATRIX,
    Experiment,
    Selection,
    check_entries,
    default_methods,
    make_matrix,
)
from workflow.processes import raise_on_termination, run_command
from workflow.states import describe, find_state, find_states, load_info, publish, slim_path


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines the script's own flags."""
    flags.DEFINE_string("dataset", "nwucla", f"data set: {', '.join(DATASETS)}", flag_values=flag_values)
    flags.DEFINE_list(
        "methods",
        None,
        "what is trained: methods, or method:recipe; default: every method, and dmcl:paper",
        flag_values=flag_values,
    )
    flags.DEFINE_list("seeds", ["0", "1", "2"], "seeds, one run of a method for each", flag_values=flag_values)
    flags.DEFINE_list(
        "all_seeds",
        None,
        f"methods that run with every seed, the others with the first; default: those of --methods, else {PUBLISHED}",
        flag_values=flag_values,
    )
    flags.DEFINE_list("train_fractions", ["1", "0.5", "0.25"], "shares of the training videos", flag_values=flag_values)
    flags.DEFINE_list(
        "all_fractions",
        [BASELINE, "dmcl"],
        "methods that run with every share, the others with all videos",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "teacher_modalities",
        ["depth"],
        "modalities of the independent run that teach in generalized_distillation",
        flag_values=flag_values,
    )
    flags.DEFINE_string("student", "rgb", "modality that learns from them", flag_values=flag_values)
    flags.DEFINE_string(
        "results",
        None,
        "folder of the report and of the slim copies; default: results/<dataset>",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "dry_run", False, "print the runs, their state and their commands, and do nothing", flag_values=flag_values
    )


def parse(arguments: list[str]) -> tuple[flags.FlagValues, Selection, list[str]]:
    """The script's own flags, the matrix that they select, and the flags that go to every run.

    Raises:
        InputError: for an unknown argument or an impossible value.
    """
    values = flags.FlagValues()
    define_flags(values)
    try:
        rest = values(["experiments", *arguments], known_only=True)[1:]
    except flags.Error as error:
        raise InputError(str(error).replace("\n", " ")) from None
    stages.check_dataset(values.dataset)
    parsed = {stage: stages.parse(stage, rest) for stage in stages.STAGES}
    stages.check_known(arguments, {**parsed, "experiments": (values, rest)})
    for given, _ in parsed.values():
        for name in SET_BY_MATRIX:
            if name in given and given[name].present:
                raise InputError(
                    f"--{name}: the matrix sets it for each run; see --methods, --seeds, --train_fractions"
                )
    methods = tuple(values.methods) if values.methods is not None else default_methods()
    every_seed = values.all_seeds or values.methods or PUBLISHED.split(",")
    check_entries("methods", methods)
    check_entries("all_seeds", values.all_seeds or ())
    check_entries("all_fractions", values.all_fractions)
    selection = Selection(
        methods=methods,
        every_seed=tuple(every_seed),
        seeds=_numbers("seeds", values.seeds, int),
        fractions=_numbers("train_fractions", values.train_fractions, float),
        every_fraction=tuple(values.all_fractions),
        teachers=tuple(values.teacher_modalities),
        student=values.student,
    )
    return values, selection, ["--scale=compact", *rest]


def _numbers(name: str, values: list[str], kind: type) -> tuple:
    try:
        return tuple(dict.fromkeys(kind(value) for value in values))
    except ValueError:
        raise InputError(f"--{name}={','.join(values)}: expected numbers separated by commas") from None


def run_all(experiments: list[Experiment], runs: Path) -> dict[str, str]:
    """Makes what is not complete, one run after another; returns the reasons of the runs that failed by label."""
    states = find_states(experiments, runs)
    failed: dict[str, str] = {}
    costs = [_cost(experiment, 0) for experiment in experiments]
    open_costs = [0.0 if s.complete else _cost(e, s.epochs) for e, s in zip(experiments, states)]
    total, left = sum(costs), sum(open_costs)
    options = {"smoothing": 0, "miniters": 0, "dynamic_ncols": True, "bar_format": _BAR}
    with tqdm(total=total, initial=total - left, **options) as progress:
        for number, (experiment, state, cost) in enumerate(zip(experiments, states, open_costs), 1):
            if state.complete:
                if state.evaluated:
                    publish(experiment.folder, slim_path(experiment, runs))
                continue
            progress.set_description_str(f"run {number} of {len(experiments)}, {experiment.label}")
            print(file=sys.stderr, flush=True)  # the run's own bar goes below
            reason = run_one(experiment, runs)
            if reason:
                failed[experiment.label] = reason
                progress.total -= cost  # for the estimate of the time that is left
            else:
                progress.update(cost)
        progress.set_description_str(f"{len(experiments) - len(failed)} of {len(experiments)} runs complete")
    return failed


_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"


def _cost(experiment: Experiment, epochs: int) -> float:
    """Work that is left in a run after some epochs, in epochs of one network on all videos; at least its evaluation."""
    config = experiment.config
    return max(config.epochs - epochs, 1) * len(config.modalities) * config.train_fraction


def run_one(experiment: Experiment, runs: Path) -> str | None:
    """Trains and evaluates a run and copies what it found; returns the reason where it failed."""
    for command in experiment.commands.values():
        reason = run_command(command)
        if reason:
            return reason
    state = find_state(experiment, slim_path(experiment, runs), load_info(experiment.records))
    if not state.evaluated:
        return f"{experiment.folder.directory}: {state.text} after training and evaluation"
    publish(experiment.folder, slim_path(experiment, runs))
    return None


def prepare(dataset: str, experiments: list[Experiment], arguments: list[str]) -> None:
    """Makes the records where they are missing, or flags of the preparation ask for certain ones.

    Raises:
        InputError: where that fails.
    """
    given = stages.parse("prepare", arguments)[0]
    known_to_training = stages.parse("train", arguments)[0]
    asked = any(given[name].present and name not in known_to_training for name in given)
    if asked or any(load_info(experiment.records) is None for experiment in experiments):
        print(f"== {dataset}: prepare ==", flush=True)
        reason = run_command(stages.commands(dataset, ["prepare"], arguments)[0])
        if reason:
            raise InputError(f"the records could not be made: {reason}")


def check_scales(experiments: list[Experiment], runs: Path) -> None:
    """Checks that the report will be of one scale.

    Raises:
        InputError: where runs of another are there already.
    """
    for path in sorted(runs.glob("*/*/config.json")):
        scale = RunFolder(path.parent).load().config.scale
        if scale != experiments[0].config.scale:
            raise InputError(
                f"{path.parent} is a run at {scale} scale, these are at {experiments[0].config.scale} scale, and one "
                "report holds one scale: choose another --results"
            )


def print_help() -> None:
    """Prints what the script does, and its own flags."""
    values = flags.FlagValues()
    define_flags(values)
    print(__doc__)
    for name in values:
        default = values[name].serialize().partition("=")[2]
        text = f"--{name}: {values[name].help}" + (f" [{default}]" if default else "")
        print(textwrap.fill(text, 118, initial_indent="  ", subsequent_indent="      "))
    print("\nand the flags of the stages; python -m dmcl_tf.train --help lists those of training")


def main(arguments: list[str]) -> int:
    """Runs the matrix; returns the exit status."""
    if {"-h", "--help"} & set(arguments):
        print_help()
        return 0
    values, selection, given = parse(arguments)
    results = Path(values.results or Path("results") / values.dataset)
    runs = results / "runs"
    experiments = make_matrix(values.dataset, selection, given)
    if values.dry_run:
        states = find_states(experiments, runs)
        print(describe(experiments, states))
        for experiment in experiments:
            print(f"\n{experiment.label}")
            print("\n".join(shlex.join(command) for command in experiment.commands.values()))
        return 0
    check_scales(experiments, runs)
    report = [sys.executable, "-m", "dmcl_tf.report", f"--runs={runs}", f"--output={results}"]
    try:
        if not all(state.complete for state in find_states(experiments, runs)):
            prepare(values.dataset, experiments, given)
        failed = run_all(experiments, runs)
    except KeyboardInterrupt:
        print(f"\nfor a report on what is there: {shlex.join(['python', *report[1:]])}", file=sys.stderr)
        raise
    print(describe(experiments, find_states(experiments, runs)), flush=True)
    reason = run_command(report)
    for label, why in failed.items():
        print(f"failed: {label}: {why}", file=sys.stderr)
    return 1 if failed or reason else 0


if __name__ == "__main__":
    raise_on_termination()
    with ending_in_one_line():
        sys.exit(main(sys.argv[1:]))
