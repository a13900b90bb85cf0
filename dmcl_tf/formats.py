"""The formats that a model is exported in: their files, what they need, and how their runtimes are called."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dmcl_tf.errors import InputError

Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        title: of the format and its runtime.
        suffixes: of the files of one subset; empty where one model has all subsets.
        modules: that it needs beside TensorFlow; the extra of the same name in pyproject.toml installs them.
        files: of those, the ones that a runtime is given.
    """

    title: str
    suffixes: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


FORMATS = {
    "savedmodel": Format("SavedModel of TensorFlow"),
    "weights": Format("kernels in half precision, which `bash run.sh predict` builds the networks around"),
    "onnx": Format("ONNX, for ONNX Runtime", (".onnx",), ("tf2onnx", "onnx", "onnxruntime"), (".onnx",)),
    "openvino": Format("OpenVINO IR", (".xml", ".bin"), ("openvino",), (".xml",)),
    "litert": Format(
        "LiteRT (TensorFlow Lite), float32 and dynamic-range int8",
        (".tflite", ".int8.tflite"),
        ("ai_edge_litert",),
        (".tflite", ".int8.tflite"),
    ),
}


def missing_modules(name: str) -> list[str]:
    """The modules of a format that are not installed."""
    return [module for module in FORMATS[name].modules if importlib.util.find_spec(module) is None]


def check_installed(names: tuple[str, ...]) -> None:
    """Checks that formats can be written here.

    Raises:
        InputError: a format is unknown, or its packages are not installed.
    """
    for name in names:
        if name not in FORMATS:
            raise InputError(f"--formats={name}: expected some of {', '.join(FORMATS)}")
        missing = missing_modules(name)
        if missing:
            raise InputError(
                f"--formats={name}: {missing[0]} is not installed; EXTRAS={name} bash run.sh … or pip install "
                f"'.[{name}]' installs it, on Python 3.11 and newer"
            )


def open_model(path: Path, threads: int = 1) -> Run:
    """Loads an exported file in the runtime that its name says.

    Args:
        path: `.onnx`, `.xml` or `.tflite`.
        threads: of the runtime.

    Returns:
        Function from clips by modality, (N, T, H, W, 3) uint8, to logits (N, C).
    """
    open_file = {".onnx": _open_onnx, ".xml": _open_openvino, ".tflite": _open_litert}[path.suffix]
    return open_file(path, threads)


def _open_onnx(path: Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda clips: session.run(["logits"], dict(clips))[0]


def _open_openvino(path: Path, threads: int) -> Run:
    import openvino

    # some processors would take bfloat16 of their own accord
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    model = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda clips: model(dict(clips))["logits"]


def _open_litert(path: Path, threads: int) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    serve = Interpreter(str(path), num_threads=threads).get_signature_runner()
    return lambda clips: serve(**clips)["logits"]
