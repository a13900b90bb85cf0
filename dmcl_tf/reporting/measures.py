"""What claims compare: accuracies, training losses and winners of variants, in the seeds that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pandas as pd

from dmcl_tf.config import Config
from dmcl_tf.reporting.variants import FinishedRun, Variant
from dmcl_tf.reporting.verdicts import Comparison, compare

NEARLY_ALL = 90.0  # percent of the training samples
EARLY = 0.25  # share of the epochs that are "the first": Fig. 3 is about the first 10,000 of the paper's steps
LATE = 0.1  # share of the epochs by whose winners a collapse is judged
NAMES = {"rgb": "RGB", "sum": "Σ", "oracle": "Φ", "gap": "Φ − Σ", "sum_probabilities": "Σ of probabilities"}


def closest(variants: list[Variant], to: Variant) -> Variant:
    """The variant whose settings differ in the fewest from another's, the first of equals."""
    names = [field.name for field in dataclasses.fields(Config)]
    return min(variants, key=lambda v: sum(getattr(v.config, n) != getattr(to.config, n) for n in names))


def difference(name: str, first: Variant, second: Variant, threshold: float = 0.0) -> Comparison:
    """Accuracy, or gap, of the first minus that of the second."""
    return contrast(name, [(1, first), (-1, second)], threshold)


def contrast(name: str, signed: Sequence[tuple[int, Variant]], threshold: float = 0.0) -> Comparison:
    """The signed sum of accuracies, or gaps, in the seeds that all variants have."""
    seeds = [seed for seed in signed[0][1].runs if all(seed in variant.runs for _, variant in signed)]
    terms = {seed: [(sign, variant.runs[seed]) for sign, variant in signed] for seed in seeds}
    values = {seed: sum(sign * _accuracy(run, name) for sign, run in pairs) for seed, pairs in terms.items()}
    per_video = []
    if all(run.correct is not None for pairs in terms.values() for _, run in pairs):
        per_video = [100 * sum(sign * _correct(run, name) for sign, run in pairs) for pairs in terms.values()]
    return compare(name_of(name), values, per_video, threshold=threshold)


def _accuracy(run: FinishedRun, name: str) -> float:
    return run.accuracy("oracle") - run.accuracy("sum") if name == "gap" else run.accuracy(name)


def _correct(run: FinishedRun, name: str) -> pd.Series:
    return run.correct["oracle"] - run.correct["sum"] if name == "gap" else run.correct[name]


def largest_share(variant: Variant) -> Comparison:
    """The share of training samples that the most frequent winner has in the last epochs, by seed."""
    columns = [f"{modality}_wins" for modality in variant.config.modalities]
    shares = {}
    for seed, history in variant.histories.items():
        rows = max(1, round(LATE * len(history)))
        shares[seed] = 100 * history[columns].tail(rows).mean()
    winners = sorted({name_of(share.idxmax().removesuffix("_wins")) for share in shares.values()})
    quantity = f"% of samples won by {' or '.join(winners)}"
    values = {seed: share.max() for seed, share in shares.items()}
    return compare(quantity, values, None, threshold=NEARLY_ALL, margin=0.0)


def early_difference(first: str, second: str, variant: Variant) -> Comparison:
    """Training cross-entropy of one modality minus that of another, mean over the first epochs, by seed."""
    values = {}
    for seed, history in variant.histories.items():
        rows = history.head(max(1, round(EARLY * len(history))))
        values[seed] = float((rows[f"{first}_cross_entropy"] - rows[f"{second}_cross_entropy"]).mean())
    return compare(f"{name_of(first)} − {second}", values, None, margin=0.0)


def name_of(name: str) -> str:
    """How a modality or another name of an accuracy is written."""
    return NAMES.get(name, name)
