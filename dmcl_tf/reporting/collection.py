"""Finished runs, and groups of those that differ in nothing but the seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dmcl_tf.config import Config
from dmcl_tf.datasets import find_dataset
from dmcl_tf.datasets.base import Dataset, in_words
from dmcl_tf.errors import InputError
from dmcl_tf.runs.folder import Run
from dmcl_tf.scoring.results import Results, paths, read_confusion

METHOD_NAMES = {
    "independent": "Independent",
    "smcl": "SMCL",
    "cmcl": "CMCL",
    "cmcl_stochastic": "CMCL (random labels)",
    "random_teacher": "Random teacher",
    "mutual": "Mutual learning",
    "generalized_distillation": "Generalized distillation",
    "dmcl": "DMCL",
    "mars": "MARS",
    "hallucination": "Modality hallucination",
    "modality_distillation_teacher": "Modality distillation: two streams",
    "modality_distillation_student": "Modality distillation: hallucination",
    "modality_distillation": "Modality distillation",
    "admd": "ADMD",
    "graph_distillation": "Graph distillation",
}
_RECIPE_NAMES = {"authors": "authors' recipe", "paper": "paper's recipe"}
# What runs of one group may differ in, and what their label says by itself
_OF_EACH_RUN = ("seed", "teacher_run", "initial_weights")
_IN_LABEL = (*_OF_EACH_RUN, "method", "recipe", "train_fraction", "modalities", "teacher_modalities")


@dataclass(frozen=True)
class FinishedRun:
    """A run with results.

    Attributes:
        directory: the folder of the run.
        run: its settings.
        results: what `results.json` holds.
        history: one row per epoch; empty where there is no `history.csv`.
        predicted: one row per test video, its index the video's name: the class that each modality and `sum` predict,
            and `label`, by their numbers. None where there is no `predictions.csv`.
    """

    directory: Path
    run: Run
    results: Results
    history: pd.DataFrame
    predicted: pd.DataFrame | None

    @property
    def correct(self) -> pd.DataFrame | None:
        """1 where the prediction of a modality, of `sum` or of `oracle` is right, else 0; None without predictions."""
        if self.predicted is None:
            return None
        right = self.predicted.drop(columns="label").eq(self.predicted["label"], axis=0).astype(int)
        return right.assign(oracle=right[[*self.config.modalities]].max(axis=1))

    @property
    def config(self) -> Config:
        """Every setting of the training."""
        return self.run.config

    @property
    def confusion(self) -> dict[str, np.ndarray]:
        """(C, C) videos by true class (rows) and predicted one (columns), by modality and `sum`; empty without file."""
        there = paths(self.directory, "test")[2].exists()
        return read_confusion(self.directory, self.results) if there else {}

    def accuracy(self, name: str) -> float:
        """The accuracy in percent of a modality, a subset, `sum`, `sum_probabilities` or `oracle`; NaN without it."""
        return self.results.accuracy.get(name, np.nan)


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in nothing but the seed.

    Attributes:
        label: the method, the recipe, and what else tells the group from the others.
        config: every setting, as of the first run.
        runs: by seed, in ascending order.
    """

    label: str
    config: Config
    runs: dict[int, FinishedRun]

    @property
    def histories(self) -> dict[int, pd.DataFrame]:
        """One row per epoch, by seed, of the runs that have them."""
        return {seed: run.history for seed, run in self.runs.items() if len(run.history)}

    def accuracies(self, name: str) -> pd.Series:
        """The accuracy in percent under a name by seed."""
        return pd.Series({seed: run.accuracy(name) for seed, run in self.runs.items()}, dtype=float)


@dataclass(frozen=True)
class RunCollection:
    """All that a report is about.

    Attributes:
        runs: the finished ones.
        groups: the same runs, grouped; baselines first, then by method, recipe and share of the videos.
        unfinished: the folders of runs without usable results, and the reason.
    """

    runs: tuple[FinishedRun, ...]
    groups: tuple[RunGroup, ...]
    unfinished: dict[Path, str]

    @property
    def dataset(self) -> Dataset:
        """The data set of all runs."""
        return find_dataset(self.runs[0].run.dataset)

    def on_all_videos(self) -> list[RunGroup]:
        """The groups that were trained on all training videos."""
        return [group for group in self.groups if group.config.train_fraction == 1]

    def find(self, method: str) -> list[RunGroup]:
        """The groups of a method that were trained on all training videos."""
        return [group for group in self.on_all_videos() if group.config.method == method]

    def by_fraction(self) -> list[list[RunGroup]]:
        """The groups that differ in nothing but the share of the training videos, where there are several."""
        alike: dict[tuple, list[RunGroup]] = {}
        for group in self.groups:
            alike.setdefault(_values(group.config, *_OF_EACH_RUN, "train_fraction"), []).append(group)
        return [members for members in alike.values() if len(members) > 1]

    def with_as_many_steps(self, whole: RunGroup) -> list[RunGroup]:
        """The groups that see fewer videos than another in so many more epochs that they take as many steps."""
        but = (*_OF_EACH_RUN, "train_fraction", "epochs")

        def seen(config: Config) -> float:
            return config.epochs * config.train_fraction

        return [
            group
            for group in self.groups
            if _values(group.config, *but) == _values(whole.config, *but)
            and group.config.train_fraction < whole.config.train_fraction
            and np.isclose(seen(group.config), seen(whole.config))
        ]


def group_runs(runs: Iterable[FinishedRun]) -> list[RunGroup]:
    """Groups runs that differ in nothing but the seed.

    Raises:
        InputError: where two differ not even in that.
    """
    alike: dict[tuple, dict[int, FinishedRun]] = {}
    for run in runs:
        members = alike.setdefault(_values(run.config, *_OF_EACH_RUN), {})
        if run.config.seed in members:
            raise InputError(f"{members[run.config.seed].directory} and {run.directory} are the same run: remove one")
        members[run.config.seed] = run
    configs = [next(iter(members.values())).config for members in alike.values()]
    groups = [
        RunGroup(_label(config, configs), config, dict(sorted(members.items())))
        for config, members in zip(configs, alike.values())
    ]
    order = list(METHOD_NAMES)

    def place(group: RunGroup) -> tuple:
        config, label = group.config, group.label
        return order.index(config.method), config.recipe, -config.train_fraction, len(label), label

    return sorted(groups, key=place)


def _values(config: Config, *without: str) -> tuple:
    """The settings, but for some."""
    return tuple(getattr(config, field.name) for field in dataclasses.fields(Config) if field.name not in without)


def _label(config: Config, configs: Sequence[Config]) -> str:
    """Method and recipe, the share of videos, modalities where they are fewer, and settings that most have not.

    Of settings in which runs of one method and recipe differ, a value that more than half of all groups have is not
    named.
    """
    parts, modalities = [METHOD_NAMES[config.method]], "+".join(config.modalities).replace("rgb", "RGB")
    if config.teacher_modalities:
        parts.append(f"{'+'.join(config.teacher_modalities)} → {modalities}".replace("rgb", "RGB"))
    elif len(config.modalities) < max(len(other.modalities) for other in configs):
        parts.append(modalities)
    parts.append(_RECIPE_NAMES[config.recipe])
    if config.train_fraction != 1:
        parts.append(f"{100 * config.train_fraction:g} % of the videos")
    alike = [c for c in configs if (c.method, c.recipe) == (config.method, config.recipe)]
    for field in dataclasses.fields(Config):
        values = {getattr(other, field.name) for other in alike}
        value = getattr(config, field.name)
        usual = 2 * sum(getattr(other, field.name) == value for other in configs) > len(configs)
        if field.name not in _IN_LABEL and len(values) > 1 and not usual:
            parts.append(f"{field.name.replace('_', ' ')} {in_words(value) if isinstance(value, tuple) else value}")
    return ", ".join(parts)
