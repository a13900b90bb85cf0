"""Random choices of training clips, drawn once per clip and shared by its modalities (authors: parsers.py)."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from dmcl_tf.config import Config


class Augmentation(NamedTuple):
    """What was drawn for one clip; every field is a scalar tensor unless a shape is given.

    Attributes:
        frames: (clip_frames,) int32, the frames to use.
        top: first row of the crop in the stored frame.
        left: first column of the crop.
        flip: whether to mirror.
        color: whether to distort the colours of RGB.
        color_seed: (2,) seed of the distortion.
    """

    frames: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor
    flip: tf.Tensor
    color: tf.Tensor
    color_seed: tf.Tensor


def draw(config: Config, length: tf.Tensor, seed: tf.Tensor) -> Augmentation:
    """Draws everything that is random about a training clip.

    The authors shift the crop by up to ±16 pixels in the arguments of `extract_glimpse`, which halves them: the shift
    is floor(u), u uniform in [-8, 8), of 256 pixels. `config.crop_jitter` is that 8 as a fraction of the frame.

    Args:
        config: of the run.
        length: number of frames of the video, scalar.
        seed: (2,), integers.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    shift = config.crop_jitter * config.frame_size
    offsets = tf.floor(tf.random.stateless_uniform([2], seeds[1], -shift, shift))
    chances = tf.random.stateless_uniform([3], seeds[2])
    offsets = tf.where(chances[0] < config.crop_jitter_probability, offsets, tf.zeros_like(offsets))
    margin = config.frame_size - config.crop_size
    corner = tf.clip_by_value(margin // 2 + tf.cast(offsets, tf.int32), 0, margin)
    return Augmentation(
        frames=segment_indices(length, config.clip_frames, seeds[0]),
        top=corner[0],
        left=corner[1],
        flip=chances[1] < config.flip_probability,
        color=chances[2] < config.color_probability,
        color_seed=seeds[3],
    )


def segment_indices(length: tf.Tensor, segments: int, seed: tf.Tensor) -> tf.Tensor:
    """One random frame from each of equal segments: index j is uniform in [ceil(jL/n), ceil((j+1)L/n)).

    Args:
        length: number of frames L ≥ n, scalar.
        segments: n.
        seed: (2,).

    Returns:
        (n,) int32, ascending.
    """
    length = tf.cast(length, tf.int64)
    bounds = -(-tf.range(segments + 1, dtype=tf.int64) * length // segments)  # ceiling division
    widths = tf.cast(bounds[1:] - bounds[:-1], tf.float32)
    steps = tf.floor(tf.random.stateless_uniform([segments], seed) * widths)
    return tf.cast(bounds[:-1], tf.int32) + tf.cast(steps, tf.int32)


def distort_colors(clip: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Random brightness ±32, saturation ×.5–1.5, hue ±.2 and contrast ×.5–1.5 in one of the authors' six orders.

    Half of the clips get brightness and saturation alone, the other half all four. One draw serves all frames;
    contrast is about the mean of each frame and channel.

    Args:
        clip: (T, H, W, 3) float32 in 0–255.
        seed: (2,).

    Returns:
        The same shape, clipped to 0–255.
    """
    draws = tf.random.stateless_uniform([6], seed)

    def brightness(x):
        return x + (64.0 * draws[0] - 32.0)

    def saturation(x):
        return tf.image.adjust_saturation(x, 0.5 + draws[1])

    def hue(x):
        return tf.image.adjust_hue(x, 0.4 * draws[2] - 0.2)

    def contrast(x):
        return tf.image.adjust_contrast(x, 0.5 + draws[3])

    orders = (
        (brightness, saturation),
        (saturation, brightness),
        (brightness, saturation, hue, contrast),
        (saturation, brightness, contrast, hue),
        (contrast, hue, brightness, saturation),
        (hue, saturation, contrast, brightness),
    )
    ordering = tf.cast(4.0 * draws[4], tf.int32)
    branch = tf.where(draws[5] < 0.5, ordering // 2, ordering + 2)

    def apply(order):
        x = clip
        for distortion in order:
            x = distortion(x)
        return x

    distorted = tf.switch_case(branch, [lambda order=order: apply(order) for order in orders])
    return tf.clip_by_value(distorted, 0.0, 255.0)
