"""Writes the models of single subsets for other runtimes: ONNX, OpenVINO, LiteRT.

A model takes what a signature of the SavedModel takes, uint8 clips of any number and size, and gives `logits` and
`probabilities`. Names of classes are in `dmcl_tf.json`, as not every runtime has strings.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from dmcl_tf import serving
from dmcl_tf.config import Config
from dmcl_tf.formats import FORMATS, open_model
from dmcl_tf.networks.ensemble import ModalityEnsemble
from dmcl_tf.networks.folding import fold

_OPSET = 17
_TOLERANCE = 1e-4  # of float logits, in units of their largest or of 1


def write_portable(
    directory: Path,
    ensemble: ModalityEnsemble,
    subsets: Mapping[str, Sequence[str]],
    formats: Sequence[str],
    config: Config,
) -> dict[str, float]:
    """Writes the files of every subset in every format, and compares each with the ensemble.

    Args:
        directory: that exists.
        ensemble: the networks, in float32.
        subsets: networks by the name of the files.
        formats: of `FORMATS`, without the SavedModel.
        config: of the run.

    Returns:
        The largest difference of a logit from the ensemble's by name of the file, on clips of noise of two sizes.

    Raises:
        RuntimeError: a file of float weights gives other logits than the ensemble.
    """
    clip = (config.clip_frames, config.crop_size, config.crop_size)
    folded = {modality: fold(network, clip) for modality, network in ensemble.networks.items()}
    differences = {}
    for name, modalities in subsets.items():
        serve = _freeze({modality: folded[modality] for modality in modalities}, config)
        for kind in formats:
            _WRITERS[kind](directory / name, serve)
            for suffix in FORMATS[kind].files:
                path = directory / f"{name}{suffix}"
                differences[path.name] = _compare(path, ensemble, modalities, config)
    return differences


def _freeze(networks: Mapping[str, keras.Model], config: Config) -> tf.types.experimental.GenericFunction:
    """The function of a subset, whose weights are constants: converters find them in every version of Keras."""
    clip = (None, config.clip_frames, None, None, 3)
    seen = tuple(dict.fromkeys(map(config.sees, networks)))
    specification = [tf.TensorSpec(clip, tf.uint8, name=modality) for modality in seen]

    @tf.function(input_signature=specification)
    def logits_of(*clips):
        given = dict(zip(seen, clips))
        said = [serving.clip_logits(network, config, given[config.sees(name)]) for name, network in networks.items()]
        return tf.add_n(said) / len(said)

    frozen = convert_variables_to_constants_v2(logits_of.get_concrete_function())
    order = [tensor.name.partition(":")[0] for tensor in frozen.inputs]
    by_name = {spec.name: spec for spec in specification}

    def serve(clips):
        logits = tf.nest.flatten(frozen(*(clips[name] for name in order)))[0]
        return {"logits": tf.identity(logits, "logits"), "probabilities": tf.nn.softmax(logits, name="probabilities")}

    return tf.function(serve, input_signature=[by_name])


@contextlib.contextmanager
def _saved(serve) -> Iterator[str]:
    """A SavedModel of the function, as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(tf.Module(), folder, signatures=serve.get_concrete_function())
        yield folder


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keeps a converter's progress from the terminal; what fails is an exception."""
    logging.disable(logging.WARNING)
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # MLIR writes there itself
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
        logging.disable(logging.NOTSET)


def _write_onnx(path: Path, serve) -> None:
    import tf2onnx

    (signature,) = serve.input_signature

    def positional(*clips):  # tf2onnx knows no dict of inputs
        return serve.python_function(dict(zip(signature, clips)))

    specification = tuple(signature.values())
    function = tf.function(positional, input_signature=specification)
    with _quietly():
        tf2onnx.convert.from_function(function, specification, opset=_OPSET, output_path=f"{path}.onnx")


@contextlib.contextmanager
def _without_telemetry() -> Iterator[None]:
    """OpenVINO's converter reports its use over the network, from forks of this process, unless it runs in CI."""
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before


def _write_openvino(path: Path, serve) -> None:
    with _quietly(), _saved(serve) as folder, _without_telemetry():
        import openvino

        openvino.save_model(openvino.convert_model(folder), f"{path}.xml", compress_to_fp16=False)


def _write_litert(path: Path, serve) -> None:
    with _quietly(), _saved(serve) as folder:
        for suffix, optimizations in ((".tflite", []), (".int8.tflite", [tf.lite.Optimize.DEFAULT])):
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            converter.optimizations = optimizations
            Path(f"{path}{suffix}").write_bytes(converter.convert())


_WRITERS = {"onnx": _write_onnx, "openvino": _write_openvino, "litert": _write_litert}


def _compare(path: Path, ensemble: ModalityEnsemble, modalities: Sequence[str], config: Config) -> float:
    run, random, largest = open_model(path), np.random.RandomState(0), 0.0
    for height, width in ((config.frame_size, config.frame_size), (120, 160)):
        shape = (2, config.clip_frames, height, width, 3)
        seen = dict.fromkeys(map(config.sees, modalities))
        clips = {modality: random.randint(0, 256, shape).astype(np.uint8) for modality in seen}
        asked = [(ensemble.served(name), clips[config.sees(name)]) for name in modalities]
        said = [serving.clip_logits(network, config, clip).numpy() for network, clip in asked]
        expected = np.mean(said, axis=0)
        difference = float(np.abs(run(clips) - expected).max())
        allowed = _TOLERANCE * max(1.0, float(np.abs(expected).max()))
        if difference > allowed and ".int8" not in path.name:
            raise RuntimeError(f"{path.name}: its logits differ from the ensemble's by {difference:.2g} on noise")
        largest = max(largest, difference)
    return largest
