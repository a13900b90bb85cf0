"""What the networks of a run start from: those of a finished run, of the authors' code, or weights of a backbone."""

from __future__ import annotations

import itertools
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import tensorflow as tf

from dmcl_tf.config import Config, Start, parse_start
from dmcl_tf.datasets import find_dataset
from dmcl_tf.errors import InputError
from dmcl_tf.files import file_checksum
from dmcl_tf.networks.tf1 import load_tf1_variables, read_tf1_checkpoint
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import Run, RunFolder
from dmcl_tf.runs.progress import identify_checkpoint
from dmcl_tf.runs.teacher import CHECKPOINT, check_finished, check_split

HEAD = "logits"  # the layer that knows the classes


class Source(Protocol):
    """Where weights come from."""

    def check(self, run: Run) -> None:
        """Raises `InputError` where a run must not start from it."""

    def describe(self) -> str:
        """What tells its weights from any others."""

    def saw(self) -> tuple[str, ...]:
        """The modalities that are known to have had a part in its weights."""

    def load(self, network: keras.Model, run: Run) -> bool:
        """Loads a network of a run; returns whether its head was loaded as well. Raises `InputError`."""


@dataclass(frozen=True)
class RunSource:
    """A network of a finished run.

    Attributes:
        start: the entry of `--initial_weights`.
        folder: of the run.
        modality: of its network.
    """

    start: Start
    folder: RunFolder
    modality: str

    def check(self, run: Run) -> None:
        """The run must be complete and, on the same videos, of the same split.

        Own videos are the same where the records are, others where the data sets are of one family.
        """
        there, where = self.folder.load(), f"--initial_weights={self.start}"
        if self.modality not in there.config.modalities:
            raise InputError(
                f"{where}: the run has no network {self.modality}, only {', '.join(there.config.modalities)}"
            )
        check_finished(f"{where}: {self.folder.directory}", self.folder, there)
        theirs, ours = find_dataset(there.dataset), find_dataset(run.dataset)
        own = not theirs.class_names and os.path.abspath(there.records) != os.path.abspath(run.records)
        if own or theirs.folder != ours.folder:
            return
        if theirs is ours:
            check_split(f"{where}: {self.folder.directory}", there, run)
        elif there.protocol["protocol"] != run.protocol["protocol"]:
            raise InputError(
                f"{where}: trained on {theirs.name} by {there.protocol['protocol']}, it may have seen test videos of "
                f"{ours.name} by {run.protocol['protocol']}: choose a run of the same protocol"
            )

    def describe(self) -> str:
        """The run, the network, and the epoch and checksum of its best weights."""
        weights = identify_checkpoint(self.folder, CHECKPOINT)
        return f"{self.folder.directory}:{self.modality}, epoch {weights.epoch + 1}, checksum {weights.checksum}"

    def saw(self) -> tuple[str, ...]:
        """Those of the network."""
        return self.folder.load().saw_by((self.modality,))

    def load(self, network: keras.Model, run: Run) -> bool:
        """Its classes are the run's, or the head stays new."""
        policy = keras.mixed_precision.global_policy()
        ensemble = restore_ensemble(self.folder, CHECKPOINT, "float32")
        keras.mixed_precision.set_global_policy(policy)
        with_head = self.folder.load().class_names == run.class_names
        _copy(ensemble.networks[self.modality], network, with_head, f"{self.folder.directory}: {self.modality}")
        return with_head


@dataclass(frozen=True)
class TF1Source:
    """A network in a TF1 checkpoint of the authors' code."""

    start: Start
    modality: str

    def check(self, run: Run) -> None:
        """Nothing is known of the videos that it has seen."""

    def describe(self) -> str:
        """The checkpoint and the checksum of its index, which holds those of all variables."""
        return f"{self.start.path}:{self.modality}, checksum {file_checksum(Path(f'{self.start.path}.index'))}"

    def saw(self) -> tuple[str, ...]:
        """That of the network."""
        return (self.modality,)

    def load(self, network: keras.Model, run: Run) -> bool:
        """The head stays new where its shape is another."""
        try:
            variables = read_tf1_checkpoint(self.start.path, self.modality)
            head = network.get_layer(HEAD)
            heads = {name: name.rpartition("/")[2] for name in variables if name.split("/")[-2].startswith("dense")}
            own = {"kernel": head.kernel, "bias": head.bias}
            with_head = all(variables[name].shape == tuple(own[kind].shape) for name, kind in heads.items())
            if not with_head:
                variables |= {name: own[kind].numpy() for name, kind in heads.items()}
            load_tf1_variables(network, variables)
        except (ValueError, LookupError, tf.errors.OpError) as error:  # also of damaged or missing files
            raise InputError(f"--initial_weights={self.start}: {network.name}: {error}") from None
        return with_head


@dataclass(frozen=True)
class BackboneSource:
    """A Keras file with the weights of a backbone from `keras.applications`, without its top."""

    start: Start

    def check(self, run: Run) -> None:
        """Nothing is known of what it has seen."""

    def describe(self) -> str:
        """The file and its checksum."""
        return f"{self.start.path}, checksum {file_checksum(Path(self.start.path))}"

    def saw(self) -> tuple[str, ...]:
        """None of a run."""
        return ()

    def load(self, network: keras.Model, run: Run) -> bool:
        """The head is always new."""
        where = f"--initial_weights={self.start}: {network.name}"
        backbones = [layer for layer in network.layers if isinstance(layer, keras.Model)]
        if not backbones:
            raise InputError(
                f"{where}: its network has no backbone of keras.applications; give the folder of a run, or a "
                "checkpoint without .index"
            )
        try:
            backbones[0].load_weights(self.start.path)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            reason = " ".join(str(error).split())[:200]  # Keras lists every layer
            raise InputError(f"{where}: {reason}; expected weights of {backbones[0].name} without its top") from None
        return False


def find_sources(config: Config) -> dict[str, Source]:
    """What the networks of a run start from, by modality; those that are not in it start afresh.

    Raises:
        InputError: a source is not there or fits no network, or a network has two.
    """
    sources: dict[str, Source] = {}
    for entry in config.initial_weights:
        found = _sources_of(parse_start(entry), config)
        for modality, source in found.items():
            if modality in sources:
                raise InputError(f"--initial_weights={entry}: {modality} has a source already; name one for each")
            sources[modality] = source
    return sources


def _sources_of(start: Start, config: Config) -> dict[str, Source]:
    path, where = Path(start.path), f"--initial_weights={start}"
    if path.is_file():
        return {modality: BackboneSource(start) for modality in _targets(start, config)}
    if path.with_name(f"{path.name}.index").is_file():
        return {modality: TF1Source(start, start.network or modality) for modality in _targets(start, config)}
    if not path.is_dir():
        raise InputError(
            f"{where}: {path} is not there; expected the folder of a finished run, a TensorFlow 1 checkpoint or a "
            "Keras file of weights"
        )
    folder = RunFolder(path)
    there = folder.load().config.modalities
    if start.target or start.network:
        return {modality: RunSource(start, folder, start.network or modality) for modality in _targets(start, config)}
    shared = [modality for modality in config.modalities if modality in there]
    if not shared:
        raise InputError(
            f"{where}: the run has {', '.join(there)}; say which one, --initial_weights={start}:{there[0]}"
        )
    return {modality: RunSource(start, folder, modality) for modality in shared}


def _targets(start: Start, config: Config) -> tuple[str, ...]:
    """The network that is named or of the source's name, else all."""
    if start.target:
        return (start.target,)
    return (start.network,) if start.network in config.modalities else config.modalities


def load_sources(networks: Mapping[str, keras.Model], run: Run) -> list[str]:
    """Loads the networks of a run with what they start from; returns a sentence about each.

    Raises:
        InputError: weights of other layers or shapes; the message names run and layer.
    """
    sentences = []
    for modality, source in find_sources(run.config).items():
        with_head = source.load(networks[modality], run)
        head = "" if with_head else f"; its head is new, for {len(run.class_names)} classes"
        sentences.append(f"{modality} starts from {source.describe()}{head}")
    return sentences


def _copy(source: keras.Model, network: keras.Model, with_head: bool, where: str) -> None:
    """Copies weights layer by layer, in the order of the graph; names of layers may count on from one to the other."""
    theirs, ours = ([layer for layer in n.layers if layer.weights] for n in (source, network))
    for there, here in itertools.zip_longest(theirs, ours):
        if here is not None and here.name == HEAD and not with_head:
            continue
        shapes = [[tuple(weight.shape) for weight in layer.weights] if layer else [] for layer in (there, here)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{where}: {_text(shapes[0])} in {(there or here).name}, where {network.name} has {_text(shapes[1])}: "
                "choose the same network and width, --networks"
            )
        here.set_weights(there.get_weights())


def _text(shapes) -> str:
    return f"shape {', '.join('×'.join(map(str, shape)) for shape in shapes)}" if shapes else "no weights"
