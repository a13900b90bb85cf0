"""The paper's tables: which of its methods are this project's, and what is reported for them."""

from pathlib import Path

import pandas as pd
import pytest

from dmcl_tf.datasets import paper
from dmcl_tf.registry import METHODS

TABLES = pd.read_csv(Path(paper.__file__).with_name("paper_tables.csv"))
ALL = ("rgb", "depth", "flow")


@pytest.mark.parametrize(
    ("dataset", "method", "expected"),
    [
        ("nwucla", "independent", {"rgb": 87.53, "depth": 80.30, "flow": 89.58, "sum": 93.79, "oracle": 97.86}),
        ("nwucla", "smcl", {"rgb": 24.83, "sum": 49.00, "oracle": 86.79}),
        ("nwucla", "cmcl", {"rgb": 11.13, "sum": 84.73, "oracle": 89.65}),
        ("nwucla", "random_teacher", {"rgb": 89.57, "depth": 57.81, "flow": 89.43, "sum": 86.93, "oracle": 95.71}),
        ("uwa3dii", "dmcl", {"rgb": 78.39, "depth": 81.87, "flow": 88.26, "sum": 88.51, "oracle": 94.59}),
        ("nwucla", "cmcl_stochastic", {}),
        ("nwucla", "mutual", {}),
        ("nwucla", "generalized_distillation", {}),
    ],
)
def test_what_the_paper_reports_of_a_method(dataset, method, expected):
    assert paper.reported(dataset, method, reversed(ALL)) == expected


def test_methods_of_tables_1_and_3_are_methods_here():
    ours = set(TABLES.loc[TABLES["table"].isin([1, 3]), "method"])
    assert ours == {"independent", "dmcl", "smcl", "cmcl", "random_teacher"}
    assert ours <= set(METHODS)
    for dataset in set(TABLES.loc[TABLES["table"] == 1, "dataset"]):
        assert all(paper.reported(dataset, method, ALL) for method in ("independent", "dmcl", "smcl", "cmcl"))
