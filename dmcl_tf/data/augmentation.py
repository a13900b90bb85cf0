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


# Brightness, saturation, hue, contrast: the authors' two orders in fast mode, then their four in full.
_COLOR_ORDERS = ("bs", "sb", "bshc", "sbch", "chbs", "hscb")


def distort_colors(clip: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Random brightness ±32, saturation ×.5–1.5, hue ±.2 and contrast ×.5–1.5 in one of the authors' six orders.

    Half of the clips get brightness and saturation alone, the other half all four. One draw serves all frames;
    contrast is about the mean of each frame and channel. The values are those of `tf.image.adjust_…`.

    Args:
        clip: (T, H, W, 3) in 0–255, uint8 or float32.
        seed: (2,).

    Returns:
        (T, H, W, 3) float32, clipped to 0–255.
    """
    draws = tf.random.stateless_uniform([6], seed)
    ordering = tf.cast(4.0 * draws[4], tf.int32)
    branch = tf.where(draws[5] < 0.5, ordering // 2, ordering + 2)
    shape = tf.shape(clip)
    # a plane per channel, (3, T, H·W): all arithmetic then runs over long rows
    planes = tf.reshape(tf.transpose(tf.reshape(clip, [-1, 3])), [3, shape[0], -1])

    def apply(order):
        before, contrast, after = order.partition("c")
        distorted = _distort(planes, draws, None, before, last=not contrast)
        if not contrast:
            return distorted
        # the mean is what ends a pass over the pixels
        return _distort(distorted, draws, tf.reduce_mean(distorted, axis=2, keepdims=True), contrast + after, last=True)

    distorted = tf.switch_case(branch, [lambda order=order: apply(order) for order in _COLOR_ORDERS])
    return tf.reshape(tf.transpose(tf.reshape(distorted, [3, -1])), shape)


@tf.function(jit_compile=True, autograph=False)
def _distort(planes: tf.Tensor, draws: tf.Tensor, mean: tf.Tensor | None, order: str, last: bool) -> tf.Tensor:
    """Planes (3, T, N) → float32 planes, distorted in `order`, which starts with contrast where a `mean` is given.

    Compiled into one pass over the pixels, which is several times faster than TensorFlow's operations, of which
    `adjust_saturation` and `adjust_hue` are the slowest of the whole pipeline.
    """
    channels = tf.unstack(tf.cast(planes, tf.float32))
    for letter in order:
        if letter == "b":
            channels = [channel + (64.0 * draws[0] - 32.0) for channel in channels]
        elif letter == "s":
            channels = _scale_saturation(channels, 0.5 + draws[1])
        elif letter == "h":
            channels = _turn_hue(channels, 0.4 * draws[2] - 0.2)
        else:
            channels = [(channel - m) * (0.5 + draws[3]) + m for channel, m in zip(channels, tf.unstack(mean))]
    distorted = tf.stack(channels)
    return tf.clip_by_value(distorted, 0.0, 255.0) if last else distorted


def _scale_saturation(channels: list[tf.Tensor], factor: tf.Tensor) -> list[tf.Tensor]:
    """Multiplies the saturation 1 - smallest / largest by `factor`; it stays below 1."""
    largest, smallest = _extremes(channels)
    factor = tf.clip_by_value(tf.math.divide_no_nan(largest, largest - smallest), 0.0, factor)
    return [largest - (largest - channel) * factor for channel in channels]


def _turn_hue(channels: list[tf.Tensor], turn: tf.Tensor) -> list[tf.Tensor]:
    """Turns the hue by `turn` of a full circle; the largest and the smallest channel value of a pixel stay."""
    red, green, blue = channels
    largest, smallest = _extremes(channels)
    chroma = largest - smallest
    difference = tf.where(red == largest, green - blue, tf.where(green == largest, blue - red, red - green))
    sector = tf.where(red == largest, 0.0, tf.where(green == largest, 2.0, 4.0))  # sixths of the circle
    hue = sector + tf.math.divide_no_nan(difference, chroma) + 6.0 * turn
    turned = []
    for start in (5.0, 3.0, 1.0):  # where, in sixths, red, green and blue start to fall
        position = hue + start
        position -= 6.0 * tf.floor(position / 6.0)  # tf.math.floormod takes ten times as long
        turned.append(largest - chroma * tf.clip_by_value(2.0 - tf.abs(position - 2.0), 0.0, 1.0))
    return turned


def _extremes(channels: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    red, green, blue = channels
    return tf.maximum(tf.maximum(red, green), blue), tf.minimum(tf.minimum(red, green), blue)
