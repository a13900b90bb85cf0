"""Figures of a report: what happened in training, by modality and by method."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dmcl_tf.reporting.collection import RunCollection, RunGroup
from dmcl_tf.reporting.style import legend_below, look, modality_look, new_figure
from dmcl_tf.reporting.tables import COLUMN_NAMES, column_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3  # panels beside each other
_MARKERS = 9  # on a line
_TITLE = 39  # characters in a line of a panel's title


def training_loss(collection: RunCollection) -> Figure | None:
    """Fig. 3: training cross-entropy of each modality over the epochs, a panel for each group of runs on all videos."""
    return _by_modality(collection, "{}_cross_entropy", "training cross-entropy", limits=(0, None))


def wins(collection: RunCollection) -> Figure | None:
    """The share of training samples that each modality wins over the epochs, a panel for each group of runs."""
    return _by_modality(collection, "{}_wins", "samples won, %", limits=(0, 102), factor=100, fewest=2)


def validation_accuracy(collection: RunCollection) -> Figure | None:
    """Validation accuracy of each modality and Σ over the epochs, a panel for each group of runs on all videos."""
    return _by_modality(collection, "validation_{}", "validation accuracy, %", limits=(0, 102), others=("sum",))


def train_fractions(collection: RunCollection) -> Figure | None:
    """Test accuracy against the share of the training videos, mean and standard deviation over seeds."""
    series = collection.by_fraction()
    every = [group for groups in series for group in groups]
    names = column_names(every)
    if not every:
        return None
    figure, panels = _panels(len(names))
    for axes, name in zip(panels, names):
        for index, groups in enumerate(series):
            members = sorted(groups, key=lambda group: group.config.train_fraction)
            shares = [100 * group.config.train_fraction for group in members]
            means = [group.accuracies(name).mean() for group in members]
            deviations = [group.accuracies(name).std(ddof=1) if len(group.runs) > 1 else 0 for group in members]
            axes.errorbar(shares, means, yerr=deviations, capsize=3, label=members[-1].label, **look(index).line)
        axes.set_xticks(sorted({100 * group.config.train_fraction for group in every}))
        axes.set(title=COLUMN_NAMES.get(name, name), xlabel="training videos, %", ylabel="accuracy, %")
    legend_below(figure, panels)
    return figure


def _by_modality(
    collection: RunCollection,
    column: str,
    label: str,
    *,
    limits: tuple[float, float | None],
    factor: float = 1.0,
    fewest: int = 1,
    others: Sequence[str] = (),
) -> Figure | None:
    """A column of the histories over the epochs, a panel for each group of runs on all videos.

    Args:
        collection: the runs.
        column: its name, with the modality's in place of the braces.
        label: of the vertical axis.
        limits: of the vertical axis.
        factor: of the values.
        fewest: modalities that a group must have.
        others: names beside the modalities', where there are several.
    """
    groups = [
        group
        for group in collection.on_all_videos()
        if len(group.config.modalities) >= fewest and _values(group, column.format(group.config.modalities[0]))
    ]
    if not groups:
        return None
    figure, panels = _panels(len(groups))
    for number, (axes, group) in enumerate(zip(panels, groups)):
        modalities = group.config.modalities
        for index, name in enumerate((*modalities, *(others if len(modalities) > 1 else ()))):
            values = factor * pd.concat(_values(group, column.format(name)), axis=1)
            _band(axes, values, modality_look(name, index), COLUMN_NAMES.get(name, name))
        runs = len(group.histories)
        axes.set_title(textwrap.fill(f"{group.label} ({runs}\N{NO-BREAK SPACE}run{'s' * (runs > 1)})", _TITLE))
        axes.set(xlabel="epoch", ylabel="" if number % _COLUMNS else label)
        axes.set_ylim(*limits)
    legend_below(figure, panels)
    return figure


def _values(group: RunGroup, column: str) -> list[pd.Series]:
    """A column of each run's history by epoch, of the runs that have values in it."""
    found = [h.set_index("epoch")[column].dropna() for h in group.histories.values() if column in h]
    return [values for values in found if len(values)]


def _band(axes: Axes, values: pd.DataFrame, style, label: str) -> None:
    """Draws the mean over runs (columns) with a band from the lowest to the highest."""
    epochs, mean = values.index + 1, values.mean(axis=1)
    every = max(1, len(epochs) // _MARKERS)
    axes.plot(epochs, mean, markevery=every, markersize=4, label=label, **style.line)
    if values.shape[1] > 1:
        axes.fill_between(epochs, values.min(axis=1), values.max(axis=1), color=style.color, alpha=0.18, linewidth=0)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, _COLUMNS)
    rows = int(np.ceil(count / columns))
    figure, panels = new_figure(rows, columns, width=max(3.6, 7.2 / columns), height=2.9)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels[:count]
