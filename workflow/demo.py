"""The demo: an RGB network trained alone, and one that depth and flow teach, on the same clips.

`bash run.sh demo [flags]` prepares the clips, trains both, evaluates them, exports the taught ensemble and makes a page
of what came of it. Flags go to both runs; `bash run.sh demo STAGE [flags]` is a stage of the taught one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmcl_tf.errors import InputError
from dmcl_tf.export import default_directory
from dmcl_tf.flag_groups import given_config
from dmcl_tf.runs.stages import OF_SOME, that_concern
from workflow import command_line, demo_page, stages
from workflow.processes import call

STUDENT = "rgb"


@dataclass(frozen=True)
class Step:
    """A part of the demo: what people read, and what is called with which settings."""

    title: str
    function: Callable
    settings: object


def is_whole(arguments: Sequence[str]) -> bool:
    """Whether the arguments are of the whole demo, not of one stage or of the list of flags."""
    first = arguments[0] if arguments else ""
    return (not first or first.startswith("-")) and not command_line.asks_for_help(arguments)


def make_steps(arguments: Sequence[str]) -> list[Step]:
    """The parts of the demo in turn.

    Raises:
        InputError: an unknown flag or an impossible value, or modalities without `STUDENT` or without a teacher.
    """
    values = stages.parse("demo", arguments)
    stages.check_no_run_is_named(values)
    taught = stages.make_pipeline(values)
    modalities = taught.train.config.modalities
    if STUDENT not in modalities or len(modalities) < 2:
        raise InputError(
            f"--modalities={','.join(modalities)}: the demo compares {STUDENT} alone with {STUDENT} among others; "
            "name it and another one, or run the stages, such as bash run.sh demo train"
        )
    only = [f"--modalities={STUDENT}", "--method=independent", f"--select_by={STUDENT}"]
    name = f"{taught.train.directory.name}-{STUDENT}"
    values = stages.parse("demo", [*arguments, *only, f"--run_name={name}"])
    of_one = that_concern(given_config(values), "independent", (STUDENT,))
    for setting in OF_SOME:
        values[setting].value = of_one.get(setting)
    alone = stages.make_pipeline(values)
    page = demo_page.PageSettings(
        alone=alone.train.directory,
        taught=taught.train.directory,
        records=taught.prepare.records,
        raw=taught.prepare.raw.data_dir,
        model=taught.export.export_dir or default_directory("demo", taught.train.config.method, taught.train.directory),
        output=taught.train.directory.parents[1],
    )
    teachers = " and ".join(modality for modality in modalities if modality != STUDENT)
    return [
        Step("prepare", stages.STAGES["prepare"], taught.prepare),
        Step("RGB alone", stages.train_and_evaluate, alone),
        Step(f"RGB with {teachers}", stages.train_and_evaluate, taught),
        Step("export", stages.STAGES["export"], taught.export),
        Step("what came of it", demo_page.show, page),
    ]


def main(arguments: Sequence[str]) -> int:
    """Runs the demo; returns the exit status of the first part that failed, else 0."""
    prepare, *others = make_steps(arguments)
    for steps in ([prepare], others):  # the others in one process, which imports TensorFlow once
        failure = call(_run, steps)
        if failure:
            return failure.status
    return 0


def _run(steps: Sequence[Step]) -> None:
    for step in steps:
        print(f"\n== demo: {step.title} ==", flush=True)
        step.function(step.settings)
