"""The paper's claims, each tested on the runs at hand by the rule of `dmcl_tf.reporting.verdicts`."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from dmcl_tf.reporting.measures import (
    EARLY,
    LATE,
    NEARLY_ALL,
    closest,
    contrast,
    difference,
    early_difference,
    largest_share,
    name_of,
)
from dmcl_tf.reporting.variants import METHOD_NAMES, RunCollection, Variant
from dmcl_tf.reporting.verdicts import UNDECIDED, Comparison, combine, compare

FAR = 5.0  # percentage points that "far below" means here; the paper's smallest such drop on NW-UCLA is 9


@dataclass(frozen=True)
class Case:
    """A claim about one pair of variants.

    Attributes:
        label: of the variants.
        comparisons: all that must hold.
        note: what is missing, if anything.
    """

    label: str
    comparisons: tuple[Comparison, ...]
    note: str = ""

    @property
    def verdict(self) -> str:
        """Of all comparisons together."""
        return UNDECIDED if self.note else combine([comparison.verdict for comparison in self.comparisons])


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        number: in the order of the report.
        statement: in words.
        how: how it is measured here.
        unit: of the differences.
        cases: at least one.
    """

    number: int
    statement: str
    how: str
    unit: str
    cases: tuple[Case, ...]


def all_claims(collection: RunCollection, random_features: pd.DataFrame | None) -> list[Claim]:
    """Every claim with its comparisons.

    Args:
        collection: the runs.
        random_features: what `dmcl_tf.random_features` wrote: columns modality, k, seed, batch_norm, accuracy.
    """
    return [
        better_rgb(collection),
        collapse(collection),
        flow_is_first(collection),
        random_flow_features(random_features),
        better_teacher(collection),
        smaller_gap(collection),
        larger_gain(collection),
    ]


def better_rgb(collection: RunCollection) -> Claim:
    """Claim 1: Tables 1 and 3, Sec. 4.3."""
    cases = _against(collection, "dmcl", "independent", lambda a, b: [difference("rgb", a, b)])
    how = "Accuracy of the RGB network on the test videos, DMCL minus independent training."
    return Claim(1, "DMCL's RGB network beats the independently trained one.", how, "points", cases)


def collapse(collection: RunCollection) -> Claim:
    """Claim 2: Table 1, Sec. 4.3."""

    def comparisons(variant: Variant, baseline: Variant) -> list[Comparison]:
        drops = [difference(name, baseline, variant, threshold=FAR) for name in ("rgb", "sum")]
        return [*drops, largest_share(variant)]

    cases = [
        case
        for method in ("smcl", "cmcl", "cmcl_stochastic")
        for case in _against(collection, method, "independent", comparisons, order=-1)
        if method != "cmcl_stochastic" or collection.find(method)
    ]
    statement = (
        "SMCL and CMCL collapse on multimodal data: RGB and Σ are far below independent training, and one modality "
        "wins nearly all samples."
    )
    how = (
        f"Accuracy of RGB and Σ, independent minus the method, must exceed {FAR:g} points; of the training samples in "
        f"the last {100 * LATE:g} % of the epochs one modality must win more than {NEARLY_ALL:g} %."
    )
    return Claim(2, statement, how, "points", tuple(cases))


def flow_is_first(collection: RunCollection) -> Claim:
    """Claim 3: Fig. 3, Sec. 4.3."""
    cases = []
    for variant in collection.find("independent"):
        others = [modality for modality in variant.config.modalities if modality != "flow"]
        missing = _lacking(variant, "flow")
        comparisons = [] if missing else [early_difference(other, "flow", variant) for other in others]
        cases.append(Case(variant.label, tuple(comparisons), missing))
    statement = "Flow's training loss is the lowest in the first epochs."
    how = (
        f"Training cross-entropy of independently trained networks, mean over the first {100 * EARLY:g} % of the "
        "epochs, the other modality minus flow. Training has no test videos, so there is no bootstrap."
    )
    return Claim(3, statement, how, "nats", tuple(cases) or _no_runs("independent"))


def random_flow_features(table: pd.DataFrame | None) -> Claim:
    """Claim 4: Table 2."""
    statement = "Random flow features classify better by k-NN than random RGB or depth features."
    how = (
        "k-NN accuracy of features of untrained networks, flow minus the other modality, mean over all k, paired by "
        "initialisation. The file holds no predictions, so there is no bootstrap over videos."
    )
    if table is None:
        note = "there are no accuracies of random features; make them with python -m dmcl_tf.random_features"
        return Claim(4, statement, how, "points", (Case("random features", (), note),))
    cases = []
    for mode, rows in table.groupby("batch_norm"):
        means = rows.groupby(["seed", "modality"])["accuracy"].mean().unstack()
        others = [modality for modality in means if modality != "flow"]
        if "flow" not in means or not others:
            cases.append(Case(_mode(mode), (), "flow and another modality are needed"))
            continue
        pairs = [(other, (means["flow"] - means[other]).dropna()) for other in others]
        comparisons = [compare(f"flow − {name_of(other)}", values.to_dict(), None) for other, values in pairs]
        cases.append(Case(_mode(mode), tuple(comparisons)))
    return Claim(4, statement, how, "points", tuple(cases))


def better_teacher(collection: RunCollection) -> Claim:
    """Claim 5: Table 3, Sec. 4.3."""

    def comparisons(variant: Variant, other: Variant) -> list[Comparison]:
        return [difference(modality, variant, other) for modality in variant.config.modalities]

    statement = "A random teacher is worse than the winner as teacher, in every modality."
    how = "Accuracy of each network on the test videos, DMCL minus random teacher."
    return Claim(5, statement, how, "points", _against(collection, "dmcl", "random_teacher", comparisons))


def smaller_gap(collection: RunCollection) -> Claim:
    """Claim 6: Table 1, Sec. 4.3."""
    cases = _against(collection, "dmcl", "independent", lambda a, b: [difference("gap", b, a)])
    how = "Oracle accuracy minus accuracy of the sum, independent training minus DMCL."
    return Claim(6, "The gap Φ − Σ is smaller for DMCL than for independent training.", how, "points", cases)


def larger_gain(collection: RunCollection) -> Claim:
    """Claim 7: Sec. 4.3, on Table 5."""
    by_method: dict[str, list[dict[float, Variant]]] = {"dmcl": [], "independent": []}
    for group in collection.by_fraction():
        members = {variant.config.train_fraction: variant for variant in group}
        if group[0].config.method in by_method and 1 in members:
            by_method[group[0].config.method].append(members)
    cases = []
    for dmcl in by_method["dmcl"] if by_method["independent"] else []:
        baseline = closest([members[1] for members in by_method["independent"]], dmcl[1])
        independent = next(members for members in by_method["independent"] if members[1] is baseline)
        for fraction in sorted(set(dmcl) & set(independent) - {1}):
            signed = [(1, dmcl[fraction]), (-1, independent[fraction]), (-1, dmcl[1]), (1, independent[1])]
            label = f"{100 * fraction:g} % of the videos against all: {dmcl[1].label} − {baseline.label}"
            cases.append(Case(label, (contrast("rgb", signed),)))
    how = "Accuracy of RGB, DMCL minus independent training: that with fewer training videos minus that with all."
    none = (Case("DMCL", (), "runs of dmcl and of independent on all and on fewer videos are needed"),)
    return Claim(
        7, "The gain of DMCL's RGB network grows as training data shrink.", how, "points", tuple(cases) or none
    )


def _against(collection: RunCollection, method: str, other: str, comparisons, order: int = 1) -> tuple[Case, ...]:
    """A case for each variant of a method, compared with the closest one of another method."""
    others, cases = collection.find(other), []
    if not others:
        return _no_runs(other)
    for variant in collection.find(method):
        baseline = closest(others, variant)
        label = " − ".join([variant.label, baseline.label][::order])
        missing = _lacking(variant, "rgb") or _lacking(baseline, *variant.config.modalities)
        cases.append(Case(label, () if missing else tuple(comparisons(variant, baseline)), missing))
    return tuple(cases) or _no_runs(method)


def _no_runs(method: str) -> tuple[Case, ...]:
    return (Case(METHOD_NAMES.get(method, method), (), f"there is no finished run of {method} on all videos"),)


def _lacking(variant: Variant, *modalities: str) -> str:
    missing = [modality for modality in modalities if modality not in variant.config.modalities]
    return f"{variant.label} has no {' and no '.join(missing)}" if missing else ""


def _mode(mode: object) -> str:
    return f"batch normalisation: {mode}"
