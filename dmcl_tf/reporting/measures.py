"""What claims compare: accuracies, training losses and winners of groups of runs, in the seeds that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from dmcl_tf.config import Config
from dmcl_tf.reporting.collection import RunGroup
from dmcl_tf.reporting.verdicts import Difference

NEARLY_ALL = 90.0  # percent of the training samples
EARLY = 0.25  # share of the epochs that are "the first": Fig. 3 is about the first 10,000 of the paper's steps
LATE = 0.1  # share of the epochs by whose winners a collapse is judged
NAMES = {"rgb": "RGB", "sum": "Σ", "oracle": "Φ", "gap": "Φ − Σ"}


def closest(groups: Sequence[RunGroup], to: RunGroup) -> RunGroup:
    """The group whose settings differ in the fewest from another's, the first of equals."""
    names = [field.name for field in dataclasses.fields(Config)]
    return min(groups, key=lambda g: sum(getattr(g.config, n) != getattr(to.config, n) for n in names))


def difference(name: str, first: RunGroup, second: RunGroup, threshold: float = 0.0) -> Difference:
    """Accuracy, or gap, of the first minus that of the second."""
    return contrast(name, [(1, first), (-1, second)], threshold)


def contrast(name: str, signed: Sequence[tuple[int, RunGroup]], threshold: float = 0.0) -> Difference:
    """The signed sum of accuracies, or gaps, in the seeds that all groups have."""
    seeds = [seed for seed in signed[0][1].runs if all(seed in group.runs for _, group in signed)]
    plus, minus = ("oracle", "sum") if name == "gap" else (name, None)
    by_seed: dict[int, float] = {}
    per_video: list[pd.Series] = []
    for seed in seeds:
        runs = [(sign, group.runs[seed]) for sign, group in signed]
        by_seed[seed] = sum(sign * (run.accuracy(plus) - (run.accuracy(minus) if minus else 0)) for sign, run in runs)
        correct = [(sign, run.correct) for sign, run in runs if run.correct is not None]
        if len(correct) == len(runs):
            right = [sign * (videos[plus] - (videos[minus] if minus else 0)) for sign, videos in correct]
            per_video.append(100 * pd.concat(right, axis=1).sum(axis=1))
    return Difference(name_of(name), by_seed, per_video if len(per_video) == len(seeds) else [], threshold)


def largest_share(group: RunGroup) -> Difference:
    """The share of training samples that the most frequent winner has in the last epochs, by seed."""
    columns = [f"{modality}_wins" for modality in group.config.modalities]
    shares = {seed: 100 * late(history)[columns].mean() for seed, history in group.histories.items()}
    winners = sorted({name_of(str(share.idxmax()).removesuffix("_wins")) for share in shares.values()})
    by_seed = {seed: share.max() for seed, share in shares.items()}
    return Difference(f"% of samples won by {' or '.join(winners)}", by_seed, None, NEARLY_ALL, margin=0.0)


def late(history: pd.DataFrame) -> pd.DataFrame:
    """The last epochs of a training."""
    return history.tail(max(1, round(LATE * len(history))))


def early_difference(first: str, second: str, group: RunGroup) -> Difference:
    """Training cross-entropy of one modality minus that of another, mean over the first epochs, by seed."""
    by_seed = {}
    for seed, history in group.histories.items():
        rows = history.head(max(1, round(EARLY * len(history))))
        by_seed[seed] = float((rows[f"{first}_cross_entropy"] - rows[f"{second}_cross_entropy"]).mean())
    return Difference(f"{name_of(first)} − {second}", by_seed, None, margin=0.0)


def name_of(name: str) -> str:
    """How a modality or another name of an accuracy is written."""
    return NAMES.get(name, name)
