"""How every figure looks: a light card that reads on dark pages and in print, and lines that differ without colour."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SETTINGS = {
    "figure.facecolor": "#fbfbf9",
    "axes.facecolor": "#fbfbf9",
    "savefig.facecolor": "#fbfbf9",
    "savefig.dpi": 150,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": "#222222",
    "text.color": "#222222",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "hatch.linewidth": 0.8,
    "figure.constrained_layout.use": True,
}


class Look(NamedTuple):
    """How a line or bar is drawn."""

    color: str
    linestyle: str | tuple
    marker: str
    hatch: str

    @property
    def line(self) -> dict[str, Any]:
        """Arguments of what draws a line."""
        return {"color": self.color, "linestyle": self.linestyle, "marker": self.marker}


# Colour-blind safe (Okabe and Ito). The modalities have the colours of Fig. 3 of the paper.
MODALITIES = {
    "rgb": Look("#0072b2", "-", "o", ""),
    "depth": Look("#008f68", "--", "s", "//"),
    "flow": Look("#d55e00", "-.", "^", ".."),
    "skeleton": Look("#56a0c8", (0, (1, 1)), "X", "oo"),
    "hallucination": Look("#b0508c", (0, (5, 1)), "v", "\\\\"),
    "sum": Look("#4d4d4d", ":", "D", "xx"),
}
_CYCLE = (
    Look("#4d4d4d", "--", "s", "//"),
    Look("#0072b2", "-", "o", ""),
    Look("#d55e00", "-.", "^", ".."),
    Look("#008f68", ":", "D", "xx"),
    Look("#b0508c", (0, (5, 1)), "v", "\\\\"),
    Look("#b08a00", (0, (3, 1, 1, 1)), "P", "++"),
    Look("#56a0c8", (0, (1, 1)), "X", "oo"),
    Look("#8c4a2f", (0, (7, 2, 1, 2)), "*", "--"),
    Look("#7a5cc0", (0, (2, 2)), "<", "||"),
    Look("#c2304a", (0, (9, 2)), "h", "**"),
)


def look(index: int) -> Look:
    """The look of the line or bar with this index, when lines are methods."""
    return _CYCLE[index % len(_CYCLE)]


def modality_look(modality: str, index: int) -> Look:
    """The look of a modality, by its name or else its index."""
    return MODALITIES.get(modality, look(index + len(MODALITIES)))


@contextlib.contextmanager
def figure_style() -> Iterator[None]:
    """Makes figures without a screen, in this style."""
    import matplotlib

    with matplotlib.rc_context({**_SETTINGS, "backend": "Agg"}):
        yield


def new_figure(rows: int, columns: int, *, width: float, height: float, **shared) -> tuple[Figure, list]:
    """A figure of `rows` × `columns` panels of some size in inches; returns it and its axes in reading order."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows))
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    return figure, list(axes.flat)


def legend_below(figure: Figure, panels: Sequence[Axes]) -> None:
    """One legend for all panels, each name once, and room for it."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    width = 0.55 + 0.075 * max(map(len, entries))  # an entry's, in inches
    columns = max(1, min(len(entries), int(figure.get_figwidth() / width)))
    figure.set_figheight(figure.get_figheight() + 0.2 * math.ceil(len(entries) / columns))
    figure.legend(
        entries.values(), entries.keys(), loc="outside lower center", ncols=columns, handlelength=3.2, fontsize=9
    )
