"""The order of images in a folder, which their names say."""

from __future__ import annotations

import random

import pytest

from data_prep.video.series import choose_series, frame_numbers

STAMPS = [1699.0 + moment for moment in (0.5, 0.533534, 0.56687, 0.6, 0.63, 0.9, 0.96, 1.0, 1.03348, 1.067)]


@pytest.mark.parametrize(
    "ordered",
    [
        [f"{index}.png" for index in range(12)],
        [f"frame-{index}.JPG" for index in range(98, 103)],
        [f"{moment}.png" for moment in STAMPS],  # as Python writes them, without zeros at the end
        [f"{moment:.6f}.png" for moment in STAMPS],
        [f"rgb_{index * 0.05:g}.png" for index in range(25)],  # 0, 0.05, 0.1, …, 1, 1.05
        ["1.30438.png", "2.033534.png", "2.1.png", "10.5.png"],
        [f"cam1.{index}.png" for index in range(8, 13)],  # a counter behind a point
        [f"cam1.{index}.png" for index in range(99995, 100005)],
        [f"{index:02x}.png" for index in range(30)],
        [f"frame{index:04X}.png" for index in range(250, 265)],
    ],
)
def test_images_are_in_temporal_order(ordered):
    shuffled = random.Random(0).sample(ordered, len(ordered))
    assert choose_series(shuffled) == ordered


def test_fractions_and_hexadecimal_digits_are_no_frame_numbers():
    assert frame_numbers([f"rgb_{index}.png" for index in (3, 1, 20)]) == [3, 1, 20]
    assert frame_numbers(["1.30438.png", "1.033534.png"]) is None
    assert frame_numbers([f"{index:02x}.png" for index in range(20)]) is None


def test_letters_that_are_no_digits_are_kinds_of_images():
    """Two cameras a and b, whose names would be hexadecimal numbers with gaps."""
    names = [f"{camera}{index}.png" for camera in "ab" for index in range(9)]
    assert choose_series(names, "b") == names[9:]
