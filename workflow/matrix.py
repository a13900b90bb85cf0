"""The matrix of experiments: which runs there are, what they are called, and the settings that make them."""

from __future__ import annotations

import dataclasses
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dmcl_tf.config import RECIPES, Config
from dmcl_tf.errors import InputError, meant
from dmcl_tf.evaluate import EvaluateSettings
from dmcl_tf.flag_groups import make_config
from dmcl_tf.registry import METHODS
from dmcl_tf.runs import stages
from dmcl_tf.runs.folder import RunFolder, run_path
from dmcl_tf.train import TrainSettings, of_method

BASELINE = "independent"  # goes first: it is what others are compared with, and their teacher
PUBLISHED = f"{BASELINE},dmcl,dmcl:paper,random_teacher"  # what Tables 1 and 3 compare, in both recipes

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
        teachers: modalities of the baseline's run that teach where a method is taught; empty: those usual for it.
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
        train: the settings of its training.
        evaluate: the settings of its evaluation.
        sources: the runs that it starts from or is taught by.
    """

    label: str
    train: TrainSettings
    evaluate: EvaluateSettings
    sources: tuple[Experiment, ...] = ()

    @property
    def config(self) -> Config:
        """Every setting of the training."""
        return self.train.config

    @property
    def folder(self) -> RunFolder:
        """Of the run."""
        return RunFolder(self.train.directory)

    def work(self, epochs: int = 0) -> float:
        """What is left after some epochs, in epochs of one network on all videos; at least the evaluation.

        A network that teaches takes the forward pass alone, a third of a step.
        """
        networks = len(self.config.modalities) + len(self.config.teacher_modalities) / 3
        return max(self.config.epochs - epochs, 1) * networks * self.config.train_fraction


def check_entries(flag: str, entries: Sequence[str]) -> None:
    """Checks that entries name methods, and recipes where they do.

    Raises:
        InputError: for an unknown name.
    """
    for entry in entries:
        for name, known in zip(entry.split(":"), (tuple(METHODS), tuple(RECIPES))):
            if name not in known:
                raise InputError(f"--{flag}: {entry!r}: expected one of {', '.join(known)}{meant(name, known)}")
        if entry.count(":") > 1:
            raise InputError(f"--{flag}: {entry!r}: expected a method or method:recipe, such as dmcl:paper")


def default_methods() -> tuple[str, ...]:
    """Every registered method, the baseline first, and DMCL with the paper's recipe after its own."""
    first = [BASELINE, "dmcl", "dmcl:paper"]
    return (*first, *(method for method in METHODS if method not in first))


@dataclass(frozen=True)
class Matrix:
    """All runs that a selection makes of the settings that they have in common.

    Attributes:
        selection: of the runs.
        usual: settings of `Config` that the data set brings, by name.
        given: those that go before them in all runs; they are part of a run's name.
        train: of any run, for all that is not in its configuration.
        evaluate: likewise.
        checkpoints: the folder under which runs are kept.
    """

    selection: Selection
    usual: Mapping[str, object]
    given: Mapping[str, object]
    train: TrainSettings
    evaluate: EvaluateSettings
    checkpoints: Path

    def experiments(self) -> list[Experiment]:
        """The runs in their order: all methods of the first seed, with all videos and then fewer, then the next seed.

        A run that another learns from is among them, before it.

        Raises:
            InputError: for an impossible value.
        """
        chosen: dict[Path, Experiment] = {}
        selection = self.selection
        for index, seed in enumerate(selection.seeds):
            for fraction in sorted(selection.fractions, reverse=True):
                for entry in selection.methods:
                    every_seed, every_fraction = entry in selection.every_seed, entry in selection.every_fraction
                    if (index == 0 or every_seed) and (fraction == 1 or every_fraction):
                        for experiment in self._experiments(entry, seed, fraction):
                            chosen.setdefault(experiment.train.directory, experiment)
        if chosen:
            stages.check_concerned(self.given, [experiment.config for experiment in chosen.values()])
        return list(chosen.values())

    def about_others(self) -> list[str]:
        """The methods of the selection that are about modalities which the videos do not have."""
        if "modalities" in self.given:  # of which methods may need more than are trained together
            return []
        staged = [entry for entry in self.selection.methods if entry.partition(":")[0] in stages.STAGES]
        roles = {entry: self._roles(entry.partition(":")[0]) for entry in staged}
        return [entry for entry, (student, taught) in roles.items() if {student, *taught} - {*self.modalities}]

    def _roles(self, method: str) -> tuple[str, tuple[str, ...]]:
        teachers = self.selection.teachers or stages.usual_teachers(method)
        return stages.roles(method, (self.selection.student, *teachers))

    def _experiments(self, entry: str, seed: int, fraction: float) -> list[Experiment]:
        """A run of the matrix, the last, and before it those that it starts from or is taught by."""
        method, _, recipe = entry.partition(":")
        made: dict[Path, Experiment] = {}
        others = () if self.selection.teachers == stages.usual_teachers(method) else self.selection.teachers

        def run(stage: str, networks: tuple[str, ...], **wired) -> Path:
            if stage == BASELINE and not wired and set(networks) <= set(self.modalities):
                networks = ()  # the baseline's run has them
            entry_of, last = f"{stage}:{recipe}" if recipe else stage, stage == method
            experiment = self._experiment(entry_of, seed, fraction, _Stage(networks, wired, last, others), made)
            return made.setdefault(experiment.train.directory, experiment).train.directory

        if method in stages.STAGES:
            stages.STAGES[method](run, *self._roles(method))
        else:
            run(method, ())
        return list(made.values())

    @property
    def modalities(self) -> tuple[str, ...]:
        """Of the networks of methods that take any number."""
        return {**asdict(Config()), **self.usual, **self.given}["modalities"]

    def _experiment(
        self, entry: str, seed: int, fraction: float, stage: _Stage, made: Mapping[Path, Experiment]
    ) -> Experiment:
        """A run of some networks, or of the usual ones, and of settings that tie it to its sources."""
        method, _, recipe = entry.partition(":")
        usual = {**of_method(self.usual, (), method), "method": method}
        usual |= {name: self.given[name] for name in ("recipe", "scale") if name in self.given}
        usual |= {"recipe": recipe} if recipe else {}
        usual |= {name: stage.wired[name] for name in ("teacher_run",) if name in stage.wired}
        settings = {**usual, **self.given, **{name: usual[name] for name in ("method", "recipe") if name in usual}}
        settings = stages.that_concern(settings, method, stage.networks or self.modalities)
        if stage.networks:
            settings = stages.stage_settings(method, stage.networks, settings, stage.wired, last=stage.last)
        config = make_config({**settings, "seed": seed, "train_fraction": fraction})
        dataset = self.train.dataset
        tied = set(stage.wired) - {"teacher_modalities", *(self.given if stage.last else ())}
        parts = _name_parts(dataset, config, make_config(usual), tied)
        name = _run_name([*parts, *stage.name(parts, made)])
        directory = self.checkpoints / run_path(dataset, config, name)
        started = [stages.stage_name(stage.networks, stage.wired).replace("-", " ")]
        label = " ".join(
            [
                entry,
                *(started if stage.networks and method == BASELINE else []),
                f"seed {seed}",
                *([f"{100 * fraction:g} %"] if fraction != 1 else []),
            ]
        )
        return Experiment(
            label,
            dataclasses.replace(self.train, config=config, directory=directory, stages=()),
            dataclasses.replace(self.evaluate, run_dir=directory),
            tuple(made.values()),
        )


_OF_SOURCES = ("modalities", "from", "teacher", "teachers")  # how these parts of a name begin


@dataclass(frozen=True)
class _Stage:
    """What a run is to the method that it is made for.

    Attributes:
        networks: of the run; empty: the usual ones.
        wired: settings that tie it to its sources.
        last: whether it is what was asked for.
        teachers: modalities that teach, where they are not those usual for the method.
    """

    networks: tuple[str, ...]
    wired: Mapping[str, Any]
    last: bool
    teachers: tuple[str, ...]

    def name(self, own: Sequence[str], made: Collection[Path]) -> list[str]:
        """What tells it from runs of the same settings that start from others, or are taught by them.

        Args:
            own: the parts of its name that its settings make.
            made: the folders of its sources.
        """
        parts = []
        if self.wired.get("initial_weights"):
            parts.append(f"from_{stages.stage_name(self.networks, self.wired).partition('-from-')[2]}")
            parts += [f"teachers_{'+'.join(self.teachers)}"] if self.teachers else []
        # settings of its sources that it does not share, as `modalities` and where they start from never are
        others = {part for path in made for part in path.name.split("-")} - {*"-".join(own).split("-")}
        others = {part for part in others if part.partition("_")[0] not in _OF_SOURCES}
        return [*parts, *([f"{zlib.crc32(' '.join(sorted(others)).encode()):08x}"] if self.wired and others else [])]


def _name_parts(dataset: str, config: Config, usual: Config, tied: Collection[str]) -> list[str]:
    """The default name, followed by every setting that is not as its recipe and scale have it.

    Settings that tie a run to its sources are `tied` and not part of it.
    """
    parts = [run_path(dataset, config, None).name]
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        if field.name not in ("method", "seed", *tied) and value != getattr(usual, field.name):
            parts.append(re.sub("[/:]", "_", f"{field.name}_{_text(value)}"))
    return parts


def _run_name(parts: Sequence[str]) -> str:
    """A name of some parts, or of the first and their checksum where it would be too long."""
    name = "-".join(parts)
    return name if len(name) <= _LONGEST_NAME else f"{parts[0]}-{zlib.crc32(name.encode()):08x}"


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
