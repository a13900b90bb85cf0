"""How far a run is, and the slim copy of a finished one: all it found, without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dmcl_tf.data.table import Records
from dmcl_tf.errors import InputError
from dmcl_tf.evaluate import current_results
from dmcl_tf.files import write_text
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.runs.progress import identify_checkpoint
from dmcl_tf.scoring.results import read_results
from workflow.matrix import Experiment

SLIM_FILES = ("config.json", "history.csv", "results.json", "predictions.csv", "confusion.csv")


@dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
        epochs: that are trained.
        evaluated: whether the results are of the present checkpoint.
        copied: whether it counts without results of its own: by its slim copy, the run folder being absent or behind,
            or as there are no test videos.
        text: for people.
    """

    epochs: int
    evaluated: bool
    copied: bool
    text: str

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.evaluated or self.copied


def load_records(directory: Path) -> Records | None:
    """The records, None where they are not complete."""
    return Records.load(directory) if (directory / "videos.csv").exists() else None


def find_state(experiment: Experiment, slim: Path, records: Records | None, *, weights_needed: bool = False) -> State:
    """How far a run is.

    Args:
        experiment: the run.
        slim: where its slim copy would be.
        records: None where they are not there.
        weights_needed: whether a slim copy is not enough, as another run learns from this one.
    """
    folder, total = experiment.folder, experiment.config.epochs
    epochs = 0
    if folder.config_path.exists():
        if folder.load().config != experiment.config:
            return State(0, False, False, "of another configuration")
        epochs = _trained_epochs(folder)
        if epochs >= total and not folder.load().videos.get("test", 1):
            return State(epochs, False, True, "complete, without test videos")
        if epochs >= total:
            evaluated = records is not None and current_results(experiment.evaluate) is not None
            return State(epochs, evaluated, False, "complete" if evaluated else "to evaluate")
    if not weights_needed and _slim_copy_is_of(experiment, slim, records):
        return State(epochs, False, True, "complete (copy)")
    return State(epochs, False, False, f"{epochs} of {total} epochs" if epochs else "to do")


def find_states(experiments: Sequence[Experiment], runs: Path) -> list[State]:
    """How far each run is. One that an unfinished run learns from must be there with its weights."""
    records = {experiment.train.records: load_records(experiment.train.records) for experiment in experiments}

    def states(needed: set[Path]) -> list[State]:
        return [
            find_state(
                experiment,
                slim_path(experiment, runs),
                records[experiment.train.records],
                weights_needed=experiment.train.directory in needed,
            )
            for experiment in experiments
        ]

    unfinished = [run for run, state in zip(experiments, states(set())) if not state.complete]
    return states({source.train.directory for run in unfinished for source in run.sources})


def slim_path(experiment: Experiment, runs: Path) -> Path:
    """Where the slim copy of a run belongs: `<runs>/<method>/<run>`."""
    return runs / Path(*experiment.train.directory.parts[-2:])


def describe(experiments: Sequence[Experiment], states: Sequence[State]) -> str:
    """The runs, their states and the work that is left as a table."""
    rows = [
        (run.label, state.text, "" if state.complete else f"{run.work(state.epochs):.0f}", str(run.train.directory))
        for run, state in zip(experiments, states)
    ]
    table = pd.DataFrame(rows, columns=["run", "state", "work", "folder"], index=range(1, len(rows) + 1))
    return table.to_string(justify="left", formatters={name: _left(table[name]) for name in table})


def _left(column: pd.Series):
    width = column.str.len().max()
    return lambda value: f"{value:{width}}"


def publish(folder: RunFolder, slim: Path) -> None:
    """Copies what a finished run found, and nothing that is there already."""
    for name in SLIM_FILES:
        text = (folder.directory / name).read_text(encoding="utf-8")
        if not (slim / name).exists() or (slim / name).read_text(encoding="utf-8") != text:
            write_text(slim / name, text)


def _trained_epochs(folder: RunFolder) -> int:
    try:
        return 1 + identify_checkpoint(folder, "last").epoch
    except InputError:  # none yet, or one that training will say more about
        return 0


def _slim_copy_is_of(experiment: Experiment, slim: Path, records: Records | None) -> bool:
    """Whether a slim copy is whole, of the same settings and protocol and, where there are records, of their origin."""
    if not all((slim / name).exists() for name in SLIM_FILES):
        return False
    evaluated = read_results(slim).evaluated
    return (
        RunFolder(slim).load().config == evaluated.config == experiment.config
        and evaluated.protocol == experiment.train.protocol
        and (evaluated.split, evaluated.checkpoint) == ("test", experiment.evaluate.checkpoint)
        and (records is None or evaluated.origin == records.description.origin)
    )
