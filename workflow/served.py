"""An exported model as a function: found by its folder, checked, and loaded from whichever of its formats is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dmcl_tf.errors import InputError, check_address_space
from dmcl_tf.export import Exported, check_files, find_versions, is_exported, name_signatures, read_exported

Serve = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def find_model(folder: Path) -> tuple[Path, Exported]:
    """The folder of an exported model, the newest version where `folder` holds several, and what it was made from.

    Raises:
        InputError: there is none of this project, or in no format that is loaded here.
    """
    for path in (folder, *find_versions(folder)[::-1]):
        if is_exported(path):
            exported = read_exported(path)
            check_format(folder, exported)
            return path, exported
    raise InputError(f"--model={folder}: no exported model there; expected exported/<data set>/<method>/<run>")


def check_format(folder: Path, exported: Exported) -> None:
    """Checks that a model is there in a format that is loaded here.

    Raises:
        InputError: it is not.
    """
    if not {"savedmodel", "weights"} & set(exported.formats):
        found = ", ".join(exported.formats)
        raise InputError(f"--model={folder}: it is there as {found} alone; export savedmodel or weights as well")


def load(model: Path, exported: Exported, modalities: tuple[str, ...]) -> Serve:
    """Loads some networks.

    Args:
        model: folder of the version.
        exported: what it was made from.
        modalities: what the networks are called.

    Returns:
        Function from clips (N, T, H, W, 3) uint8 by the modality that is seen to logits (N, C), averaged over networks.

    Raises:
        InputError: a file is damaged.
    """
    check_files(model, exported)
    check_address_space()

    import tensorflow as tf  # after all that can be wrong with the files

    def checked(logits: np.ndarray) -> np.ndarray:
        check_classes(model, exported, logits)
        return logits

    if "savedmodel" in exported.formats:
        subsets = {subset: name for name, subset in name_signatures(exported.config.modalities).items()}
        served = tf.saved_model.load(str(model)).signatures[subsets[modalities]]
        return lambda clips: checked(served(**{m: tf.constant(clip) for m, clip in clips.items()})["logits"].numpy())

    from dmcl_tf import serving

    config, networks = exported.config, build_networks(model, exported, modalities)

    def logits_of(clips: Mapping[str, np.ndarray]) -> np.ndarray:  # not as a graph, which would take seconds to make
        seen = {name: clips[config.sees(name)] for name in networks}
        said = [serving.clip_logits(network, config, seen[name]).numpy() for name, network in networks.items()]
        return checked(np.mean(said, axis=0))

    return logits_of


def check_classes(model: Path, exported: Exported, logits: np.ndarray) -> None:
    """Checks that a model has a logit for each class that its record names.

    Raises:
        InputError: it has more or fewer.
    """
    if logits.shape[-1] != len(exported.class_names):
        raise InputError(
            f"{model}: {len(exported.class_names)} classes in its record, but {logits.shape[-1]} logits: export it anew"
        )


def probability_columns(class_names: Sequence[str]) -> list[str]:
    """Columns of tables, which no other column is called, whatever the classes are."""
    return [f"probability:{name}" for name in class_names]


def build_networks(model: Path, exported: Exported, modalities: Sequence[str]) -> dict[str, Any]:
    """The networks of some modalities, in float32, around the kernels of `weights.npz`.

    Raises:
        InputError: the file is not of these networks.
    """
    from dmcl_tf.networks.ensemble import make_networks
    from dmcl_tf.networks.weights import WEIGHTS, read_weights

    networks = make_networks(replace(exported.config, precision="float32"), len(exported.class_names), modalities)
    read_weights(model / WEIGHTS, networks)
    return networks
