"""What is known of each data set: classes, protocols, and what the paper reports. A new one is a file and an entry."""

from __future__ import annotations

from dmcl_tf.datasets import custom, ntu, nwucla, utd_mhad, uwa3dii
from dmcl_tf.datasets.base import Dataset
from dmcl_tf.errors import InputError, meant

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        *(nwucla.DEMO, nwucla.DATASET, uwa3dii.DATASET, *ntu.DATASETS, utd_mhad.DATASET),
        custom.DATASET,
    )
}


def find_dataset(name: str) -> Dataset:
    """The data set of a name.

    Raises:
        InputError: there is none; the message suggests the nearest name.
    """
    if name not in DATASETS:
        raise InputError(f"{name!r}: expected a data set, one of {', '.join(DATASETS)}{meant(name, DATASETS)}")
    return DATASETS[name]


def dataset_of(family: str) -> Dataset:
    """The data set of records whose `dataset.json` names it.

    Raises:
        InputError: there is none, or several share such records.
    """
    members = [dataset for dataset in DATASETS.values() if dataset.folder == family]
    if len(members) != 1:
        names = ", ".join(dataset.name for dataset in members) or ", ".join(DATASETS)
        raise InputError(f"records of {family!r}: say which data set is meant, --dataset={names.replace(', ', '|')}")
    return members[0]
