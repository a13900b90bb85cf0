"""Figures of a report: what the networks get right, class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dmcl_tf.reporting.collection import RunCollection, RunGroup
from dmcl_tf.reporting.measures import closest
from dmcl_tf.reporting.style import legend_below, look, new_figure
from dmcl_tf.reporting.tables import COLUMN_NAMES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_CLASSES = 60  # that a matrix can show by name
_MOST_BARS = 30  # classes that bars can show


def per_class(collection: RunCollection, modality: str = "rgb") -> Figure | None:
    """Accuracy of one modality in every class, independent training against DMCL; the lines are standard deviations."""
    baselines = [group for group in collection.find("independent") if modality in group.config.modalities]
    dmcl = [group for group in collection.find("dmcl") if modality in group.config.modalities]
    if not baselines or not dmcl:
        return None
    groups = [closest(baselines, dmcl[0]), *dmcl]
    scores = {group.label: _class_accuracies(group, modality) for group in groups}
    means = pd.DataFrame({label: table.mean(axis=1) for label, table in scores.items()})
    spread = (means.max(axis=1) - means.min(axis=1)).sort_values(ascending=False, kind="stable")
    classes = [name for name in means.index if name in spread.index[:_MOST_BARS]]
    figure, (axes,) = new_figure(1, 1, width=7.2, height=1.2 + 0.16 * len(classes) * (1 + len(groups)))
    thickness = 0.84 / len(groups)
    for index, group in enumerate(groups):
        table = scores[group.label].loc[classes]
        style = look(index)
        axes.barh(
            np.arange(len(classes)) + (index - (len(groups) - 1) / 2) * thickness,
            table.mean(axis=1),
            height=thickness,
            xerr=table.std(axis=1, ddof=1) if table.shape[1] > 1 else None,
            color=style.color,
            hatch=style.hatch,
            edgecolor="#fbfbf9",
            error_kw={"ecolor": "#222222", "elinewidth": 1},
            label=group.label,
        )
    axes.set_yticks(np.arange(len(classes)), classes)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    if len(classes) < len(means):
        axes.set_title(f"the {len(classes)} of {len(means)} classes that differ most")
    axes.grid(axis="y", visible=False)
    axes.set(xlim=(0, 100), xlabel=f"accuracy of {COLUMN_NAMES.get(modality, modality)} on the test videos, %")
    legend_below(figure, [axes])
    return figure


def _class_accuracies(group: RunGroup, modality: str) -> pd.DataFrame:
    """Percent by class (rows) and seed (columns)."""
    return pd.DataFrame({seed: run.results.per_class[modality] for seed, run in group.runs.items()}, dtype=float)


def confusion(group: RunGroup) -> Figure | None:
    """Confusion matrices of every modality and Σ of several, in percent of each true class, over all seeds."""
    matrices = [matrix for run in group.runs.values() if (matrix := run.confusion)]
    if not matrices:
        return None
    classes, names = group.first.class_names, list(matrices[0])
    if len(names) == 2:  # one network, whose Σ it is itself
        names = names[:1]
    named = len(classes) <= _MOST_CLASSES
    side = max(2.6, 0.27 * len(classes)) if named else 4.0  # a matrix's, in inches
    margin = 0.08 * max(map(len, classes)) if named else 0.4
    columns = min(2, len(names))
    rows = int(np.ceil(len(names) / columns))
    width, height = side + (margin + 1.3) / columns, side + 0.3 + (margin + 0.4) / rows
    figure, panels = new_figure(rows, columns, width=width, height=height, sharex=True, sharey=True)
    for axes, name in zip(panels, names):
        counts = np.sum([matrix[name] for matrix in matrices], axis=0)
        shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        axes.set_title(COLUMN_NAMES.get(name, name))
        axes.grid(visible=False)
        if not named:
            continue
        axes.set_xticks(range(len(classes)), classes, rotation=90)
        axes.set_yticks(range(len(classes)), classes)
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.5 and len(classes) <= 15:
                color = "white" if share > 55 else "#222222"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7.5, color=color)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("predicted class", fontsize=10)
    figure.supylabel("true class", fontsize=10)
    figure.colorbar(image, ax=panels, shrink=0.6, label="% of the videos of the true class")
    return figure
