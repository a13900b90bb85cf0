"""What is drawn for a clip: frames, crop, mirroring and colours, in the authors' effective ranges."""

import numpy as np
import pytest
import tensorflow as tf

from dmcl_tf.config import resolve
from dmcl_tf.data import augmentation

DRAWS = 2000


def draw_many(config, length=40, seed=0):
    """`DRAWS` augmentations, stacked."""

    @tf.function
    def draw_all():
        return tf.map_fn(
            lambda i: augmentation.draw(config, tf.constant(length), tf.stack([tf.constant(seed), i])),
            tf.range(DRAWS),
            fn_output_signature=augmentation.Augmentation(
                tf.int32, tf.int32, tf.int32, flip=tf.bool, color_order=tf.int32, color_strengths=tf.float32
            ),
        )

    return augmentation.Augmentation(*(field.numpy() for field in draw_all()))


@pytest.fixture(scope="module")
def authors_draws():
    return draw_many(resolve("authors", "full", {}))


@tf.function
def many_segment_indices(length):
    return tf.map_fn(lambda i: augmentation.segment_indices(length, 8, tf.stack([length, i])), tf.range(400))


@pytest.mark.parametrize("length", range(9, 41))
def test_one_frame_of_each_segment(length):
    indices = many_segment_indices(tf.constant(length)).numpy()
    assert indices.shape == (400, 8)
    for j in range(8):
        segment = np.arange(int(np.ceil(j * length / 8)), int(np.ceil((j + 1) * length / 8)))
        found, counts = np.unique(indices[:, j], return_counts=True)
        np.testing.assert_array_equal(found, segment)
        # uniform: within five standard deviations
        expected = 400 / len(segment)
        assert np.abs(counts - expected).max() <= 5 * np.sqrt(expected)


def test_a_video_as_long_as_the_clip_is_used_whole():
    for seed in range(5):
        np.testing.assert_array_equal(augmentation.segment_indices(8, 8, (seed, 1)), np.arange(8))


def test_frames_are_drawn_by_segments(authors_draws):
    assert authors_draws.frames.shape == (DRAWS, 8)
    np.testing.assert_array_equal(authors_draws.frames // 5, np.tile(np.arange(8), (DRAWS, 1)))


def test_authors_crop_moves_by_eight_pixels_half_of_the_time(authors_draws):
    for offset in (authors_draws.top, authors_draws.left):
        assert set(offset - 16) == set(range(-8, 8))  # floor of [-8, 8), around the central 16 of 256 - 224
    moved = (authors_draws.top != 16) | (authors_draws.left != 16)
    assert np.mean(moved) == pytest.approx(0.5 * (1 - 1 / 256), abs=0.05)
    shifts = authors_draws.top[moved] - 16
    assert np.mean(shifts) == pytest.approx(-0.5, abs=0.6)
    assert np.corrcoef(authors_draws.top[moved], authors_draws.left[moved])[0, 1] == pytest.approx(0, abs=0.15)


def test_papers_crop_always_moves_by_sixteen_pixels():
    draws = draw_many(resolve("paper", "full", {}))
    for offset in (draws.top, draws.left):
        assert set(offset) == set(range(32))
    assert np.mean((draws.top != 16) | (draws.left != 16)) > 0.98


def test_crop_stays_inside_the_frame():
    draws = draw_many(resolve("authors", "full", {"crop_size": 250, "crop_jitter_probability": 1.0}))
    assert (draws.top.min(), draws.top.max()) == (0, 6)
    assert (draws.left.min(), draws.left.max()) == (0, 6)


def test_flips_and_colours_happen_half_of_the_time_and_independently(authors_draws):
    moved = (authors_draws.top != 16) | (authors_draws.left != 16)
    chances = np.stack([authors_draws.flip, authors_draws.color_order > 0, moved]).astype(float)
    np.testing.assert_allclose(chances.mean(axis=1), 0.5, atol=0.05)
    np.testing.assert_allclose(np.corrcoef(chances), np.eye(3), atol=0.1)


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_probabilities_of_none_and_all(chance):
    settings = {"flip_probability": chance, "color_probability": chance, "crop_jitter_probability": chance}
    draws = draw_many(resolve("authors", "full", settings))
    assert set(draws.flip) == set(draws.color_order > 0) == {bool(chance)}
    assert (len(set(draws.top)) > 1) == bool(chance)


def test_draws_are_functions_of_the_seed(authors_draws):
    config = resolve("authors", "full", {})
    again, other = draw_many(config), draw_many(config, seed=1)
    for field, value in authors_draws._asdict().items():
        np.testing.assert_array_equal(getattr(again, field), value)
        assert not np.array_equal(getattr(other, field), value)


def test_clips_of_other_lengths_differ_in_their_frames_only(authors_draws):
    shorter = draw_many(resolve("authors", "full", {}), length=20)
    np.testing.assert_array_equal(shorter.top, authors_draws.top)
    np.testing.assert_array_equal(shorter.flip, authors_draws.flip)
    assert shorter.frames.max() < 20


def test_the_authors_six_colour_orders(authors_draws):
    """Their parsers.py: half of the distorted clips in the two orders of fast mode, half in the four of full mode."""
    assert augmentation.COLOR_ORDERS[1:] == ("bs", "sb", "bshc", "sbch", "chbs", "hscb")
    counts = np.bincount(authors_draws.color_order, minlength=7)[1:] / np.sum(authors_draws.color_order > 0)
    np.testing.assert_allclose(counts, [1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 8], atol=0.05)


def test_strengths_are_uniform_and_independent(authors_draws):
    assert authors_draws.color_strengths.shape == (DRAWS, 4)
    for values in authors_draws.color_strengths.T:
        np.testing.assert_allclose(np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), [0, 0.25, 0.5, 0.75, 1], atol=0.05)
    independent = np.corrcoef([*authors_draws.color_strengths.T, authors_draws.color_order])
    np.testing.assert_allclose(independent, np.eye(5), atol=0.1)


def authors_distortion(clip, order, strengths):
    """One order of the authors' colour distortions with given strengths, frame by frame."""
    frames = []
    for frame in clip:
        for letter in order:
            if letter == "b":
                frame = frame + (64.0 * strengths[0] - 32.0)
            elif letter == "s":
                frame = tf.image.adjust_saturation(frame, 0.5 + strengths[1])
            elif letter == "h":
                frame = tf.image.adjust_hue(frame, 0.4 * strengths[2] - 0.2)
            else:
                mean = tf.reduce_mean(frame, axis=(0, 1))
                frame = (frame - mean) * (0.5 + strengths[3]) + mean
        frames.append(tf.clip_by_value(frame, 0.0, 255.0))
    return tf.stack(frames).numpy()


@pytest.mark.parametrize("dtype", [tf.float32, tf.uint8])
def test_every_clip_of_a_batch_is_distorted_in_its_own_order(dtype):
    number = 14
    clips = tf.cast(tf.random.stateless_uniform((number, 2, 4, 5, 3), (1, 2), maxval=255.0), dtype)
    orders, strengths = np.arange(number) % 7, np.random.RandomState(0).uniform(size=(number, 4)).astype(np.float32)
    strengths[7:] *= 0.1  # also weak saturation and contrast
    distorted = tf.function(augmentation.distort_colors)(clips, tf.constant(orders, tf.int32), strengths).numpy()
    assert (distorted.shape, distorted.dtype) == (clips.shape, np.float32)
    clips = tf.cast(clips, tf.float32)
    for clip, order, drawn, result in zip(clips, orders, strengths, distorted):
        expected = authors_distortion(clip, augmentation.COLOR_ORDERS[order], drawn)
        np.testing.assert_allclose(result, expected, atol=0.01)
        assert np.array_equal(result, clip) == (order == 0)


def test_all_frames_of_a_clip_are_distorted_alike():
    frame = tf.random.stateless_uniform((6, 1, 6, 6, 3), (3, 4), maxval=255.0)
    strengths = tf.random.stateless_uniform((6, 4), (5, 6))
    distorted = augmentation.distort_colors(tf.repeat(frame, 3, axis=1), tf.range(1, 7), strengths).numpy()
    np.testing.assert_allclose(distorted, np.repeat(distorted[:, :1], 3, axis=1), atol=1e-3)
    assert np.abs(distorted[:, :1] - frame).max(axis=(1, 2, 3, 4)).min() > 1.0


@pytest.mark.parametrize("channels", [1, 3])
def test_some_clips_of_a_batch_are_mirrored(channels):
    clips = np.random.RandomState(0).randint(0, 256, (3, 2, 4, 5, channels), np.uint8)
    mirrored = augmentation.mirror(tf.constant(clips), tf.constant([True, False, True])).numpy()
    assert mirrored.dtype == np.uint8
    np.testing.assert_array_equal(mirrored[::2], clips[::2, :, :, ::-1])
    np.testing.assert_array_equal(mirrored[1], clips[1])


def test_horizontal_flow_of_some_clips_is_negated():
    flow = np.random.RandomState(0).randint(0, 256, (2, 2, 16, 16, 3), np.uint8)
    flow[:, 0, 0, :3, 0] = (0, 128, 255)
    negated = augmentation.negate_horizontal(tf.constant(flow), tf.constant([True, False])).numpy()
    np.testing.assert_array_equal(negated[0, 0, 0, :3, 0], (255, 128, 1))  # 256, which stands for -u, is none of a byte
    np.testing.assert_array_equal(negated[0, ..., 0], np.minimum(256.0 - flow[0, ..., 0], 255.0))
    np.testing.assert_array_equal(negated[0, ..., 1:], flow[0, ..., 1:])
    np.testing.assert_array_equal(negated[1], flow[1])
