"""Reads the run folders that a report is about, and refuses those that may not stand in one table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dmcl_tf.config import Config
from dmcl_tf.errors import InputError
from dmcl_tf.reporting.variants import FinishedRun, RunCollection, group
from dmcl_tf.runs.folder import Run, RunFolder
from dmcl_tf.scoring import accuracy

_TOLERANCE = 1.5  # videos: rounded probabilities can tie where logits did not


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
    table = pd.read_csv(path, dtype={"video_id": str})
    columns = [[f"{modality}:{name}" for name in run.class_names] for modality in run.config.modalities]
    missing = [name for name in ("video_id", "label", *itertools.chain(*columns)) if name not in table]
    if missing:
        raise InputError(f"{path}: it has no column {missing[0]!r}; evaluate the run again, python -m dmcl_tf.evaluate")
    table = table.set_index("video_id")
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
        if abs(found - expected) > 100 * _TOLERANCE / len(table):
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
