"""Reads the run folders that a report is about, and groups those that differ in nothing but the seed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dmcl_tf import accuracy
from dmcl_tf.config import Config
from dmcl_tf.errors import InputError
from dmcl_tf.run_folder import Run, RunFolder

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
_TOLERANCE = 1e-6  # percent


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

    def find(self, method: str, *, fraction: float | None = 1.0) -> list[Variant]:
        """The variants of a method, by default those trained on all videos; None: on any share."""
        found = [variant for variant in self.variants if variant.config.method == method]
        return [v for v in found if fraction is None or v.config.train_fraction == fraction]

    def by_fraction(self) -> list[list[Variant]]:
        """The variants that differ in nothing but the share of the training videos, where there are several."""
        groups: dict[str, list[Variant]] = {}
        for variant in self.variants:
            same = dataclasses.replace(variant.config, train_fraction=1.0)
            groups.setdefault(json.dumps(_key(same), sort_keys=True), []).append(variant)
        return [members for members in groups.values() if len(members) > 1]


def load_runs(directory: Path) -> RunCollection:
    """Reads all runs below a folder.

    Raises:
        InputError: where there are none with results, one cannot be read, one is there twice, or two are not of the
            same data set, protocol, videos and scale.
    """
    finished, unfinished, settings = [], {}, []
    for path in sorted(directory.glob("**/config.json")):
        run = _load_settings(path.parent)
        settings.append((path.parent, run))
        reason = _why_unfinished(path.parent, run)
        if reason:
            unfinished[path.parent] = reason
        else:
            finished.append(_load_finished(path.parent, run))
    if not finished:
        listed = "".join(f"; {path}: {reason}" for path, reason in unfinished.items())
        raise InputError(f"{directory}: no run with results{listed}; expected folders as below checkpoints/<data set>")
    _check_comparable(settings, finished)
    return RunCollection(tuple(finished), tuple(group(finished)), unfinished)


def _load_settings(directory: Path) -> Run:
    try:
        return RunFolder(directory).load()
    except InputError as error:
        message = str(error)
        raise InputError(message if str(directory) in message else f"{directory / 'config.json'}: {message}") from None


def _why_unfinished(directory: Path, run: Run) -> str:
    path = directory / "results.json"
    if not path.exists():
        epochs = len(RunFolder(directory).read_history())
        return f"no results.json; {epochs} of {run.config.epochs} epochs are trained"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        same = Config.from_json(results["config"]) == run.config
    except (ValueError, KeyError, TypeError, InputError) as error:
        return f"results.json cannot be read ({error}): evaluate the run again"
    return "" if same else "results.json is of other settings than config.json: evaluate the run again"


def _load_finished(directory: Path, run: Run) -> FinishedRun:
    results = json.loads((directory / "results.json").read_text(encoding="utf-8"))
    return FinishedRun(
        directory=directory,
        run=run,
        results=results,
        history=RunFolder(directory).read_history(),
        correct=_read_correct(directory / "predictions.csv", run, results),
        confusion=_read_confusion(directory / "confusion.csv"),
    )


def _read_correct(path: Path, run: Run, results: dict) -> pd.DataFrame | None:
    """Which predictions are right, of each modality, of the sum of logits and of any modality (the oracle)."""
    if not path.exists():
        return None
    table = pd.read_csv(path, dtype={"video_id": str}).set_index("video_id")
    columns = [[f"{modality}:{name}" for name in run.class_names] for modality in run.config.modalities]
    probabilities = np.stack([table[names].to_numpy(np.float64) for names in columns])
    # log-probabilities are logits up to a constant of each video and network
    logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    labels = table["label"].to_numpy()
    predicted = accuracy.predictions(logits, run.config.modalities)
    correct = pd.DataFrame(
        {name: (predicted[name] == labels).astype(int) for name in (*run.config.modalities, "sum")}, index=table.index
    )
    correct["oracle"] = correct[list(run.config.modalities)].max(axis=1)
    for modality in run.config.modalities:
        found, expected = 100 * correct[modality].mean(), results["accuracy"][modality]
        if abs(found - expected) > _TOLERANCE:
            raise InputError(
                f"{path}: {modality} is right in {found:.2f} % of the videos, but in {expected:.2f} % by results.json; "
                "evaluate the run again, python -m dmcl_tf.evaluate"
            )
    return correct


def _read_confusion(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    table = pd.read_csv(path).set_index(["prediction by", "true class"])
    return {name: block.to_numpy() for name, block in table.groupby(level=0, sort=False)}


def _check_comparable(settings: Sequence[tuple[Path, Run]], finished: Sequence[FinishedRun]) -> None:
    """Checks that accuracies of the runs may stand in one table.

    Raises:
        InputError: naming the first two that may not.
    """

    def check(what: str, values: Sequence[tuple[Path, object]]) -> None:
        for path, value in values[1:]:
            if value != values[0][1]:
                raise InputError(
                    f"{values[0][0]} and {path} are of different {what} ({values[0][1]}, {value}): one report holds "
                    "one; give the folder of either as --runs"
                )

    check("data sets", [(path, run.dataset) for path, run in settings])
    check("scales", [(path, run.config.scale) for path, run in settings])
    for name in ("split", "protocol", "origin", "videos", "clips_per_video", "checkpoint"):
        check(_WORDS.get(name, name), [(run.directory, run.results.get(name)) for run in finished])
    with_predictions = [run for run in finished if run.correct is not None]
    check("test videos", [(run.directory, _Names(sorted(run.correct.index))) for run in with_predictions])


_WORDS = {"split": "splits", "protocol": "protocols", "origin": "origins", "videos": "numbers of test videos"}


class _Names(tuple):
    """Names of videos, shown by their number."""

    def __repr__(self):
        return f"{len(self)} names"

    __str__ = __repr__


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
