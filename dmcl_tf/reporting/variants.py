"""Finished runs, and groups of those that differ in nothing but the seed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dmcl_tf.config import Config
from dmcl_tf.errors import InputError
from dmcl_tf.runs.folder import Run

METHOD_NAMES = {
    "independent": "Independent",
    "smcl": "SMCL",
    "cmcl": "CMCL",
    "cmcl_stochastic": "CMCL (random labels)",
    "random_teacher": "Random teacher",
    "mutual": "Mutual learning",
    "generalized_distillation": "Generalized distillation",
    "dmcl": "DMCL",
}
# What runs of one variant may differ in, and what their label says by itself
_OF_EACH_RUN = ("seed", "teacher_run")
_IN_LABEL = (*_OF_EACH_RUN, "method", "recipe", "train_fraction", "modalities", "teacher_modalities")


@dataclass(frozen=True)
class FinishedRun:
    """A run with results.

    Attributes:
        directory: of the run.
        run: its settings.
        results: `results.json`.
        history: one row per epoch; empty where there is no `history.csv`.
        correct: one row per test video, its index the video's name: 1 where the prediction of a modality, of `sum` or
            of `oracle` is right, else 0. None where there is no `predictions.csv`.
        confusion: by modality and `sum`, (C, C) videos by true class (rows) and predicted class (columns); empty where
            there is no `confusion.csv`.
    """

    directory: Path
    run: Run
    results: dict
    history: pd.DataFrame
    correct: pd.DataFrame | None
    confusion: dict[str, np.ndarray]

    @property
    def config(self) -> Config:
        """Every setting."""
        return self.run.config

    def accuracy(self, name: str) -> float:
        """The accuracy in percent of a modality, a subset, `sum`, `sum_probabilities` or `oracle`; NaN without it."""
        scores = self.results["accuracy"]
        return scores.get(name, scores["subsets"].get(name, np.nan))


@dataclass(frozen=True)
class Variant:
    """Runs that differ in nothing but the seed.

    Attributes:
        label: method, recipe and what else tells it from the other variants.
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
        runs: finished ones.
        variants: the same runs, grouped; baselines first, then by method, recipe and share of the videos.
        unfinished: folders of runs without usable results, and the reason.
    """

    runs: tuple[FinishedRun, ...]
    variants: tuple[Variant, ...]
    unfinished: dict[Path, str]

    def find(self, method: str) -> list[Variant]:
        """The variants of a method that were trained on all videos."""
        return [v for v in self.variants if v.config.method == method and v.config.train_fraction == 1]

    def by_fraction(self) -> list[list[Variant]]:
        """The variants that differ in nothing but the share of the training videos, where there are several."""
        groups: dict[str, list[Variant]] = {}
        for variant in self.variants:
            same = dataclasses.replace(variant.config, train_fraction=1.0)
            groups.setdefault(json.dumps(_key(same), sort_keys=True), []).append(variant)
        return [members for members in groups.values() if len(members) > 1]


def group(runs: Sequence[FinishedRun]) -> list[Variant]:
    """Groups runs that differ in nothing but the seed.

    Raises:
        InputError: where two differ not even in that.
    """
    groups: dict[str, dict[int, FinishedRun]] = {}
    for run in runs:
        members = groups.setdefault(json.dumps(_key(run.config), sort_keys=True), {})
        if run.config.seed in members:
            raise InputError(f"{members[run.config.seed].directory} and {run.directory} are the same run: remove one")
        members[run.config.seed] = run
    configs = [next(iter(members.values())).config for members in groups.values()]
    variants = [
        Variant(_label(config, configs), config, dict(sorted(members.items())))
        for config, members in zip(configs, groups.values())
    ]
    order = list(METHOD_NAMES)
    return sorted(
        variants,
        key=lambda v: (
            order.index(v.config.method) if v.config.method in order else len(order),
            v.config.recipe,
            -v.config.train_fraction,
            v.label,
        ),
    )


def _key(config: Config) -> dict:
    return {name: value for name, value in config.to_json().items() if name not in _OF_EACH_RUN}


def _label(config: Config, configs: Sequence[Config]) -> str:
    """Method and recipe, the share of videos, modalities where they are fewer, and settings that others have not."""
    parts = [METHOD_NAMES.get(config.method, config.method)]
    if config.teacher_modalities:
        parts.append(f"{'+'.join(config.teacher_modalities)} → {'+'.join(config.modalities)}".replace("rgb", "RGB"))
    elif len(config.modalities) < max(len(other.modalities) for other in configs):
        parts.append("+".join(config.modalities))
    parts.append({"authors": "authors' recipe", "paper": "paper's recipe"}.get(config.recipe, config.recipe))
    if config.train_fraction != 1:
        parts.append(f"{100 * config.train_fraction:g} % of the videos")
    alike = [c for c in configs if (c.method, c.recipe) == (config.method, config.recipe)]
    for field in dataclasses.fields(Config):
        values = {getattr(other, field.name) for other in alike}
        if field.name not in _IN_LABEL and len(values) > 1:
            parts.append(f"{field.name.replace('_', ' ')} {getattr(config, field.name)}")
    return ", ".join(parts)
