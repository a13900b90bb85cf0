"""The accuracies that the paper reports (Tables 1–5), in percent."""

from __future__ import annotations

import csv
import functools
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from dmcl_tf.registry import HALLUCINATION

_TABLES = (3, 1, 5, 4)  # where tables repeat a number they are asked in this order; 3 has every modality
# methods of others that Tables 4 and 5 quote
OTHERS = {
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
_TWO_NETWORKS = ("garcia_2018", "admd")  # tested on RGB with the hallucination network, for which Table 5 writes RGB


class Row(NamedTuple):
    """A number of the paper."""

    table: int
    dataset: str
    method: str
    trained: str  # modalities, such as rgb+depth
    tested: str
    accuracy: float


def reported(dataset: str, method: str, modalities: Collection[str]) -> dict[str, float]:
    """The paper's accuracies by name (`rgb`, `sum`, `oracle` …); empty where it reports none.

    Args:
        dataset: such as `nwucla`.
        method: such as `dmcl`.
        modalities: those that were trained together.
    """
    together = set(modalities)
    found: dict[str, float] = {}
    for table in _TABLES:
        for row in _rows(dataset, table):
            if row.method == method and set(row.trained.split("+")) == together:
                found.setdefault(row.tested, row.accuracy)
    return found


def alone(dataset: str, modality: str) -> dict[str, float]:
    """The accuracy of an independently trained network by its modality, whichever others it is reported beside."""
    rows = [row for table in _TABLES for row in _rows(dataset, table)]
    found = [row.accuracy for row in rows if (row.method, row.tested) == ("independent", modality)]
    return {modality: found[0]} if found else {}


def random_features(dataset: str = "nwucla") -> dict[str, dict[int, float]]:
    """Table 2: accuracies of k-NN on random features, by modality and k; empty where it reports none."""
    found: dict[str, dict[int, float]] = {}
    for row in _rows(dataset, 2):
        found.setdefault(row.tested, {})[int(row.method.replace("knn_k", ""))] = row.accuracy
    return found


def comparison(dataset: str) -> list[Row]:
    """The rows of Tables 4 and 5 for a data set; `tested` names all networks that are."""
    rows = [row for table in (4, 5) for row in _rows(dataset, table)]
    two = [row.method in _TWO_NETWORKS and row.tested == "rgb" for row in rows]
    return [row._replace(tested=f"rgb+{HALLUCINATION}") if both else row for row, both in zip(rows, two)]


@functools.cache
def _rows(dataset: str, table: int) -> list[Row]:
    with Path(__file__).with_name("paper_tables.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["dataset"], row["table"]) == (dataset, str(table))]
    return [
        Row(table, dataset, row["method"], row["train_modalities"], row["test_modality"], float(row["accuracy"]))
        for row in rows
    ]
