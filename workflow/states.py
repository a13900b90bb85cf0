"""How far a run is, and the slim copy of a finished one: all it found, without its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dmcl_tf.config import Config
from dmcl_tf.data.records import DatasetInfo
from dmcl_tf.errors import InputError
from dmcl_tf.evaluate import current_results
from dmcl_tf.runs.checkpoints import identify_checkpoint
from dmcl_tf.runs.folder import RunFolder, write_text
from workflow.matrix import Experiment

SLIM_FILES = ("config.json", "history.csv", "results.json", "predictions.csv", "confusion.csv")


@dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
        epochs: that are trained.
        evaluated: whether the results are of the present checkpoint.
        copied: whether it counts by its slim copy, the run folder being absent or behind.
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


def load_info(directory: Path) -> DatasetInfo | None:
    """The description of the records, None where there are none yet."""
    return DatasetInfo.load(directory) if (directory / "dataset.json").exists() else None


def find_state(experiment: Experiment, slim: Path, info: DatasetInfo | None, *, weights_needed: bool = False) -> State:
    """How far a run is.

    Args:
        experiment: the run.
        slim: where its slim copy would be.
        info: its records, None where they are not there.
        weights_needed: whether a slim copy is not enough, as another run learns from this one.
    """
    config, folder = experiment.config, experiment.folder
    total = config.epochs
    epochs = 0
    if folder.config_path.exists():
        if folder.load().config != config:
            return State(0, False, False, "of another configuration")
        epochs = _trained_epochs(folder)
        if epochs >= total:
            evaluated = info is not None and current_results(folder, info, "test", experiment.checkpoint) is not None
            return State(epochs, evaluated, False, "complete" if evaluated else "to evaluate")
    if not weights_needed and _slim_copy_is_of(experiment, slim, info):
        return State(epochs, False, True, "complete (copy)")
    return State(epochs, False, False, f"{epochs} of {total} epochs" if epochs else "to do")


def find_states(experiments: list[Experiment], runs: Path) -> list[State]:
    """How far each run is. One that an unfinished run learns from must be there with its weights."""
    infos = {experiment.records: load_info(experiment.records) for experiment in experiments}

    def states(needed: set[Path]) -> list[State]:
        return [
            find_state(
                experiment,
                slim_path(experiment, runs),
                infos[experiment.records],
                weights_needed=experiment.folder.directory in needed,
            )
            for experiment in experiments
        ]

    unfinished = [run for run, state in zip(experiments, states(set())) if not state.complete]
    return states({run.teacher.folder.directory for run in unfinished if run.teacher})


def slim_path(experiment: Experiment, runs: Path) -> Path:
    """Where the slim copy of a run belongs: `<runs>/<method>/<run>`."""
    return runs / Path(*experiment.folder.directory.parts[-2:])


def describe(experiments: list[Experiment], states: list[State]) -> str:
    """The runs and their states as a table."""
    rows = [
        (experiment.label, state.text, experiment.folder.directory) for experiment, state in zip(experiments, states)
    ]
    table = pd.DataFrame(rows, columns=["run", "state", "folder"], index=range(1, len(rows) + 1))
    return table.to_string(justify="left", formatters={name: _left(table[name]) for name in table})


def _left(column: pd.Series):
    width = column.astype(str).str.len().max()
    return lambda value: f"{value!s:{width}}"


def publish(folder: RunFolder, slim: Path) -> None:
    """Copies what a finished run found, and nothing that is there already."""
    for name in SLIM_FILES:
        text = (folder.directory / name).read_text(encoding="utf-8")
        if not (slim / name).exists() or (slim / name).read_text(encoding="utf-8") != text:
            write_text(slim / name, text)


def _trained_epochs(folder: RunFolder) -> int:
    try:
        return 1 + identify_checkpoint(folder, "last")["epoch"]
    except InputError:  # none yet, or one that training will say more about
        return 0


def _slim_copy_is_of(experiment: Experiment, slim: Path, info: DatasetInfo | None) -> bool:
    """Whether a slim copy is whole, of the same settings and, where there are records, of their protocol."""
    if not all((slim / name).exists() for name in SLIM_FILES):
        return False
    results = json.loads((slim / "results.json").read_text(encoding="utf-8"))
    configs = (RunFolder(slim).load().config, Config.from_json(results["config"]))
    same_records = info is None or all(results[name] == getattr(info, name) for name in ("protocol", "origin"))
    return (
        all(config == experiment.config for config in configs)
        and same_records
        and (results["split"], results["checkpoint"]) == ("test", experiment.checkpoint)
    )
