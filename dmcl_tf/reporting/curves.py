"""Figures of a report: what happened in training, by modality and by method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dmcl_tf.reporting.collection import RunCollection, RunGroup
from dmcl_tf.reporting.style import look, modality_look, new_figure
from dmcl_tf.reporting.tables import COLUMN_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3  # panels beside each other
_MARKERS = 9  # on a line


def training_loss(collection: RunCollection) -> Figure | None:
    """Fig. 3: training cross-entropy of each modality over the epochs, a panel for each group of runs on all videos."""
    return _by_modality(collection, "cross_entropy", "training cross-entropy", low=0)


def wins(collection: RunCollection) -> Figure | None:
    """The share of training samples that each modality wins over the epochs, a panel for each group of runs."""
    figure = _by_modality(collection, "wins", "samples won, %", low=0, factor=100, several=True)
    if figure:
        for axes in figure.axes:
            axes.set_ylim(0, 102)
    return figure


def validation_accuracy(collection: RunCollection) -> Figure | None:
    """Validation accuracy over the epochs, a panel for each modality and Σ, a line for each group of runs."""
    groups = [group for group in collection.on_all_videos() if group.histories]
    names = [name for name in COLUMN_NAMES if any(len(_validations(group, name)) for group in groups)]
    if not names:
        return None
    figure, panels = _panels(len(names))
    for axes, name in zip(panels, names):
        for index, group in enumerate(groups):
            columns = _validations(group, name)
            if columns:
                _band(axes, pd.concat(columns, axis=1), look(index), group.label)
        axes.set(title=f"{COLUMN_NAMES[name]} on the validation videos", xlabel="epoch", ylabel="accuracy, %")
    _legend_below(figure, panels)
    return figure


def train_fractions(collection: RunCollection) -> Figure | None:
    """Test accuracy against the share of the training videos, mean and standard deviation over seeds."""
    series = collection.by_fraction()
    every = [group for groups in series for group in groups]
    names = [name for name in COLUMN_NAMES if any(group.accuracies(name).notna().any() for group in every)]
    if not names:
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
        axes.set(title=COLUMN_NAMES[name], xlabel="training videos, %", ylabel="accuracy, %")
    _legend_below(figure, panels)
    return figure


def _by_modality(
    collection: RunCollection, kind: str, label: str, *, low: float, factor: float = 1.0, several: bool = False
) -> Figure | None:
    """Columns `<modality>_<kind>` of the histories over the epochs, a panel for each group of runs on all videos."""
    fewest = 2 if several else 1
    groups = [g for g in collection.on_all_videos() if g.histories and len(g.config.modalities) >= fewest]
    if not groups:
        return None
    figure, panels = _panels(len(groups))
    for number, (axes, group) in enumerate(zip(panels, groups)):
        for index, modality in enumerate(group.config.modalities):
            frames = group.histories.values()
            columns = [factor * history.set_index("epoch")[f"{modality}_{kind}"] for history in frames]
            style = modality_look(modality, index)
            _band(axes, pd.concat(columns, axis=1), style, COLUMN_NAMES.get(modality, modality))
        runs = len(group.histories)
        axes.set_title(_two_lines(group.label) + (f" ({runs} runs)" if runs > 1 else " (1 run)"))
        axes.set(xlabel="epoch", ylabel="" if number % _COLUMNS else label)
        axes.set_ylim(bottom=low)
    _legend_below(figure, panels)
    return figure


def _two_lines(label: str) -> str:
    first, _, rest = label.partition(", ")
    return f"{first}\n{rest}" if len(label) > 34 else label


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


def _legend_below(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all panels, each name once, and room for it."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    width = 0.55 + 0.075 * max(map(len, entries))  # an entry's, in inches
    columns = max(1, min(len(entries), int(figure.get_figwidth() / width)))
    figure.set_figheight(figure.get_figheight() + 0.2 * np.ceil(len(entries) / columns))
    figure.legend(
        entries.values(), entries.keys(), loc="outside lower center", ncols=columns, handlelength=3.2, fontsize=9
    )


def _validations(group: RunGroup, name: str) -> list[pd.Series]:
    """The validation accuracy of each run by epoch, where there was a validation."""
    column = f"validation_{name}"
    found = [h.set_index("epoch")[column].dropna() for h in group.histories.values() if column in h]
    return [values for values in found if len(values)]
