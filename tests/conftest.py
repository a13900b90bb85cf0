"""Miniature raw data that several tests start from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

# Tests run beside each other, one on each core, and their threads would get in each other's way.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

NWUCLA_ACTIONS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 12)


def pytest_addoption(parser: pytest.Parser) -> None:
    """More kills than the quick tests have time for: `pytest tests/test_interruption.py --kills=50`."""
    parser.addoption("--kills", type=int, default=2, help="kill the preparation of records so often at random moments")


# Files that take longest, so that no worker is left alone with one at the end.
_FIRST = (
    *("training", "ensemble", "server", "benchmarks", "export", "campaign", "comparators", "initial_weights", "page"),
    *("workers", "interruption", "predict"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; the order is otherwise that of the names."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in _FIRST)


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """What a command sets in the environment, such as no progress bars for a server, is not for the next test's."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


def _write_nwucla_tree(
    root: Path,
    *,
    actions: Sequence[int] = NWUCLA_ACTIONS,
    views: Sequence[int] = (1, 2, 3),
    subjects: Sequence[int] = (1,),
    frames: int = 10,
    first_frame: int = 95,
    size: tuple[int, int] = (48, 64),
) -> Path:
    height, width = size
    ground = np.random.RandomState(0).randint(60, 120, (height, width, 3)).astype(np.uint8)
    for view in views:
        for label, action in enumerate(actions):
            for subject in subjects:
                folder = root / "multiview_action" / f"view_{view}" / f"a{action:02d}_s{subject:02d}_e00"
                folder.mkdir(parents=True)
                for i in range(frames):
                    colour, depth = ground.copy(), np.full((height // 2, width // 2), 200, np.uint8)
                    left, top = 4 + (label + i) % (width - 20), 4 + (3 * label + view * i) % (height - 20)
                    colour[top : top + 14, left : left + 14] = (25 * label, 255 - 25 * label, 60 * subject % 256)
                    depth[top // 2 : top // 2 + 7, left // 2 : left // 2 + 7] = 40 + 10 * label
                    number, time = first_frame + i, 90467319 + 33 * i
                    cv2.imwrite(str(folder / f"frame_{number}_tc_{time}_rgb.jpg"), colour)
                    cv2.imwrite(str(folder / f"frame_{number}_tc_{time + 32}_depth_vis.jpg"), depth)
                    (folder / f"frame_{number}_tc_{time + 32}_skeletons.txt").write_text("0\n")
                (folder / "fileList.txt").write_text("0 0\n")
    return root


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version of a model that the server and `predict` load in no time, see `tiny_model.write_model`."""
    from tiny_model import write_model  # which loads TensorFlow

    return write_model(tmp_path_factory.mktemp("tiny_model") / "1")


@pytest.fixture(scope="session")
def write_nwucla_tree() -> Callable[..., Path]:
    """`write_nwucla_tree(root, …)` writes a tiny data set in NW-UCLA's layout, squares moving on noise; returns `root`.

    Its frame numbers cross 99→100, and the time stamps of colour and depth differ, as in the real one.
    """
    return _write_nwucla_tree
