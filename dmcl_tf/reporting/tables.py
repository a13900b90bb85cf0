"""The paper's tables with ours beside them, and tables of what the paper does not report."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dmcl_tf.config import reported_accuracies, subset_names
from dmcl_tf.datasets import paper
from dmcl_tf.registry import HALLUCINATION
from dmcl_tf.reporting.collection import METHOD_NAMES, RunCollection, RunGroup
from dmcl_tf.reporting.measures import LATE, late

COLUMN_NAMES = {"rgb": "RGB", "depth": "Depth", "flow": "Flow", "skeleton": "Skeleton", HALLUCINATION: "Hallucination"}
COLUMN_NAMES |= {"sum": "Σ", "oracle": "Φ"}
_MCL = ("independent", "smcl", "cmcl", "cmcl_stochastic", "dmcl")
_TEACHERS = ("independent", "random_teacher", "dmcl")
_COMPARED = ("independent", "dmcl", "generalized_distillation", "mars")
# our methods by the paper's names of what Tables 4 and 5 quote
_COMPARATORS = {
    "hoffman": "hallucination",
    "garcia_2018": "modality_distillation",
    "admd": "admd",
    "luo": "graph_distillation",
}


@dataclass(frozen=True)
class Table:
    """A table for people.

    Attributes:
        title: its heading; what stands before a colon names it.
        note: what a reader must know.
        frame: texts; the index is not shown.
    """

    title: str
    note: str
    frame: pd.DataFrame


def all_tables(collection: RunCollection, random_features: pd.DataFrame | None) -> list[Table]:
    """Every table that the runs have something for."""
    groups, dataset = collection.on_all_videos(), collection.dataset.name
    names = column_names(groups)
    short = [name for name in names if name in ("rgb", "sum", "oracle")]
    tables = [
        accuracies("Table 1: multiple choice learning", groups, _MCL, short, dataset),
        random_features_table(dataset, random_features),
        accuracies("Table 3: the choice of the teacher", groups, _TEACHERS, names, dataset),
        privileged_information(dataset, groups),
        accuracies("All methods", groups, tuple(METHOD_NAMES), [*names, "sum_probabilities"]),
        groups_of_videos(groups, names),
        subsets(groups),
        fit_and_agreement(groups),
        fractions(collection, names),
    ]
    return [table for table in tables if len(table.frame)]


def column_names(groups: Sequence[RunGroup]) -> list[str]:
    """The modalities of some groups, those of the paper first, then Σ and Φ."""
    own = dict.fromkeys(modality for group in groups for modality in group.config.modalities)
    return [
        *(name for name in COLUMN_NAMES if name in own),
        *(m for m in own if m not in COLUMN_NAMES),
        "sum",
        "oracle",
    ]


def mean_and_deviation(values: pd.Series) -> str:
    """`mean ± standard deviation` (n - 1 degrees of freedom) of the seeds, the mean alone of a single one."""
    known = values.dropna()
    if known.empty:
        return "–"
    return f"{known.mean():.2f}" + (f" ± {known.std(ddof=1):.2f}" if len(known) > 1 else "")


def accuracies(
    title: str, groups: Sequence[RunGroup], methods: Sequence[str], names: Sequence[str], dataset: str = ""
) -> Table:
    """Accuracies of methods (rows) under some names (columns); with a data set, the paper's on it beside ours."""
    rows, groups = [], [group for group in groups if group.config.method in methods]
    names = [name for name in names if any(group.accuracies(name).notna().any() for group in groups)]
    for group in groups:
        published, row = _published(dataset, group), _head(group)
        for name in names:
            row[_column(name)] = mean_and_deviation(group.accuracies(name))
            if dataset:
                row[f"{_column(name)}, paper"] = _number(published.get(name))
        rows.append(row)
    note = (
        "Accuracies are in percent on the test videos, mean ± standard deviation over seeds. Σ is the argmax of the "
        "summed logits; for Φ a video counts as right when any network is."
    )
    return Table(title, note, pd.DataFrame(rows))


def random_features_table(dataset: str, features: pd.DataFrame | None) -> Table:
    """Table 2: k-NN accuracy of features of untrained networks."""
    published: Mapping[Any, Mapping[Any, float]] = paper.random_features(dataset)
    rows = []
    kinds = () if features is None else features.groupby(["batch_norm", "modality"], sort=False)
    for (mode, modality), of_modality in kinds:
        row = {"Modality": _column(modality), "Batch normalisation": mode, "Seeds": str(of_modality["seed"].nunique())}
        for k, values in of_modality.groupby("k"):
            row[f"k = {k}"] = mean_and_deviation(values["accuracy"])
            row[f"k = {k}, paper"] = _number(published.get(modality, {}).get(k))
        rows.append(row)
    note = (
        "Accuracies are in percent, of k-NN on pooled features of freshly initialised networks, mean ± standard "
        "deviation over initialisations."
    )
    return Table("Table 2: random features", note, pd.DataFrame(rows))


def privileged_information(dataset: str, groups: Sequence[RunGroup]) -> Table:
    """The rows of Tables 4 and 5 for a data set: what is trained on, what is tested on, the paper's and ours."""
    published, rows, taken = paper.comparison(dataset), [], set()
    for group in groups:
        config, first = group.config, group.first
        if config.method not in (*_COMPARED, *_COMPARATORS.values()):
            continue
        several = len(config.modalities) > 1
        both = [f"{config.modalities[0]}+{HALLUCINATION}"] if HALLUCINATION in config.modalities else []
        together = ["sum"] if config.method == "independent" and several else []
        for name in (*config.modalities, *both, *together):
            saw = first.saw if name in both + together else first.saw_by([name])
            tested = "+".join(config.modalities) if name == "sum" else name
            independent = config.method == "independent" and saw == (name,)
            alone = paper.alone(dataset, name) if independent else {}
            found = [row for row in published if _of_others(row) == (config.method, {*saw}, tested)]
            reported = {**alone, **paper.reported(dataset, config.method, saw)}
            reported.update((name, row.accuracy) for row in found)
            taken.update(found)
            frozen = "all" in config.frozen_parts(name)
            ours = mean_and_deviation(group.accuracies(name)), ", ".join(map(str, group.runs))
            rows.append(_compared(group.label, ("frozen",) if frozen else saw, tested, reported.get(name), *ours))
    others = [
        _compared(paper.OTHERS[row.method], row.trained.split("+"), row.tested, row.accuracy)
        for row in published
        if row.method in paper.OTHERS and row not in taken
    ]
    note = (
        "Accuracies are in percent, ours over these seeds. Numbers of the paper are of real videos at full size. "
        "Hallucination is a second network that sees RGB and mimics the missing modality; RGB+ is both, for which the "
        "paper's Table 5 writes RGB. A frozen network stays as it was in the run that it started from. Modality "
        "hallucination is the method of Hoffman et al., modality distillation that of Garcia et al. 2018, and graph "
        "distillation that of Luo et al.; recipes are those of DMCL."
    )
    number = "".join(dict.fromkeys(f"Table {row.table}: " for row in published))
    title = f"{number}training and testing modalities"
    return Table(title[0].upper() + title[1:], note, pd.DataFrame(others + rows))


def _of_others(row: paper.Row) -> tuple[str | None, set[str], str]:
    """Our method, the modalities it learns from, and the networks tested, that a number of the paper is of."""
    return _COMPARATORS.get(row.method), {*row.trained.split("+")}, row.tested


def _compared(
    method: str, trained: Sequence[str], tested: str, published: float | None, ours="–", seeds=""
) -> dict[str, str]:
    seen, second, _ = tested.partition(f"+{HALLUCINATION}")
    return {
        "Method": method,
        "Training modalities": ", ".join(map(_column, trained)),
        "Testing modalities": f"{_column(seen)}+" if second else ", ".join(map(_column, tested.split("+"))),
        "Paper": _number(published),
        "Ours": ours,
        "Seeds": seeds,
    }


def groups_of_videos(groups: Sequence[RunGroup], names: Sequence[str]) -> Table:
    """Accuracy on each group of test videos, such as a view, where the data set has several, and their mean."""
    rows = []
    for group in groups:
        by_video = [run.results.groups for run in group.runs.values() if run.results.groups]
        for videos in by_video[0] if by_video else ():
            row = {"Method": group.label, "Test videos": videos, "Runs": str(len(by_video))}
            for name in names:
                values = pd.Series([found[videos].accuracy.get(name) for found in by_video], dtype=float)
                row[_column(name)] = mean_and_deviation(values)
            rows.append(row)
    note = "Accuracies are in percent on groups of the test videos; in their mean each group counts the same."
    return Table("Groups of test videos", note, pd.DataFrame(rows))


def subsets(groups: Sequence[RunGroup]) -> Table:
    """Accuracy of the summed logits of every subset of the modalities."""
    sets = sorted({group.config.modalities: None for group in groups}, key=len, reverse=True)  # stable
    names = list(dict.fromkeys(name for modalities in sets for name in subset_names(modalities)))
    rows = [{**_head(group), **{n: mean_and_deviation(group.accuracies(n)) for n in names}} for group in groups]
    note = "Accuracies are in percent, by the argmax of the summed logits when only these modalities are there."
    return Table("Every subset of the modalities", note, pd.DataFrame(rows))


def fit_and_agreement(groups: Sequence[RunGroup]) -> Table:
    """How well networks fit, how often each is the winner, and how alike they are: what may explain an accuracy."""
    rows = []
    for group in groups:
        modalities, histories = group.config.modalities, group.histories.values()
        row = _head(group)
        for modality in modalities:
            fit = [100 * history[f"{modality}_accuracy"].iloc[-1] for history in histories]
            row[f"{_column(modality)} fits"] = _mean(fit)
        for modality in modalities if len(modalities) > 1 else ():
            won = [100 * late(history)[f"{modality}_wins"].mean() for history in histories]
            row[f"{_column(modality)} wins"] = _mean(won)
        alike = [_alike(run.predicted, modalities) for run in group.runs.values() if run.predicted is not None]
        row["two agree"] = _mean([agreed for agreed, _ in alike])
        row["both wrong"] = _mean([wrong for _, wrong in alike])
        rows.append(row)
    note = (
        "Percent, means over seeds: of the training samples that a network classifies as labelled in the last epoch "
        f"(fits), of those at which its loss is the lowest in the last {100 * LATE:g} % of the epochs (wins), and of "
        "the test videos on which two networks predict the same class or are both wrong (means over all pairs)."
    )
    return Table("Fit and agreement", note, pd.DataFrame(rows).fillna("–"))


def _alike(predicted: pd.DataFrame, modalities: Sequence[str]) -> tuple[float, float]:
    """Percent of the videos on which two networks agree, and on which both are wrong; NaN of a single network."""
    pairs = [(predicted[a], predicted[b]) for a, b in itertools.combinations(modalities, 2)]
    wrong = [(a != predicted["label"]) & (b != predicted["label"]) for a, b in pairs]
    if not pairs:
        return np.nan, np.nan
    return 100 * float(np.mean([a == b for a, b in pairs])), 100 * float(np.mean(wrong))


def _mean(values: Sequence[float]) -> str:
    known = [value for value in values if not np.isnan(value)]
    return f"{np.mean(known):.1f}" if known else "–"


def fractions(collection: RunCollection, names: Sequence[str]) -> Table:
    """Accuracy of methods that were trained on several shares of the videos."""
    rows = []
    for whole, *fewer in collection.by_fraction():
        longer = collection.with_as_many_steps(whole)
        for group in (whole, *fewer, *longer):
            share = f"{100 * group.config.train_fraction:g} %" + ", as many steps" * (group in longer)
            row = {"Method": whole.label, "Training videos": share, "Runs": str(len(group.runs))}
            rows.append({**row, **{_column(name): mean_and_deviation(group.accuracies(name)) for name in names}})
    note = (
        "Accuracies are in percent, mean ± standard deviation over seeds. The share is the same of every class; all "
        "train for as many epochs, but for those with as many steps as on the first share."
    )
    return Table("Fewer training videos", note, pd.DataFrame(rows))


def long_form(collection: RunCollection) -> pd.DataFrame:
    """Every accuracy of every group of runs in one table for machines, the paper's beside ours where it has it."""
    dataset, rows = collection.dataset.name, []
    for group in collection.groups:
        config = group.config
        published = _published(dataset, group) if config.train_fraction == 1 else {}
        settings = {name: getattr(config, name) for name in ("method", "recipe", "scale", "train_fraction")}
        for name in reported_accuracies(config.modalities):
            values = group.accuracies(name)
            found = {"mean": values.mean(), "standard_deviation": values.std(ddof=1), "runs": len(values)}
            start = {"dataset": dataset, **settings, "label": group.label, "modalities": name}
            seeds = " ".join(map(str, values.index))
            rows.append({**start, **found, "seeds": seeds, "paper": published.get(name)})
    return pd.DataFrame(rows)


def _published(dataset: str, group: RunGroup) -> dict[str, float]:
    """The paper's accuracies by name; none where networks started from those of other modalities."""
    config = group.config
    same = {*group.first.saw} == {*config.inputs}
    return paper.reported(dataset, config.method, config.modalities) if same else {}


def _head(group: RunGroup) -> dict[str, str]:
    return {"Method": group.label, "Runs": str(len(group.runs))}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _column(name: str) -> str:
    return COLUMN_NAMES.get(name, name.replace("_", " "))
