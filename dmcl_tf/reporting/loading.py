"""Reads the run folders that a report is about, and refuses those that may not stand in one table."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dmcl_tf.datasets.base import in_words
from dmcl_tf.errors import InputError
from dmcl_tf.reporting.collection import FinishedRun, RunCollection, group_runs
from dmcl_tf.runs.folder import Run, RunFolder, training_columns
from dmcl_tf.scoring import accuracy
from dmcl_tf.scoring.results import Results, paths, read_predictions, read_results


def load_runs(directory: Path) -> RunCollection:
    """Reads all runs below a folder.

    Raises:
        InputError: where there are none with results, one cannot be read, one is there twice, or two are not of the
            same data set, protocol, videos and scale.
    """
    return load_folders([path.parent for path in sorted(directory.glob("**/config.json"))], where=directory)


def load_folders(directories: Sequence[Path], *, where: object) -> RunCollection:
    """Reads the runs of some folders; errors as of `load_runs`, and `where` is what messages call the folders."""
    finished, unfinished, settings = [], {}, []
    for directory in directories:
        folder = RunFolder(directory)
        run = folder.load()
        settings.append((directory, run))
        results = _results_or_reason(folder, run)
        if isinstance(results, Results):
            predicted = _read_predicted(directory, results)
            history = folder.read_history(training_columns(run.config))
            finished.append(FinishedRun(directory, run, results, history, predicted))
        else:
            unfinished[directory] = results
    if not finished:
        listed = "".join(f"; {path}: {reason}" for path, reason in unfinished.items())
        raise InputError(f"{where}: no run with results{listed}; expected folders as below checkpoints/<data set>")
    _check_comparable(settings, finished)
    return RunCollection(tuple(finished), tuple(group_runs(finished)), unfinished)


def _results_or_reason(folder: RunFolder, run: Run) -> Results | str:
    """The results of a run on the test videos, or why there are none."""
    if not paths(folder.directory, "test")[0].exists():
        return f"no results.json; {len(folder.read_history())} of {run.config.epochs} epochs are trained"
    try:
        results = read_results(folder.directory)
    except InputError:
        return "results.json cannot be read: evaluate the run again"
    evaluated, epochs = results.evaluated, len(folder.read_history())
    if evaluated.config != run.config:
        return "results.json is of other settings than config.json: evaluate the run again"
    if 0 < epochs < run.config.epochs:
        return f"{epochs} of {run.config.epochs} epochs are trained: train the run to its end and evaluate it again"
    if evaluated.checkpoint == "last" and evaluated.weights.epoch + 1 < run.config.epochs:
        return f"results.json is of epoch {evaluated.weights.epoch + 1}, not of the last: evaluate the run again"
    return results


def _read_predicted(directory: Path, results: Results) -> pd.DataFrame | None:
    """The class that each modality and the sum of logits predict, and the label, of every test video."""
    if not paths(directory, "test")[1].exists():
        return None
    videos, modalities = read_predictions(directory, results), results.evaluated.config.modalities
    predicted = accuracy.predictions(videos.logits, modalities)
    columns = {name: predicted[name] for name in (*modalities, "sum")}
    return pd.DataFrame({**columns, "label": videos.labels}, index=videos.video_ids)


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
    check("crops", [(path, in_words(run.crop or "whole frames")) for path, run in settings])
    for name in ("depth", "flow"):  # runs without a modality say nothing of how it was made
        known = [(path, getattr(run, name)) for path, run in settings]
        check(f"preparations of {name}", [(path, in_words(value)) for path, value in known if value is not None])
    for name, what in _ALIKE.items():
        check(what, [(run.directory, getattr(run.results.evaluated, name)) for run in finished])
    names = [(run.directory, "\n".join(sorted(run.predicted.index))) for run in finished if run.predicted is not None]
    check("test videos", [(path, f"checksum {zlib.crc32(text.encode()):08x}") for path, text in names])


_ALIKE = {
    "protocol": "protocols",
    "origin": "origins",
    "videos": "numbers of test videos",
    "clips_per_video": "numbers of clips",
    "checkpoint": "checkpoints",
}
