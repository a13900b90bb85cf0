"""The figures of a report, drawn where the runs have changed since they were drawn last."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dmcl_tf.errors import InputError
from dmcl_tf.files import atomic_path, read_json, write_json
from dmcl_tf.reporting.collection import RunCollection

_DRAWN_FROM = ("config.json", "results.json", "history.csv", "confusion.csv")
_DRAWN_BY = ("class_charts.py", "collection.py", "curves.py", "figures.py", "measures.py", "style.py", "tables.py")


@dataclass(frozen=True)
class Drawn:
    """`plots/drawn.json`: the figures that are there.

    Attributes:
        checksum: a checksum of the runs' files and of the code that drew them.
        captions: their captions, by the path of the picture, relative to the report.
    """

    checksum: str
    captions: dict[str, str]


def write_figures(collection: RunCollection, output: Path) -> dict[str, str]:
    """Writes the figures that there is something for; returns captions by path relative to `output`.

    Drawing takes much longer than all else, so figures of the same runs by the same code are left as they are.
    """
    record, checksum, before = output / "plots" / "drawn.json", _checksum(collection), dict[str, str]()
    with contextlib.suppress(InputError):  # not there, or damaged: all is drawn
        drawn = read_json(record, Drawn, "")
        before = drawn.captions
        if drawn.checksum == checksum and all((output / path).exists() for path in drawn.captions):
            return drawn.captions
    captions = _draw(collection, output)
    for path in before.keys() - captions.keys():  # of runs that are there no more
        (output / path).unlink(missing_ok=True)
    if captions:
        write_json(record, Drawn(checksum, captions))
    return captions


def _checksum(collection: RunCollection) -> str:
    code = [Path(__file__).with_name(name) for name in _DRAWN_BY]
    files = [path for run in collection.runs for name in _DRAWN_FROM if (path := run.directory / name).exists()]
    value = 0
    for path in (*code, *files):
        value = zlib.crc32(path.read_bytes(), value)
    return f"{value:08x}"


def _draw(collection: RunCollection, output: Path) -> dict[str, str]:
    from dmcl_tf.reporting import class_charts, curves, style  # Matplotlib takes a second to load

    band = "Lines are means over seeds, in bands from the lowest to the highest."
    deviation = "Means and standard deviations are over seeds."
    of_all: list[tuple[Callable[..., Any], str]] = [
        (curves.training_loss, f"Training cross-entropy of each modality (Fig. 3 of the paper). {band}"),
        (curves.wins, f"Share of the training samples at which each modality has the lowest loss. {band}"),
        (curves.validation_accuracy, f"Accuracy on the validation videos. {band}"),
        (curves.train_fractions, f"Accuracy on the test videos against the share of the training videos. {deviation}"),
        (class_charts.per_class, f"Accuracy of RGB in every class, independent training against DMCL. {deviation}"),
    ]
    figures: list[tuple[str, Callable[[], Any], str]] = [
        (draw.__name__, partial(draw, collection), caption) for draw, caption in of_all
    ]
    for group in (*collection.find("independent"), *collection.find("dmcl")):
        name = re.sub(r"[^a-z0-9.]+", "_", group.label.lower().replace("'", ""))
        caption = f"Confusion matrices of {group.label}, in percent of each true class, all seeds together."
        figures.append((f"confusion_{name}", partial(class_charts.confusion, group), caption))
    captions = {}
    with style.figure_style():
        for name, draw, caption in figures:
            figure, path = draw(), Path("plots") / f"{name}.png"
            if figure:
                with atomic_path(output / path) as partial_path:  # the same bytes for the same figure
                    figure.savefig(partial_path, format="png", metadata={"Software": None})
                captions[path.as_posix()] = caption
    return captions
