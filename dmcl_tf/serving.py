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
    rounded; then cropped centrally.

    Args:
        clips: (N, T, H, W, 3) uint8.
        config: of the run.

    Returns:
        (N, T, crop, crop, 3) float32.
    """
    shape, size = tf.shape(clips), config.frame_size
    images = tf.reshape(clips, (-1, shape[2], shape[3], 3))

    def resized():
        shrinks = tf.logical_and(shape[2] >= size, shape[3] >= size)
        by_area = tf.cond(
            shrinks,
            lambda: tf.image.resize(images, (size, size), "area"),
            lambda: tf.image.resize(images, (size, size), "bilinear"),
        )
        return tf.round(tf.clip_by_value(by_area, 0.0, 255.0))

    stored = tf.logical_and(tf.equal(shape[2], size), tf.equal(shape[3], size))
    images = tf.cond(stored, lambda: tf.cast(images, tf.float32), resized)
    corner, crop = (size - config.crop_size) // 2, config.crop_size
    images = images[:, corner : corner + crop, corner : corner + crop]
    return network_input(tf.reshape(images, (shape[0], shape[1], crop, crop, 3)), config.value_range)


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
    clip = tf.TensorSpec((None, config.clip_frames, None, None, 3), tf.uint8)
    # each is traced once and called by every signature that needs it
    networks = {
        name: tf.function(partial(clip_logits, ensemble.served(name), config), input_signature=[clip])
        for name in ensemble.networks
    }
    for name, subset in signatures.items():
        # of any rank, so that the graph's own message says what is wrong
        seen = dict.fromkeys(map(config.sees, subset))
        specification = {modality: tf.TensorSpec(None, tf.uint8, name=modality) for modality in seen}
        asked = {network: networks[network] for network in subset}
        archive.add_endpoint(name, _endpoint(asked, config, class_names), [specification])
    with contextlib.redirect_stdout(io.StringIO()):  # Keras lists every captured variable
        archive.write_out(str(directory))


def _endpoint(networks: Mapping[str, Callable], config: Config, class_names: Sequence[str]) -> Callable:
    """What a signature calls: a function of clips alone, as others would be served with it."""

    def serve(clips):
        return predict(networks, clips, config, class_names)

    return tf.function(serve)
