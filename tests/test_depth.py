"""Depth in 8 bits: levels by formula, no reading told from near after JPEG, and what each mode refuses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from raw import depth_frame

from data_prep.video.depth import MODES, NEAREST, DepthSettings, encode_depth, reading_range
from data_prep.video.frames import encode_jpeg, resize
from dmcl_tf.errors import InputError

CLIP = DepthSettings("clip_mm", near=500, far=4500)


def column(*values, dtype=np.uint16):
    """An image of a size that stays, each row one value."""
    return np.repeat(np.array(values, dtype)[:, None], len(values), axis=1)


def test_millimetres_are_clipped_and_scaled():
    image = column(0, 100, 500, 1500, 2500, 4500, 9000, 65535)
    levels = encode_depth(image, 8, CLIP)
    assert levels.dtype == np.uint8
    assert levels.shape == (8, 8)
    expected = [0, 16, 16, 16 + 239 / 4, 16 + 239 / 2, 255, 255, 255]
    np.testing.assert_array_equal(levels[:, 0], np.rint(expected))


def test_not_a_number_and_negatives_are_no_readings():
    image = column(np.nan, np.inf, -5, 4500, dtype=np.float64)
    np.testing.assert_array_equal(encode_depth(image, 4, CLIP)[:, 0], [0, 0, 0, 255])


def test_per_clip_spans_the_readings_of_the_clip():
    settings = DepthSettings("per_clip")
    images = [column(0, 1000, 1500, 0), column(2000, 0, 3000, 1000)]
    span = reading_range(images)
    assert span == (1000, 3000)
    first, second = (encode_depth(image, 4, settings, span)[:, 0].tolist() for image in images)
    assert first == [0, 16, round(16 + 239 / 4), 0]
    assert second == [round(16 + 239 / 2), 0, 255, 16]
    blank = np.zeros((4, 4), np.uint16)
    assert reading_range([blank]) == (0, 0)
    assert not encode_depth(blank, 4, settings, (0, 0)).any()
    constant = np.full((4, 4), 700, np.uint16)
    assert (encode_depth(constant, 4, settings, reading_range([constant])) == NEAREST).all()


def test_jet_has_the_colours_of_the_levels_and_black_for_no_reading():
    image = column(0, 500, 2500, 4500)
    colours = encode_depth(image, 4, DepthSettings("jet", 500, 4500))
    expected = cv2.applyColorMap(np.array([[16], [136], [255]], np.uint8), cv2.COLORMAP_JET)[:, 0]
    np.testing.assert_array_equal(colours[:, 0], [[0, 0, 0], *expected.tolist()])
    of_bytes = encode_depth(column(0, 16, 136, 255, dtype=np.uint8), 4, DepthSettings("jet"))
    np.testing.assert_array_equal(of_bytes, colours)


@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 3)])
def test_as_is_only_resizes(shape):
    image = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(encode_depth(image, 16, DepthSettings()), resize(image, 16))


def test_shrinking_averages_readings_alone():
    """Half of a pixel's area at 2 m and half without a reading is 2 m, not 1 m."""
    image = np.zeros((40, 40), np.uint16)
    image[:, :18] = 2000  # the boundary falls inside a column of 4 × 4 blocks
    levels = encode_depth(image, 10, CLIP)
    at_2_m = round(16 + 239 * 1500 / 4000)
    np.testing.assert_array_equal(levels[0], [at_2_m] * 5 + [0] * 5)  # half covered: a reading
    image[:, 17] = 0
    np.testing.assert_array_equal(encode_depth(image, 10, CLIP)[0], [at_2_m] * 4 + [0] * 6)


def test_no_reading_stays_distinguishable_after_jpeg():
    """At 640×480, a person at changing distances before nothing: a threshold of half the gap errs nowhere."""
    y, x = np.mgrid[:480, :640]
    person = (np.abs(x - 300) < 90) & (y > 60)
    distance = 600 + 3 * np.abs(x - 300) + 2 * y
    image = np.where(person, distance, 0).astype(np.uint16)
    for size in (80, 256):
        levels = encode_depth(image, size, CLIP)
        assert 0 < (levels > 0).mean() < 1
        decoded = cv2.imdecode(np.frombuffer(encode_jpeg(levels, 95), np.uint8), cv2.IMREAD_GRAYSCALE)
        wrong = (decoded >= NEAREST // 2) != (levels > 0)
        assert wrong.mean() == 0


@pytest.mark.parametrize(
    ("image", "mode", "message"),
    [
        (
            depth_frame(0),
            "as_is",
            r"of 16 bits per pixel, but as_is takes 8: choose --depth_mode=clip_mm\|per_clip\|jet",
        ),
        (depth_frame(0).astype(np.float64), "as_is", "of 64 bits per pixel"),
        (np.ones((4, 4), np.uint8), "clip_mm", "8 bits per pixel holds no millimetres: choose --depth_mode=as_is"),
        (
            np.ones((4, 4, 3), np.uint16),
            "clip_mm",
            "colour of more than 8 bits per channel: convert the frames to 8 bits",
        ),
        (
            np.ones((4, 4, 3), np.uint16),
            "as_is",
            "colour of more than 8 bits per channel: convert the frames to 8 bits",
        ),
        (np.ones((4, 4, 3), np.uint8), "per_clip", "a colour image, but --depth_mode=per_clip"),
    ],
)
def test_images_that_do_not_fit_the_mode(image, mode, message):
    with pytest.raises(InputError, match=message) as caught:
        encode_depth(image, 4, DepthSettings(mode), (1, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_bytes_and_keeps_no_reading_zero(mode):
    image = column(0, 0, 800, 3000) if mode != "as_is" else column(0, 0, 80, 200, dtype=np.uint8)
    levels = encode_depth(image, 4, DepthSettings(mode), (800, 3000))
    assert levels.dtype == np.uint8
    np.testing.assert_array_equal(levels.reshape(4, 4, -1).any(axis=(1, 2)), [False, False, True, True])
