"""The versions of one model in a folder: the newest sound one is served, newer ones are picked up while it is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dmcl_tf.errors import InputError, check_address_space
from dmcl_tf.export import Exported, check_files, find_versions, is_exported, name_signatures, read_exported
from workflow.footage import computed_flow
from workflow.served import build_networks, check_classes, check_format

_LOG = logging.getLogger("server")


@dataclass(frozen=True)
class Signature:
    """A function of an exported model.

    Attributes:
        inputs: TensorFlow's specification of each, by its name.
        outputs: likewise.
        function: from tensors by name to tensors by name.
    """

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    function: Callable[..., Mapping[str, Any]]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of inputs.

        Raises:
            InputError: the graph refuses them.
        """
        import tensorflow as tf

        try:
            tensors = {name: tf.constant(value, self.inputs[name].dtype) for name, value in inputs.items()}
            return {name: value.numpy() for name, value in self.function(**tensors).items()}
        except tf.errors.InvalidArgumentError as error:
            raise InputError(_reason(str(error))) from None


@dataclass(frozen=True)
class Version:
    """One version of a model, loaded.

    Attributes:
        number: the name of its folder.
        exported: what it was made from.
        signatures: by name.
    """

    number: int
    exported: Exported
    signatures: Mapping[str, Signature]

    def logits(self, clips: Mapping[str, np.ndarray], networks: Sequence[str]) -> dict[str, np.ndarray]:
        """What some networks say of clips (N, T, H, W, 3) uint8 by modality: logits (N, C), by network."""
        seen = {name: self.exported.config.sees(name) for name in networks}
        return {name: self.signatures[name]({sees: clips[sees]})["logits"] for name, sees in seen.items()}


class Models:
    """The model that a folder holds.

    Args:
        name: under which it is served.
        folder: of its versions, or of one version.

    Attributes:
        failed: why versions are not served, by number.

    Raises:
        InputError: there is none that can be served.
    """

    def __init__(self, name: str, folder: Path):
        self.name, self.failed = name, dict[int, str]()
        self._folder, self._stamps, self._lock = folder, dict[int, object](), threading.Lock()
        self._current: Version | None = None
        self._ended: set[int] = set()
        self.refresh()
        if self._current is None:
            reason = next(iter(self.failed.values()), "no exported model there; expected exported/<data set>/…/<run>")
            raise InputError(f"--model={folder}: {reason}")

    @property
    def current(self) -> Version:
        """The version that is served."""
        assert self._current is not None
        return self._current

    def states(self) -> dict[int, str]:
        """Why each known version is not served, the newest first; empty for the one that is, and for older ones."""
        known = {**dict.fromkeys(self._ended, ""), **self.failed, self.current.number: ""}
        return dict(sorted(known.items(), reverse=True))

    def refresh(self) -> bool:
        """Looks for a newer version, or an older one where the newest is gone; whether another one is served now.

        What is half-written has no record yet, or files that do not fit it, and is looked at again once it changes.
        """
        with self._lock:
            candidates = _candidates(self._folder)
            for gone in set(self.failed) - {number for number, _ in candidates}:
                del self.failed[gone], self._stamps[gone]
            for number, path in candidates:
                if self._current and number == self._current.number:
                    return False
                stamp = _stamp(path)
                if not is_exported(path) or (number in self.failed and self._stamps.get(number) == stamp):
                    continue
                self._stamps[number] = stamp
                try:
                    exported = read_exported(path)
                    self._compare_classes(exported)
                    version = load(number, path, exported)
                except Exception as error:  # the version that is served goes on
                    self.failed[number] = str(error)
                    _LOG.error("version refused", extra={"version": number, "reason": str(error)})
                    continue
                if self._current:
                    self._ended.add(self._current.number)
                self._current = version
                self.failed.pop(number, None)
                self._ended.discard(number)
                _LOG.info("version loaded", extra={"version": number})
                return True
            return False

    def _compare_classes(self, exported: Exported) -> None:
        """Clients know what the classes of a model are, so that they may not change between versions."""
        if self._current is None:
            return
        ours, theirs = self._current.exported.class_names, exported.class_names
        if ours != theirs:
            raise InputError(
                f"its classes ({len(theirs)}: {', '.join(theirs[:3])}, …) are not those of version "
                f"{self._current.number} ({len(ours)}: {', '.join(ours[:3])}, …): serve it under another name"
            )


def _candidates(folder: Path) -> list[tuple[int, Path]]:
    """Numbers and folders of versions, the newest first."""
    if is_exported(folder):
        return [(int(folder.name) if folder.name.isdecimal() else 1, folder)]
    return [(int(path.name), path) for path in find_versions(folder)[::-1]]


def _stamp(path: Path) -> object:
    """Changes when a folder's files do."""
    try:
        return sorted((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in path.rglob("*"))
    except OSError:  # moved meanwhile
        return None


def load(number: int, path: Path, exported: Exported) -> Version:
    """Loads a version and lets each of its networks look at one clip, so that the first request need not wait.

    Raises:
        InputError: it is damaged, half-written, or in no format that is served.
    """
    check_format(path, exported)
    check_files(path, exported)
    computed_flow(exported)  # or it says why it cannot be computed
    check_address_space()

    import tensorflow as tf  # after all that can be wrong with the files

    if "savedmodel" in exported.formats:
        functions = tf.saved_model.load(str(path)).signatures
    else:
        functions = _build(path, exported)
    signatures = {
        name: Signature(function.structured_input_signature[1], function.structured_outputs, function)
        for name, function in functions.items()
    }
    version, config = Version(number, exported, signatures), exported.config
    size = (1, config.clip_frames, config.frame_size, config.frame_size, 3)
    said = version.logits({modality: np.zeros(size, np.uint8) for modality in config.inputs}, config.modalities)
    for logits in said.values():
        check_classes(path, exported, logits)
    return version


def _build(path: Path, exported: Exported) -> dict[str, Any]:
    """The signatures of the SavedModel, around the kernels of `weights.npz`."""
    from dmcl_tf import serving

    config = exported.config
    networks = build_networks(path, exported, config.modalities)
    subsets = {**name_signatures(config.modalities), "serving_default": exported.default_modalities}
    return serving.concrete_signatures(networks, subsets, config, exported.class_names)


def _reason(text: str) -> str:
    """What an assertion of the graph says, without the trace of where it stands."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if "expected" in line or "Expected" in line]
    return " ".join((said or lines or ["the graph refuses it"])[0].split("[[{{")[0].split())
