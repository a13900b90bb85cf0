"""The paper's tables with ours beside them, and tables of what the paper does not report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from dmcl_tf.config import subset_names
from dmcl_tf.datasets import paper
from dmcl_tf.reporting.variants import METHOD_NAMES, RunCollection, Variant

COLUMN_NAMES = {"rgb": "RGB", "depth": "Depth", "flow": "Flow", "sum": "Σ", "oracle": "Φ"}
_MCL = ("independent", "smcl", "cmcl", "cmcl_stochastic", "dmcl")
_TEACHERS = ("independent", "random_teacher", "dmcl")
_OTHERS = {
    "r_nktm": "R-NKTM",
    "action_tubes": "Action Tubes",
    "long_term_rcnn": "Long-term RCNN",
    "mvdi_cnn": "MVDI+CNN",
    "hoffman": "Hoffman et al.",
    "garcia_2018": "Garcia et al. 2018",
    "admd": "ADMD",
    "luo": "Luo et al.",
    "st_lstm": "ST-LSTM",
    "vgg": "VGG",
}


@dataclass(frozen=True)
class Table:
    """A table for people.

    Attributes:
        title: what it is.
        note: what a reader must know.
        frame: texts; the index is not shown.
    """

    title: str
    note: str
    frame: pd.DataFrame


def all_tables(collection: RunCollection, random_features: pd.DataFrame | None) -> list[Table]:
    """Every table that the runs have something for."""
    on_all = [variant for variant in collection.variants if variant.config.train_fraction == 1]
    dataset = collection.runs[0].run.dataset
    names = [name for name in COLUMN_NAMES if any(name in _reported(variant) for variant in on_all)]
    short = [name for name in ("rgb", "sum", "oracle") if name in names]
    tables = [
        _accuracies("Table 1: multiple choice learning", dataset, on_all, _MCL, short),
        random_features_table(dataset, random_features),
        _accuracies("Table 3: the choice of the teacher", dataset, on_all, _TEACHERS, names),
        privileged_information(collection, dataset, on_all),
        _accuracies("All methods", dataset, on_all, None, [*names, "sum_probabilities"], with_paper=False),
        by_group(on_all, names),
        subsets(on_all),
        fractions(collection, names),
    ]
    return [table for table in tables if table is not None and len(table.frame)]


def mean_and_deviation(values: pd.Series) -> str:
    """`mean ± standard deviation` (n - 1 degrees of freedom) of the seeds, the mean alone of a single one."""
    known = values.dropna()
    if known.empty:
        return "–"
    return f"{known.mean():.2f}" + (f" ± {known.std(ddof=1):.2f}" if len(known) > 1 else "")


def _accuracies(
    title: str,
    dataset: str,
    variants: Sequence[Variant],
    methods: Sequence[str] | None,
    names: Sequence[str],
    *,
    with_paper: bool = True,
) -> Table:
    """Accuracies of methods (rows) under some names (columns), the paper's beside ours."""
    rows = []
    for variant in variants:
        if methods is not None and variant.config.method not in methods:
            continue
        row = {"Method": variant.label, "Runs": str(len(variant.runs))}
        published = paper.reported(dataset, variant.config.method, variant.config.modalities) if with_paper else {}
        for name in names:
            row[_column(name)] = mean_and_deviation(variant.accuracies(name))
            if with_paper:
                row[f"{_column(name)}, paper"] = _published(published, name)
        rows.append(row)
    note = "Accuracy in percent on the test videos, mean ± standard deviation over seeds; Σ: argmax of summed logits, "
    note += "Φ: any network is right."
    return Table(title, note, pd.DataFrame(rows))


def _published(published: Mapping[str, float], name: str) -> str:
    return f"{published[name]:.2f}" if name in published else "–"


def random_features_table(dataset: str, features: pd.DataFrame | None) -> Table | None:
    """Table 2: k-NN accuracy of features of untrained networks."""
    if features is None:
        return None
    published = paper.random_features() if dataset == "nwucla" else {}
    rows = []
    for (mode, modality), group in features.groupby(["batch_norm", "modality"], sort=False):
        row = {"Modality": _column(modality), "Batch normalisation": mode, "Seeds": str(group["seed"].nunique())}
        for k, values in group.groupby("k"):
            row[f"k = {k}"] = mean_and_deviation(values["accuracy"])
            row[f"k = {k}, paper"] = _published(published.get(modality, {}), k)
        rows.append(row)
    note = "Accuracy in percent of k-NN on pooled features of freshly initialised networks, mean ± standard deviation "
    note += "over initialisations."
    return Table("Table 2: random features", note, pd.DataFrame(rows))


def privileged_information(collection: RunCollection, dataset: str, variants: Sequence[Variant]) -> Table | None:
    """The rows of Tables 4 and 5 for a data set: what is trained on, what is tested on, the paper's and ours."""
    published = paper.comparison(dataset)
    everything = max((variant.config.modalities for variant in variants), key=len)
    rows = []
    for row in published.to_dict("records"):
        method = _OTHERS.get(row["method"], METHOD_NAMES.get(row["method"], row["method"]))
        if row["method"] not in METHOD_NAMES:
            rows.append(
                _comparison_row(method, row["train_modalities"], row["test_modality"], row["accuracy"], "–", "")
            )
    for variant in variants:
        config = variant.config
        if config.method not in ("independent", "dmcl", "generalized_distillation"):
            continue
        together = paper.reported(dataset, config.method, everything)
        tested = [*config.modalities, *(["sum"] if config.method == "independent" else [])]
        for name in tested:
            alone = config.method == "independent" and name != "sum"  # each network learned from its modality alone
            trained = name if alone else "+".join(dict.fromkeys((*config.teacher_modalities, *config.modalities)))
            ours, runs = mean_and_deviation(variant.accuracies(name)), str(len(variant.runs))
            tests = "+".join(config.modalities) if name == "sum" else name
            reported = {**together, **(paper.reported(dataset, config.method, [name]) if alone else {})}
            rows.append(_comparison_row(variant.label, trained, tests, reported.get(name), ours, runs))
    note = "Accuracy in percent. Methods of others are quoted from the paper, on real videos at full size; RGB+ uses a "
    note += "second network that mimics the missing modality."
    numbers = [f"Table {number}: " for number in published["table"].unique()]
    return Table(f"{''.join(numbers)}training and testing modalities", note, pd.DataFrame(rows)) if rows else None


def _comparison_row(method: str, trained: str, tested: str, published: float | None, ours: str, runs: str) -> dict:
    return {
        "Method": method,
        "Training modalities": ", ".join(map(_column, trained.split("+"))),
        "Testing modalities": "RGB+" if "hallucination" in tested else ", ".join(map(_column, tested.split("+"))),
        "Paper": "–" if published is None else f"{published:.2f}",
        "Ours": ours,
        "Runs": runs,
    }


def by_group(variants: Sequence[Variant], names: Sequence[str]) -> Table | None:
    """Accuracy on each group of test videos, such as a view, where the data set has several, and their mean."""
    rows = []
    for variant in variants:
        runs = [run.results["groups"] for run in variant.runs.values() if "groups" in run.results]
        for group in runs[0] if runs else ():
            row = {"Method": variant.label, "Test videos": group, "Runs": str(len(runs))}
            for name in names:
                values = pd.Series([groups[group]["accuracy"].get(name) for groups in runs], dtype=float)
                row[_column(name)] = mean_and_deviation(values)
            rows.append(row)
    note = "Accuracy in percent on groups of the test videos; in their mean each group counts the same."
    return Table("Groups of test videos", note, pd.DataFrame(rows)) if rows else None


def subsets(variants: Sequence[Variant]) -> Table:
    """Accuracy of the summed logits of every subset of the modalities."""
    everything = max((variant.config.modalities for variant in variants), key=len)
    rows = []
    for variant in variants:
        row = {"Method": variant.label, "Runs": str(len(variant.runs))}
        for name in subset_names(everything):
            row[name] = mean_and_deviation(variant.accuracies(name))
        rows.append(row)
    note = "Accuracy in percent when only these modalities are there: argmax of their summed logits."
    return Table("Every subset of the modalities", note, pd.DataFrame(rows))


def fractions(collection: RunCollection, names: Sequence[str]) -> Table | None:
    """Accuracy of methods that were trained on several shares of the videos."""
    rows = []
    for variants in collection.by_fraction():
        for variant in variants:
            share = f"{100 * variant.config.train_fraction:g} %"
            row = {"Method": variants[0].label, "Training videos": share, "Runs": str(len(variant.runs))}
            rows.append({**row, **{_column(name): mean_and_deviation(variant.accuracies(name)) for name in names}})
    note = "Accuracy in percent, mean ± standard deviation over seeds; the share is the same of every class."
    return Table("Fewer training videos", note, pd.DataFrame(rows)) if rows else None


def long_form(collection: RunCollection) -> pd.DataFrame:
    """Every accuracy of every variant in one table for machines, the paper's beside ours where it has it."""
    rows = []
    for variant in collection.variants:
        config, whole = variant.config, variant.config.train_fraction == 1
        dataset = next(iter(variant.runs.values())).run.dataset
        published = paper.reported(dataset, config.method, config.modalities) if whole else {}
        for name in _reported(variant):
            values = variant.accuracies(name)
            rows.append(
                {
                    "dataset": dataset,
                    "method": config.method,
                    "recipe": config.recipe,
                    "scale": config.scale,
                    "train_fraction": config.train_fraction,
                    "variant": variant.label,
                    "modalities": name,
                    "mean": values.mean(),
                    "standard_deviation": values.std(ddof=1),
                    "runs": len(values),
                    "seeds": " ".join(map(str, values.index)),
                    "paper": published.get(name),
                }
            )
    return pd.DataFrame(rows)


def _reported(variant: Variant) -> list[str]:
    scores = next(iter(variant.runs.values())).results["accuracy"]
    return [*(name for name in scores if name != "subsets"), *scores["subsets"]]


def _column(name: str) -> str:
    return COLUMN_NAMES.get(name, name.replace("_", " "))
