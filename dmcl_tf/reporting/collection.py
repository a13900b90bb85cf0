"""Finished runs, and groups of those that differ in nothing but the seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from dmcl_tf.config import RECIPES, Config, parse_start
from dmcl_tf.datasets import find_dataset
from dmcl_tf.datasets.base import Dataset, in_words
from dmcl_tf.errors import InputError
from dmcl_tf.registry import HALLUCINATION, METHODS
from dmcl_tf.runs.folder import Run
from dmcl_tf.runs.stages import STAGES
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
# In what methods differ by their nature or by how they are wired, in networks, of which each has its own, or in how the
# work is done; in all else a comparison of methods must be of equals.
_OF_THE_METHOD = {
    *("method", "recipe", "modalities", "networks", "variant", "width", "initial_weights", "freeze", "seed"),
    *("teacher_run", "teacher_modalities", "middle_layer", "weighting", "connection", "select_by", "train_fraction"),
    *("temperature", "loser_ground_truth_weight", "distillation_weight", "scale_by_temperature_squared", "beta"),
    *("feature_weight", "middle_weight", "save_every", "recompute", "deterministic"),
}
SHARED = tuple(field.name for field in dataclasses.fields(Config) if field.name not in _OF_THE_METHOD)
# What runs of one group may differ in: seeds, and folders of the runs that seeds start from or are taught by
_OF_EACH_RUN = ("seed", "teacher_run", "initial_weights")
# What a label says in its own words
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
    def first(self) -> Run:
        """The settings and splits of the run of the first seed."""
        return next(iter(self.runs.values())).run

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
            alike.setdefault(_but(group, "train_fraction"), []).append(group)
        return [members for members in alike.values() if len(members) > 1]

    def with_as_many_steps(self, whole: RunGroup) -> list[RunGroup]:
        """The groups that see fewer videos than another in so many more epochs that they take as many steps."""

        def seen(config: Config) -> float:
            return config.epochs * config.train_fraction

        return [
            group
            for group in self.groups
            if _but(group, "train_fraction", "epochs") == _but(whole, "train_fraction", "epochs")
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
        members = alike.setdefault((_values(run.config, *_OF_EACH_RUN), start_of(run.config), run.run.saw), {})
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

    return _told_apart(sorted(groups, key=place))


def start_of(config: Config) -> tuple[str, ...]:
    """What networks start from or are taught by, whichever run of a method it is."""
    starts = [(str(start), start.path) for start in map(parse_start, config.initial_weights)]
    starts += [(config.teacher_run, config.teacher_run)] if config.teacher_run else []
    return tuple(text.replace(path, _kind(path)) for text, path in starts)


def _kind(path: str) -> str:
    """The method of a run folder, `<data set>/<method>/<run>`, with its data set; other paths as they are."""
    *_, dataset, method, _run = ("", "", *Path(path).parts)
    return f"{dataset}/{method}" if method in METHODS else path


def _told_apart(groups: Sequence[RunGroup]) -> list[RunGroup]:
    """The groups, with labels that say what networks start from where the method does not, or labels would be alike."""
    labels = [group.label for group in groups]
    return [
        replace(group, label=f"{group.label}, from {' and '.join(start)}")
        if (start := start_of(group.config)) and (labels.count(group.label) > 1 or group.config.method not in STAGES)
        else group
        for group in groups
    ]


def _but(group: RunGroup, *without: str) -> tuple:
    """What tells a group from others, but for some settings."""
    return _values(group.config, *_OF_EACH_RUN, *without), start_of(group.config)


def _values(config: Config, *without: str) -> tuple:
    """The settings, but for some."""
    return tuple(getattr(config, field.name) for field in dataclasses.fields(Config) if field.name not in without)


def _label(config: Config, configs: Sequence[Config]) -> str:
    """Method and recipe, the share of videos, modalities where not all have the same, and unusual settings.

    Named are settings in which runs of one method and recipe differ, and those that all methods share and other methods
    have otherwise; but none that more than half of all groups have, and none that the method or recipe prescribes.
    """
    parts, modalities = [METHOD_NAMES[config.method]], "+".join(config.modalities).replace("rgb", "RGB")
    most = max(len(other.inputs) for other in configs)
    largest = {other.inputs for other in configs if len(other.inputs) == most}
    unusual = HALLUCINATION in config.modalities and not METHODS[config.method].hallucinates
    if config.teacher_modalities:
        parts.append(f"{'+'.join(config.teacher_modalities)} → {modalities}".replace("rgb", "RGB"))
    elif len(config.inputs) < most or len(largest) > 1 or unusual:
        parts.append(modalities)
    parts.append(_RECIPE_NAMES[config.recipe])
    if config.train_fraction != 1:
        parts.append(f"{100 * config.train_fraction:g} % of the videos")
    alike = [c for c in configs if (c.method, c.recipe) == (config.method, config.recipe)]
    prescribed = {**RECIPES[config.recipe], **METHODS[config.method].defaults}
    for field in dataclasses.fields(Config):
        name, value = field.name, getattr(config, field.name)
        usual = 2 * sum(getattr(other, name) == value for other in configs) > len(configs)
        differs = any(getattr(other, name) != value for other in alike)
        if name in SHARED and prescribed.get(name, _NONE) != value:
            others = (other for other in configs if name not in METHODS[other.method].defaults)
            differs = any(getattr(other, name) != value for other in others)
        said = (*_IN_LABEL, "select_by") if len(config.modalities) == 1 else _IN_LABEL  # where nothing can be selected
        if name not in said and differs and not usual:
            parts.append(f"{name.replace('_', ' ')} {in_words(value) if isinstance(value, tuple) else value}")
    return ", ".join(parts)


_NONE = object()
