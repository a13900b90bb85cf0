"""Optical flow as images: golden values, and the way back."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest

from data_prep.flow.encoding import ENCODINGS, bound_in_pixels, decode_flow, encode_flow
from data_prep.video.frames import encode_jpeg

FLOW = np.array([[[0, 0], [20, -20], [-20, 20], [50, 0], [0, -50]]], np.float32)


def test_rest_is_128_and_bounds_are_inside_the_range():
    image = encode_flow(FLOW, 20)
    assert image.dtype == np.uint8
    assert image[0].tolist() == [[128, 128, 0], [255, 1, 255], [1, 255, 255], [255, 128, 180], [128, 1, 180]]


def test_the_third_channel_can_be_constant():
    image = encode_flow(FLOW, 20, "uv")
    np.testing.assert_array_equal(image[..., :2], encode_flow(FLOW, 20)[..., :2])
    assert set(image[..., 2].ravel()) == {128}


def test_direction_and_magnitude_can_be_a_colour():
    image = encode_flow(FLOW, 20, "hsv")
    assert image.dtype == np.uint8
    assert image[0, 0].tolist() == [0, 0, 0]
    for (u, v), colour in zip(np.clip(FLOW[0], -20, 20), image[0]):
        hue, value = np.arctan2(v, u) / (2 * np.pi) % 1, np.hypot(u, v) / (np.sqrt(2) * 20)
        np.testing.assert_allclose(colour, 255 * np.array(colorsys.hsv_to_rgb(hue, 1, value)), atol=0.51)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_decoding_is_exact_up_to_rounding(encoding):
    flow = np.random.RandomState(0).uniform(-6.25, 6.25, (32, 32, 2)).astype(np.float32)
    image = encode_flow(flow, 6.25, encoding)
    assert image.shape == (32, 32, 3)
    error = np.abs(decode_flow(image, 6.25, encoding) - flow).max()
    # half a step of u and v; for colours, half a step of the value and of the hue
    assert error <= (6.25 / 254 + 1e-5 if encoding != "hsv" else 1.2 * np.sqrt(2) * 6.25 / 255)
    assert decode_flow(image, 6.25, encoding).dtype == np.float32


def test_the_bound_scales_with_the_frame():
    assert bound_in_pixels(20, 256, 256) == 20
    assert bound_in_pixels(20, 80, 80) == 6.25
    assert bound_in_pixels(20, 480, 640) == 50


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_full_chroma_keeps_the_flow_sharper(encoding):
    flow = np.zeros((64, 64, 2), np.float32)
    flow[20:40, 24:30] = (3, -2)
    errors = []
    for full_chroma in (True, False):
        content = encode_jpeg(encode_flow(flow, 5, encoding)[..., ::-1].copy(), 95, full_chroma=full_chroma)
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        errors.append(np.abs(decode_flow(image, 5, encoding) - flow).mean())
    assert errors[0] < 0.8 * errors[1]
