"""The paper's claims, each tested on the runs at hand by the rule of `dmcl_tf.reporting.verdicts`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from dmcl_tf.reporting.collection import METHOD_NAMES, SHARED, RunCollection, RunGroup, start_of
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
from dmcl_tf.reporting.verdicts import NOT_TESTED, Comparison, Difference, combine, compare

FAR = 5.0  # percentage points that "far below" means here; the paper's smallest such drop on NW-UCLA is 9


@dataclass(frozen=True)
class Case:
    """A claim about one pair of groups of runs.

    Attributes:
        label: the names of the two.
        differences: all that must exceed their thresholds.
        note: what is missing, if anything.
        comparisons: the differences with their tests, once they are made.
    """

    label: str
    differences: Sequence[Difference] = ()
    note: str = ""
    comparisons: Sequence[Comparison] = ()

    @property
    def verdict(self) -> str:
        """The verdict on all comparisons together."""
        return NOT_TESTED if self.note else combine([comparison.verdict for comparison in self.comparisons])


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        number: its place in the report.
        statement: what the paper says.
        how: how it is measured here.
        unit: the unit of its differences.
        cases: at least one.
    """

    number: int
    statement: str
    how: str
    unit: str
    cases: Sequence[Case]


def all_claims(collection: RunCollection, random_features: pd.DataFrame | None) -> list[Claim]:
    """Every claim with its comparisons.

    Args:
        collection: the runs.
        random_features: what `dmcl_tf.random_features` wrote: columns modality, k, seed, batch_norm, accuracy.
    """
    claims = [better_rgb, collapse, flow_is_first, better_teacher, smaller_gap, larger_gain, stronger_networks]
    found = [*(claim(collection) for claim in claims), random_flow_features(random_features)]
    return tested(sorted(found, key=lambda claim: claim.number))


def tested(claims: Sequence[Claim]) -> list[Claim]:
    """Tests the differences of all claims at once, so that test videos are drawn but once."""
    comparisons = iter(compare([d for claim in claims for case in claim.cases for d in case.differences]))

    def with_comparisons(case: Case) -> Case:
        return replace(case, comparisons=[next(comparisons) for _ in case.differences])

    return [replace(claim, cases=[with_comparisons(case) for case in claim.cases]) for claim in claims]


def better_rgb(collection: RunCollection) -> Claim:
    """Claim 1: Tables 1 and 3, Sec. 4.3."""
    cases = _against(
        collection, "dmcl", "independent", lambda a, b: [difference("rgb", a, b)], needs=("rgb",), all_networks=False
    )
    how = "What is compared is the accuracy of the RGB network on the test videos, DMCL minus independent training."
    return Claim(1, "DMCL's RGB network beats the independently trained one.", how, "points", cases)


def collapse(collection: RunCollection) -> Claim:
    """Claim 2: Table 1, Sec. 4.3."""

    def differences(group: RunGroup, baseline: RunGroup) -> list[Difference]:
        return [*(difference(name, baseline, group, threshold=FAR) for name in ("rgb", "sum")), largest_share(group)]

    methods = ["smcl", "cmcl", *(["cmcl_stochastic"] if collection.find("cmcl_stochastic") else [])]
    cases = [
        case
        for method in methods
        for case in _against(collection, method, "independent", differences, needs=("rgb",), order=-1)
    ]
    statement = (
        "SMCL and CMCL collapse on multimodal data: RGB and Σ are far below independent training, and one modality "
        "wins nearly all samples."
    )
    how = (
        f"The accuracies of RGB and Σ, independent training minus the method, must exceed {FAR:g} points. Of the "
        f"training samples in the last {100 * LATE:g} % of the epochs, one modality must win over {NEARLY_ALL:g} %."
    )
    return Claim(2, statement, how, "points", cases)


def flow_is_first(collection: RunCollection) -> Claim:
    """Claim 3: Fig. 3, Sec. 4.3."""
    cases = []
    independent = collection.find("independent")
    others = {group.label: [name for name in group.config.modalities if name != "flow"] for group in independent}
    whole = [group for group in independent if not _lacking(group, "flow") and others[group.label]]
    for group in whole or independent:
        missing = _lacking(group, "flow") or ("" if others[group.label] else f"{group.label} has flow alone")
        differences = [] if missing else [early_difference(name, "flow", group) for name in others[group.label]]
        cases.append(Case(group.label, differences, missing))
    how = (
        "What is compared is the training cross-entropy of independently trained networks, averaged over the first "
        f"{100 * EARLY:g} % of the epochs, the other modality minus flow. Training has no test videos, so there is no "
        "bootstrap."
    )
    statement = "Flow's training loss is the lowest in the first epochs."
    return Claim(3, statement, how, "nats", cases or _no_runs("independent"))


def random_flow_features(table: pd.DataFrame | None) -> Claim:
    """Claim 4: Table 2."""
    statement = "Random flow features classify better by k-NN than random RGB or depth features."
    how = (
        "What is compared is the k-NN accuracy of features of untrained networks, averaged over all k, flow minus "
        "RGB or depth; networks are paired by their initialisation. The file holds no predictions, so there is no "
        "bootstrap over videos."
    )
    if table is None:
        note = "there are no accuracies of random features; make them with python -m dmcl_tf.random_features"
        return Claim(4, statement, how, "points", [Case("random features", note=note)])
    cases = []
    for mode, rows in table.groupby("batch_norm"):
        means = rows.groupby(["seed", "modality"])["accuracy"].mean().unstack()
        others = [modality for modality in means if modality in ("rgb", "depth")] if "flow" in means else []
        found = [
            Difference(f"flow − {name_of(str(other))}", (means["flow"] - means[other]).dropna().to_dict(), None)
            for other in others
        ]
        cases.append(Case(f"batch normalisation: {mode}", found, "" if found else "flow and RGB or depth are needed"))
    return Claim(4, statement, how, "points", cases)


def better_teacher(collection: RunCollection) -> Claim:
    """Claim 5: Table 3, Sec. 4.3."""
    statement = "A random teacher is worse than the winner as teacher, in every modality."
    how = (
        "What is compared is the accuracy of each network on the test videos, DMCL minus random teacher, both with "
        "the same loss."
    )
    cases = _against(collection, "dmcl", "random_teacher", _of_each_network, same_loss=True)
    return Claim(5, statement, how, "points", cases)


def smaller_gap(collection: RunCollection) -> Claim:
    """Claim 6: Table 1, Sec. 4.3."""
    cases = _against(collection, "dmcl", "independent", lambda a, b: [difference("gap", b, a)], order=-1)
    how = "What is compared is the oracle accuracy minus the accuracy of the sum, independent training minus DMCL."
    return Claim(6, "The gap Φ − Σ is smaller for DMCL than for independent training.", how, "points", cases)


def larger_gain(collection: RunCollection) -> Claim:
    """Claim 7: Sec. 4.3, on Table 5."""
    fewer = {groups[0].label: groups[1:] for groups in collection.by_fraction() if groups[0].config.train_fraction == 1}
    independent = [group for group in collection.find("independent") if group.label in fewer]
    cases: list[Case] = []
    unlike: list[Case] = []
    for group in [group for group in collection.find("dmcl") if group.label in fewer] if independent else []:
        baseline, note = _partner(independent, group, ("rgb",))
        label = f"{group.label} − {baseline.label}"
        if note:
            unlike.append(Case(label, note=note))
            continue
        by_fraction = [{g.config.train_fraction: g for g in fewer[whole.label]} for whole in (group, baseline)]
        for fraction in sorted(by_fraction[0].keys() & by_fraction[1].keys()):
            signed = [(1, by_fraction[0][fraction]), (-1, by_fraction[1][fraction]), (-1, group), (1, baseline)]
            cases.append(Case(f"{100 * fraction:g} % of the videos against all: {label}", [contrast("rgb", signed)]))
    how = (
        "What is compared is the gain in the accuracy of RGB, DMCL minus independent training: the gain with fewer "
        "training videos minus the gain with all."
    )
    none = [Case("DMCL", note="runs of dmcl and of independent on all and on fewer videos are needed")]
    statement = "The gain of DMCL's RGB network grows as training data shrink."
    return Claim(7, statement, how, "points", cases or unlike or none)


def stronger_networks(collection: RunCollection) -> Claim:
    """Claim 8: "strengthening one another", Sec. 1 and 4.3."""
    statement = "DMCL strengthens every network of the ensemble, not some at the cost of others."
    how = "What is compared is the accuracy of each network on the test videos, DMCL minus independent training."
    return Claim(8, statement, how, "points", _against(collection, "dmcl", "independent", _of_each_network))


def _of_each_network(group: RunGroup, other: RunGroup) -> list[Difference]:
    return [difference(modality, group, other) for modality in group.config.modalities]


def _against(
    collection: RunCollection,
    method: str,
    other: str,
    differences: Callable[[RunGroup, RunGroup], Sequence[Difference]],
    *,
    needs: Sequence[str] = (),
    all_networks: bool = True,
    same_loss: bool = False,
    order: int = 1,
) -> list[Case]:
    """A case for each group of a method, compared with the closest one of another method that has the same networks.

    Args:
        collection: the runs.
        method: of the groups.
        other: the method that they are compared with.
        differences: what is compared.
        needs: modalities without which nothing can be.
        all_networks: compare all networks of a group, not only those of `needs`.
        same_loss: compare only groups whose losses have the same weights.
        order: -1 writes the other method first.
    """
    others = collection.find(other)
    cases: list[Case] = []
    unlike: list[Case] = []  # shown where there is nothing else
    for group in collection.find(method) if others else []:
        names = (*needs, *(group.config.modalities if all_networks else ()))
        same = [o for o in others if not same_loss or o.config.loss_weights() == group.config.loss_weights()]
        if not same:
            note = f"there is no finished run of {other} with the same loss on all videos"
            cases.append(Case(group.label, note=note))
            continue
        baseline, note = _partner(same, group, names)
        label = " − ".join([group.label, baseline.label][::order])
        if note:
            unlike.append(Case(label, note=note))
        else:
            cases.append(Case(label, differences(group, baseline)))
    return cases or unlike or _no_runs(method if others else other)


def _partner(candidates: Sequence[RunGroup], group: RunGroup, names: Sequence[str]) -> tuple[RunGroup, str]:
    """The candidate that is closest to a group, and what keeps networks of the two from being compared, if anything."""
    baseline = closest([c for c in candidates if not _unlike(group, c, names)] or candidates, group)
    return baseline, _unlike(group, baseline, names)


def _unlike(group: RunGroup, baseline: RunGroup, names: Sequence[str]) -> str:
    """Says that a network is missing, of another kind or width, or was trained otherwise than by another method."""
    missing = _lacking(group, *names) or _lacking(baseline, *names)
    if missing:
        return missing
    one, two = group.config, baseline.config
    other = [f"the network of {name}" for name in names if one.network(name) != two.network(name)]
    other += [name.replace("_", " ") for name in (*SHARED, "freeze") if getattr(one, name) != getattr(two, name)]
    other += ["what networks start from"] if start_of(one) != start_of(two) else []
    return f"{baseline.label} differs in {', '.join(other)}" if other else ""


def _no_runs(method: str) -> list[Case]:
    return [Case(METHOD_NAMES[method], note=f"there is no finished run of {method} on all videos")]


def _lacking(group: RunGroup, *modalities: str) -> str:
    missing = [modality for modality in modalities if modality not in group.config.modalities]
    return f"{group.label} has no {' and no '.join(missing)}" if missing else ""
