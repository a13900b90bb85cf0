"""The graph of an exported model: clips as a camera gives them in, what the networks say of them out."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import keras
import tensorflow as tf

from dmcl_tf.config import Config
from dmcl_tf.data.pipeline import network_input
from dmcl_tf.networks.ensemble import ModalityEnsemble

_TOP = 5
# Grey levels by which halves are lifted: runtimes sum in different orders, and round alike all the same
_TIE = 2.0**-10


def check_clips(clips: Mapping[str, tf.Tensor], config: Config) -> dict[str, tf.Tensor]:
    """The same clips, in a graph that asserts their shapes: (N, T, H, W, 3), of equal N and of T frames.

    Raises:
        InvalidArgumentError: when the graph runs on others; the message names the modality and the expected shape.
    """
    frames, checks, number = config.clip_frames, [], None
    for modality, clip in clips.items():
        shape = tf.shape(clip)
        sizes = tf.concat([shape, tf.zeros(5, tf.int32)], axis=0)[:5]  # whatever the rank
        number = sizes[0] if number is None else number
        right = tf.equal(tf.gather(sizes, [0, 1, 4]), tf.stack([number, frames, 3]))
        fits = tf.reduce_all(tf.concat([[tf.equal(tf.rank(clip), 5)], sizes > 0, right], axis=0))
        expected = (
            f"{modality}: expected clips of shape (N, {frames}, height, width, 3), N ≥ 1 as of {next(iter(clips))}"
        )
        checks.append(tf.debugging.Assert(fits, [f"{expected}; got", shape], summarize=9))
    with tf.control_dependencies([check for check in checks if check is not None]):  # eager ones are None
        return {m: tf.ensure_shape(tf.identity(clip), (None, frames, None, None, 3)) for m, clip in clips.items()}


def prepare_clips(clips: tf.Tensor, config: Config) -> tf.Tensor:
    """Clips as a camera gives them → network input, as the records and the evaluation prepare them.

    Frames of another size than the records' are resized to it, by area where both sides shrink, else bilinearly, and
    rounded; then cropped centrally. Only matrix products do it, as not every runtime resizes by area.

    Args:
        clips: (N, T, H, W, 3) uint8.
        config: of the run.

    Returns:
        (N, T, crop, crop, 3) float32.
    """
    shape, crop = tf.shape(clips), config.crop_size
    height, width = shape[2], shape[3]
    shrinks = tf.logical_and(height >= config.frame_size, width >= config.frame_size)
    down, across = (_resampling(length, shrinks, config) for length in (height, width))
    rows = tf.reshape(tf.cast(clips, tf.float32), tf.stack([-1, height, width * 3]))
    rows = tf.matmul(tf.broadcast_to(down[None], tf.stack([tf.shape(rows)[0], crop, height])), rows)
    columns = tf.transpose(tf.reshape(rows, tf.stack([-1, width, 3])), (0, 2, 1))
    pixels = tf.matmul(tf.reshape(columns, tf.stack([-1, width])), across, transpose_b=True)
    images = tf.transpose(tf.reshape(pixels, (-1, 3, crop)), (0, 2, 1))
    images = tf.floor(images + (0.5 + _TIE))
    return network_input(tf.reshape(images, (-1, config.clip_frames, crop, crop, 3)), config.value_range)


def _resampling(length: tf.Tensor, shrinks: tf.Tensor, config: Config) -> tf.Tensor:
    """The matrix (crop, length) that takes a side of a frame to the crop from the resized frame.

    Args:
        length: of the side in pixels, an int32 scalar.
        shrinks: whether the frame is averaged by area, else interpolated.
        config: of the run.
    """
    size, crop = config.frame_size, config.crop_size
    corner = (size - crop) // 2
    length = tf.cast(length, tf.float32)
    target = tf.range(corner, corner + crop, dtype=tf.float32)[:, None]
    source = tf.range(0.0, length)[None]
    # in units of 1 / size source pixels, so that all limits are whole numbers
    overlap = tf.minimum((target + 1) * length, (source + 1) * size) - tf.maximum(target * length, source * size)
    by_area = tf.nn.relu(overlap) / length
    place = tf.clip_by_value((target + 0.5) * length / size - 0.5, 0.0, length - 1)
    bilinear = tf.nn.relu(1.0 - tf.abs(place - source))
    share = tf.cast(shrinks, tf.float32)
    return share * by_area + (1.0 - share) * bilinear


def clip_logits(network: Callable[[tf.Tensor], Mapping[str, tf.Tensor]], config: Config, clips: tf.Tensor) -> tf.Tensor:
    """What one network says of clips as a camera gives them: (N, T, H, W, 3) uint8 → logits (N, C)."""
    return network(prepare_clips(clips, config))["logits"]


def predict(
    networks: Mapping[str, Callable[[tf.Tensor], tf.Tensor]],
    clips: Mapping[str, tf.Tensor],
    config: Config,
    class_names: Sequence[str],
) -> dict[str, tf.Tensor]:
    """What any subset of the networks says: the mean of their logits.

    Args:
        networks: by name, each a function as of `clip_logits`; those of other modalities are not asked.
        clips: modality → (N, T, H, W, 3) uint8.
        config: of the run.
        class_names: by label.

    Returns:
        `logits` and `probabilities`, their softmax, (N, C); `classes` (N, k) strings and `scores` (N, k), their
        probabilities, k = min(5, C), likeliest first.

    Raises:
        InvalidArgumentError: clips of another shape.
    """
    checked = check_clips(clips, config)
    said = [network(checked[config.sees(name)]) for name, network in networks.items() if config.sees(name) in checked]
    logits = tf.add_n(said) / len(said)
    probabilities = tf.nn.softmax(logits)
    scores, labels = tf.math.top_k(probabilities, min(_TOP, len(class_names)))
    classes = tf.gather(tf.constant(class_names), labels)
    return {"logits": logits, "probabilities": probabilities, "classes": classes, "scores": scores}


def concrete_signatures(
    networks: Mapping[str, Callable],
    signatures: Mapping[str, Sequence[str]],
    config: Config,
    class_names: Sequence[str],
) -> dict[str, Callable[..., dict[str, tf.Tensor]]]:
    """The functions of a served model, which take clips by the names of their modalities.

    Args:
        networks: by name, each a function from clips to outputs.
        signatures: the networks of each, by its name.
        config: of the run.
        class_names: by label.
    """
    traced = _traced(networks, config)

    def function_of(subset):
        asked = {name: traced[name] for name in subset}
        serve = tf.function(lambda **clips: predict(asked, clips, config, class_names), autograph=False)
        return serve.get_concrete_function(**_specification(subset, config))

    return {name: function_of(subset) for name, subset in signatures.items()}


def _traced(networks: Mapping[str, Callable], config: Config) -> dict[str, Callable]:
    """Networks as `predict` takes them: each is traced once and called by every signature that needs it."""
    clip = tf.TensorSpec((None, config.clip_frames, None, None, 3), tf.uint8)
    return {
        name: tf.function(partial(clip_logits, network, config), autograph=False, input_signature=[clip])
        for name, network in networks.items()
    }


def _specification(subset: Sequence[str], config: Config) -> dict[str, tf.TensorSpec]:
    """What some networks see, of any rank, so that the graph's own message says what is wrong."""
    return {name: tf.TensorSpec(None, tf.uint8, name=name) for name in map(config.sees, subset)}


def write_saved_model(
    directory: Path,
    ensemble: ModalityEnsemble,
    signatures: Mapping[str, Sequence[str]],
    config: Config,
    class_names: Sequence[str],
) -> None:
    """Writes a SavedModel.

    Args:
        directory: to be made.
        ensemble: the networks.
        signatures: the networks of each, by its name.
        config: of the run.
        class_names: by label.
    """
    archive = keras.export.ExportArchive()
    for network in ensemble.networks.values():
        archive.track(network)
    traced = _traced({name: ensemble.served(name) for name in ensemble.networks}, config)
    for name, subset in signatures.items():
        asked = {network: traced[network] for network in subset}
        archive.add_endpoint(name, _endpoint(asked, config, class_names), [_specification(subset, config)])
    with contextlib.redirect_stdout(io.StringIO()):  # Keras lists every captured variable
        archive.write_out(str(directory))


def _endpoint(networks: Mapping[str, Callable], config: Config, class_names: Sequence[str]) -> Callable:
    """What a signature calls: a function of clips alone, as others would be served with it."""

    def serve(clips):
        return predict(networks, clips, config, class_names)

    return tf.function(serve, autograph=False)
