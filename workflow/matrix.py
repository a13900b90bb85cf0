"""The matrix of experiments: which runs there are, what they are called, and the commands that make them."""

from __future__ import annotations

import dataclasses
import difflib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmcl_tf import train
from dmcl_tf.config import RECIPES, Config
from dmcl_tf.errors import InputError
from dmcl_tf.runs.folder import RunFolder
from workflow import stages

METHODS: tuple[str, ...] = Config.__dataclass_fields__["method"].metadata["choices"]
BASELINE = "independent"  # goes first: it is what others are compared with, and their teacher
TWO_STEP = "generalized_distillation"  # its teacher is the baseline's run of the same seed
PUBLISHED = f"{BASELINE},dmcl,dmcl:paper,random_teacher"  # what Tables 1 and 3 compare, in both recipes
SET_BY_MATRIX = ("method", "seed", "train_fraction", "run_name", "run_dir", "teacher_run", "split")

_LONGEST_NAME = 120  # characters; file systems end at 255 bytes


@dataclass(frozen=True)
class Selection:
    """What the matrix is made of.

    Attributes:
        methods: entries `method` or `method:recipe`.
        every_seed: those of them that run with every seed; the others run with the first.
        seeds: in the order of their runs.
        fractions: shares of the training videos.
        every_fraction: entries that run with every fraction; the others run with all videos.
        teachers: modalities of the baseline's run that teach in generalised distillation.
        student: modality that learns from them.
    """

    methods: tuple[str, ...]
    every_seed: tuple[str, ...]
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]
    every_fraction: tuple[str, ...]
    teachers: tuple[str, ...]
    student: str


@dataclass(frozen=True)
class Experiment:
    """One run of the matrix.

    Attributes:
        label: for people.
        config: every setting.
        folder: of the run.
        records: folder of the records.
        checkpoint: that is evaluated, "best" or "last".
        commands: of its stages, train and evaluate.
        teacher: the run that it learns from, if any.
    """

    label: str
    config: Config
    folder: RunFolder
    records: Path
    checkpoint: str
    commands: dict[str, list[str]]
    teacher: Experiment | None


def check_entries(flag: str, entries: Sequence[str]) -> None:
    """Checks that entries name methods, and recipes where they do.

    Raises:
        InputError: for an unknown name.
    """
    for entry in entries:
        for name, known in zip(entry.split(":"), (METHODS, tuple(RECIPES))):
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise InputError(f"--{flag}: {entry!r}: expected one of {', '.join(known)}{hint}")
        if entry.count(":") > 1:
            raise InputError(f"--{flag}: {entry!r}: expected a method or method:recipe, such as dmcl:paper")


def default_methods() -> tuple[str, ...]:
    """Every registered method, the baseline first, and DMCL with the paper's recipe after its own."""
    first = [BASELINE, "dmcl", "dmcl:paper"]
    return (*first, *(method for method in METHODS if method not in first))


def make_matrix(dataset: str, selection: Selection, arguments: list[str]) -> list[Experiment]:
    """The runs in their order: all methods of the first seed, with all videos and then with fewer, then the next seed.

    A run that another learns from is among them, before it.

    Args:
        dataset: its name.
        selection: the runs.
        arguments: flags of the stages, the same for all runs.

    Raises:
        InputError: for an impossible value.
    """
    experiments: dict[Path, Experiment] = {}
    for index, seed in enumerate(selection.seeds):
        for fraction in sorted(selection.fractions, reverse=True):
            for entry in selection.methods:
                every_seed, every_fraction = entry in selection.every_seed, entry in selection.every_fraction
                if (index == 0 or every_seed) and (fraction == 1 or every_fraction):
                    experiment = _experiment(dataset, entry, seed, fraction, selection, arguments)
                    for each in (experiment.teacher, experiment):
                        if each:
                            experiments.setdefault(each.folder.directory, each)
    return list(experiments.values())


def _experiment(
    dataset: str, entry: str, seed: int, fraction: float, selection: Selection, arguments: list[str]
) -> Experiment:
    method, _, recipe = entry.partition(":")
    chosen = [f"--seed={seed}"]
    chosen += [f"--recipe={recipe}"] if recipe else []
    chosen += [f"--train_fraction={fraction:g}"] if fraction != 1 else []
    teacher, learning = None, []
    if method == TWO_STEP:
        of_same_recipe = ":".join([BASELINE, *([recipe] if recipe else [])])
        teacher = _experiment(dataset, of_same_recipe, seed, fraction, selection, arguments)
        learning = [f"--teacher_run={teacher.folder.directory}", f"--teacher_modalities={','.join(selection.teachers)}"]
        learning += [f"--modalities={selection.student}"]
    given = [*arguments, f"--method={method}", *chosen, *learning]

    config = _config(dataset, given)
    usual = [f"--method={method}", f"--recipe={config.recipe}", f"--scale={config.scale}", *learning[:1]]
    flags = stages.stage_flags(dataset, [*given, f"--run_name={_run_name(dataset, config, _config(dataset, usual))}"])
    evaluate = stages.parse("evaluate", flags["evaluate"])[0]
    return Experiment(
        label=" ".join([entry, f"seed {seed}", *([f"{100 * fraction:g} %"] if fraction != 1 else [])]),
        config=config,
        folder=RunFolder(Path(evaluate["run_dir"].value)),
        records=Path(evaluate["records"].value),
        checkpoint=evaluate["checkpoint"].value,
        commands={stage: stages.command(stage, flags[stage]) for stage in ("train", "evaluate")},
        teacher=teacher,
    )


def _config(dataset: str, arguments: list[str]) -> Config:
    return train.config_from_flags(stages.parse("train", stages.stage_flags(dataset, arguments)["train"])[0])


def _run_name(dataset: str, config: Config, usual: Config) -> str:
    """The default name, followed by every setting that is not as its recipe and scale have it, or their checksum."""
    parts = [train.run_path(dataset, config, None).name]
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if field.name not in ("method", "seed", "teacher_run") and value != getattr(usual, field.name):
            parts.append(f"{field.name}_{_text(value)}".replace("/", "_"))
    name = "-".join(parts)
    return name if len(name) <= _LONGEST_NAME else f"{parts[0]}-{zlib.crc32(name.encode()):08x}"


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
