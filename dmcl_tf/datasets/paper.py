"""The accuracies that the paper reports (Tables 1–5)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

_TABLES = (3, 1, 5, 4)  # where tables repeat a number they are asked in this order; 3 has every modality


def reported(dataset: str, method: str, modalities: Collection[str]) -> dict[str, float]:
    """The paper's accuracies in percent by name (`rgb`, `sum`, `oracle` …); empty where it reports none.

    Args:
        dataset: such as `nwucla`.
        method: such as `dmcl`.
        modalities: that were trained together.
    """
    table = _tables()
    together = table["train_modalities"].str.split("+").map(set) == set(modalities)
    rows = table[(table["dataset"] == dataset) & (table["method"] == method) & together]
    ordered = pd.concat([rows[rows["table"] == number] for number in _TABLES])
    return ordered.drop_duplicates("test_modality").set_index("test_modality")["accuracy"].to_dict()


def random_features() -> dict[str, dict[int, float]]:
    """Table 2, accuracies in percent of k-NN on random features of NW-UCLA: by modality and k."""
    table = _tables()
    rows = table[table["table"] == 2]
    neighbours = rows["method"].str.replace("knn_k", "").astype(int)
    return {
        modality: dict(zip(neighbours[group.index], group["accuracy"]))
        for modality, group in rows.groupby("test_modality")
    }


def comparison(dataset: str) -> pd.DataFrame:
    """The rows of Tables 4 and 5 for a data set: method, train_modalities, test_modality, accuracy in percent."""
    table = _tables()
    return table[table["table"].isin([4, 5]) & (table["dataset"] == dataset)]


def _tables() -> pd.DataFrame:
    return pd.read_csv(Path(__file__).with_name("paper_tables.csv"))
