"""Random choices of training clips, drawn once per clip and shared by its modalities (authors: parsers.py).

The input pipeline draws, and cuts the frames accordingly. Mirroring and colours are left to the device that trains: it
is handed the bytes of the frames, a quarter of what floats would be, and the drawn numbers.
"""

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
        color_order: int32, how to distort the colours of RGB: 0 for not at all, else a place in `COLOR_ORDERS`.
        color_strengths: (4,) float32 in [0, 1), of brightness, saturation, hue and contrast.
    """

    frames: tf.Tensor
    top: tf.Tensor
    left: tf.Tensor
    flip: tf.Tensor
    color_order: tf.Tensor
    color_strengths: tf.Tensor


# Brightness, saturation, hue, contrast: none, the authors' two orders in fast mode, then their four in full.
COLOR_ORDERS = ("", "bs", "sb", "bshc", "sbch", "chbs", "hscb")


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
    colors = tf.random.stateless_uniform([6], seeds[3])
    # half of the distorted clips get brightness and saturation alone, the other half all four
    ordering = tf.cast(4.0 * colors[4], tf.int32)
    order = tf.where(colors[5] < 0.5, 1 + ordering // 2, 3 + ordering)
    return Augmentation(
        frames=segment_indices(length, config.clip_frames, seeds[0]),
        top=corner[0],
        left=corner[1],
        flip=chances[1] < config.flip_probability,
        color_order=tf.where(chances[2] < config.color_probability, order, 0),
        color_strengths=colors[:4],
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


@tf.function(jit_compile=True, autograph=False)
def mirror(clips: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
    """Mirrors the clips (B, T, H, W, C) for which `flip` (B,) says so; compiled, it takes a fifth of the time."""
    return tf.where(_by_clip(flip), tf.reverse(clips, [3]), clips)


def mirror_skeleton(clips: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
    """Mirrors pictures of skeletons as the people that they show would look in a mirror.

    Seen from the front (red) and from above (blue) left and right change places; from the side (green) a mirrored
    person looks the same, while a mirrored picture would have them face the other way. Limbs of both sides are drawn
    alike, so that the right arm of the one is a left arm of the other without more.

    Args:
        clips: (B, T, H, W, 3).
        flip: (B,).
    """
    return tf.concat([mirror(clips[..., :1], flip), clips[..., 1:2], mirror(clips[..., 2:], flip)], axis=-1)


def negate_horizontal(flow: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Turns the sign of u, the first of the channels, whose zero is 128, in the clips for which `where` (B,) says so.

    Args:
        flow: (B, T, H, W, C) in 0–255.
        where: (B,).

    Returns:
        (B, T, H, W, C) float32.
    """
    flow = tf.cast(flow, tf.float32)
    u = tf.where(_by_clip(where), tf.minimum(256.0 - flow[..., :1], 255.0), flow[..., :1])
    return tf.concat([u, flow[..., 1:]], axis=-1)


def _by_clip(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, (-1, 1, 1, 1, 1))


def distort_colors(clips: tf.Tensor, orders: tf.Tensor, strengths: tf.Tensor) -> tf.Tensor:
    """Brightness ±32, saturation ×.5–1.5, hue ±.2 and contrast ×.5–1.5 in the authors' orders, other ones by clip.

    One draw serves all frames of a clip; contrast is about the mean of each frame and channel. The values are those of
    `tf.image.adjust_…`.

    Args:
        clips: (B, T, H, W, 3) in 0–255, uint8 or float32.
        orders: (B,) int32, `Augmentation.color_order` of each.
        strengths: (B, 4).

    Returns:
        (B, T, H, W, 3) float32, clipped to 0–255; clips of order 0 as they were.
    """

    def distort(of_clip):
        clip, chosen, drawn = of_clip
        branches = [lambda order=order: _distort_clip(clip, drawn, order) for order in COLOR_ORDERS]
        return tf.switch_case(chosen, branches)

    # one after the other, since each takes a way of its own; the other half of the clips costs nothing
    return tf.map_fn(distort, (clips, orders, strengths), fn_output_signature=tf.TensorSpec(clips.shape[1:]))


def _distort_clip(clip: tf.Tensor, strengths: tf.Tensor, order: str) -> tf.Tensor:
    """One clip (T, H, W, 3) → float32."""
    if not order:
        return tf.cast(clip, tf.float32)
    shape = tf.shape(clip)
    # a plane per channel, (3, T, H·W): all arithmetic then runs over long rows
    planes = tf.reshape(tf.transpose(tf.reshape(clip, [-1, 3])), [3, shape[0], -1])
    before, contrast, after = order.partition("c")
    distorted = _distort(planes, strengths, None, before, last=not contrast)
    if contrast:  # the mean is what ends a pass over the pixels
        mean = tf.reduce_mean(distorted, axis=2, keepdims=True)
        distorted = _distort(distorted, strengths, mean, contrast + after, last=True)
    return tf.reshape(tf.transpose(tf.reshape(distorted, [3, -1])), shape)


@tf.function(jit_compile=True, autograph=False)
def _distort(planes: tf.Tensor, strengths: tf.Tensor, mean: tf.Tensor | None, order: str, last: bool) -> tf.Tensor:
    """Planes (3, T, N) → float32 planes, distorted in `order`, which starts with contrast where a `mean` is given.

    Compiled into one pass over the pixels, which is several times faster than TensorFlow's operations, of which
    `adjust_saturation` and `adjust_hue` are the slowest of the whole pipeline.
    """
    channels = tf.unstack(tf.cast(planes, tf.float32))
    for letter in order:
        if letter == "b":
            channels = [channel + (64.0 * strengths[0] - 32.0) for channel in channels]
        elif letter == "s":
            channels = _scale_saturation(channels, 0.5 + strengths[1])
        elif letter == "h":
            channels = _turn_hue(channels, 0.4 * strengths[2] - 0.2)
        else:
            channels = [(channel - m) * (0.5 + strengths[3]) + m for channel, m in zip(channels, tf.unstack(mean))]
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
