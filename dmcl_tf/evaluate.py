"""Evaluates a run: `python -m dmcl_tf.evaluate --run_dir=checkpoints/demo/dmcl/paper-compact-seed0`.

Logits are averaged over the ten fixed clips of each video. Writes results.json, predictions.csv and confusion.csv
into the run's folder and prints a table, with the paper's numbers beside ours where it has them.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Optional

import numpy as np
from absl import flags

from dmcl_tf.data.table import Records, Video
from dmcl_tf.datasets import find_dataset
from dmcl_tf.datasets.splits import Splits
from dmcl_tf.errors import InputError, check_address_space, run_script
from dmcl_tf.files import lock
from dmcl_tf.flag_groups import define, given_run, records_flags, run_flags, strategy_flags
from dmcl_tf.learning.cluster import is_chief
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.runs.progress import identify_checkpoint
from dmcl_tf.scoring import results as files
from dmcl_tf.scoring.results import Evaluated, Results

if TYPE_CHECKING:
    from dmcl_tf.learning.workers import Workers  # with TensorFlow


@dataclass(frozen=True)
class EvaluateSettings:
    """What to evaluate.

    Attributes:
        run_dir: folder of the run.
        records: where its records are now; None: where they were in training.
        split: "test" or "validation"; the files of the latter end in `_validation`.
        checkpoint: "best" or "last".
        strategy: who computes, one of `dmcl_tf.config.STRATEGIES`; None: by what is there.
    """

    run_dir: Path
    records: Optional[Path] = None
    split: str = "test"
    checkpoint: str = "best"
    strategy: Optional[str] = None


def evaluate(settings: EvaluateSettings) -> Results | None:
    """Evaluates a checkpoint on a split and writes the files, `results.json` last.

    Results of the same weights and records that are there already are returned as they are. Several workers share the
    videos; all return the results, and the chief writes them.

    Returns:
        None where the split has no videos, so that there is nothing to evaluate.

    Raises:
        InputError: a run without this checkpoint, records that do not fit it or are damaged, a folder in use.
    """
    task = _plan(settings)
    if not task.videos:
        return None
    with lock(settings.run_dir) if is_chief() else contextlib.nullcontext():
        return _current(settings, task) or _evaluate(settings, task)


def current_results(settings: EvaluateSettings) -> Results | None:
    """The results of an earlier evaluation by the same settings, None where there are none that still hold.

    Raises:
        InputError: as `evaluate`.
    """
    if not files.paths(settings.run_dir, settings.split)[0].exists():
        return None
    return _current(settings, _plan(settings))


def _current(settings: EvaluateSettings, task: _Task) -> Results | None:
    names, labels = [video.video_id for video in task.videos], task.splits.labels(task.videos)
    return files.current_results(settings.run_dir, task.evaluated, names, labels)


class _Task(NamedTuple):
    records: Records
    splits: Splits
    videos: tuple[Video, ...]
    evaluated: Evaluated


def _plan(settings: EvaluateSettings) -> _Task:
    """Everything that can be known without the weights' values, and no TensorFlow."""
    folder = RunFolder(settings.run_dir)
    run = folder.load()
    records = Records.load(settings.records or run.records)
    records.check(run.config.inputs, run.config.frame_size)
    splits = folder.splits(records)
    weights = identify_checkpoint(folder, settings.checkpoint)
    evaluated = files.what_is_evaluated(run, records, splits, settings.split, settings.checkpoint, weights)
    return _Task(records, splits, getattr(splits, settings.split), evaluated)


def _evaluate(settings: EvaluateSettings, task: _Task) -> Results:
    check_address_space()
    from dmcl_tf.learning.workers import working_together

    with working_together(settings.strategy) as workers:
        # what is published is of these records to the last byte
        damage = task.records.find_damage(task.videos[workers.index :: workers.count])
        if damage:
            raise damage
        return _evaluate_together(settings, task, workers)


def _evaluate_together(settings: EvaluateSettings, task: _Task, workers: Workers) -> Results:
    from dmcl_tf.runs.checkpoints import restore_ensemble
    from dmcl_tf.scoring.logits import Evaluator

    with workers.strategy.scope():
        ensemble = restore_ensemble(RunFolder(settings.run_dir), settings.checkpoint)
    logits = Evaluator(ensemble, task.records, task.splits, task.evaluated.config, workers)(settings.split)
    unusable = ~np.isfinite(logits.logits).all(axis=(0, 2))
    if unusable.any():
        first = logits.video_ids[int(unusable.argmax())]
        raise InputError(f"{settings.run_dir}: the networks say nothing finite about {first}; train with less rate")
    attribute = find_dataset(task.evaluated.dataset).group
    groups = [f"{attribute} {video.attributes.get(attribute)}" for video in task.videos] if attribute else []
    results = files.summarize(task.evaluated, logits, task.splits.class_names, groups)
    if workers.chief:
        files.write_results(settings.run_dir, results, logits)
    return results


def split_flags(values: flags.FlagValues) -> None:
    """The split."""
    flags.DEFINE_enum("split", "test", ["test", "validation"], "videos to evaluate on", flag_values=values)


FLAG_GROUPS = (run_flags, records_flags, split_flags, strategy_flags)


def settings_from_flags(values: flags.FlagValues) -> EvaluateSettings:
    """The settings of an evaluation.

    Raises:
        InputError: no run is named.
    """
    records = Path(values["records"].value) if values["records"].value else None
    names = ("split", "checkpoint", "strategy")
    return EvaluateSettings(given_run(values), records, *(values[name].value for name in names))


def show(settings: EvaluateSettings) -> None:
    """Evaluates and prints the table."""
    results = evaluate(settings)
    if not is_chief():
        return
    if results:
        print(files.table(results))
    else:
        print(f"{settings.run_dir}: there are no {settings.split} videos, so there is nothing to evaluate")


def main() -> None:
    """Evaluates the run that the flags name."""
    show(settings_from_flags(flags.FLAGS))


if __name__ == "__main__":
    define(FLAG_GROUPS, flags.FLAGS)
    run_script(main)
