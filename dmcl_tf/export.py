"""Exports a run: `python -m dmcl_tf.export --run_dir=… --export_dir=exported/model --formats=savedmodel,onnx`.

The SavedModel has one signature for each non-empty subset of the modalities (`rgb`, `rgb_depth`, …) and
`serving_default`. Inputs, named after the modalities, are clips of uint8 (N, T, H, W, 3), T as in training; outputs are
`logits` and `probabilities` (N, C), and `classes` and `scores` (N, 5), the five likeliest. Served in float32 whatever
the precision of training.
The format weights is the smallest, for `bash run.sh predict` alone. The other formats, onnx, openvino and litert, have
one model for each subset that --subsets names. `model_card.md` says of every export what it was trained on, how good it
is, and what it takes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Optional

from absl import flags

from dmcl_tf import model_card
from dmcl_tf.config import Config, subset_names
from dmcl_tf.data.table import Records
from dmcl_tf.errors import InputError, check_address_space, run_script
from dmcl_tf.files import atomic_path, file_checksum, lock, read_json, write_json, write_text
from dmcl_tf.flag_groups import define, given_run, run_flags
from dmcl_tf.formats import FORMATS, check_installed
from dmcl_tf.runs.folder import RunFolder, Weights
from dmcl_tf.runs.progress import identify_checkpoint

_DEFAULT = "serving_default"
_CARD = "model_card.md"
_RECORD = "dmcl_tf.json"
_REMEDY = "export the run again, python -m dmcl_tf.export"


@dataclass(frozen=True)
class ExportSettings:
    """What to export.

    Attributes:
        run_dir: folder of the run.
        export_dir: of the model's versions; None: exported/<data set>/<method>/<run>.
        checkpoint: "best" or "last".
        default_modalities: of `serving_default`; empty: all.
        formats: of `formats.FORMATS`.
        subsets: that have a model of their own in every format but the SavedModel, such as `rgb+depth`; empty: each
            single modality and all.
    """

    run_dir: Path
    export_dir: Optional[Path] = None
    checkpoint: str = "best"
    default_modalities: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("savedmodel",)
    subsets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """`dmcl_tf.json` beside `saved_model.pb`: what a version of a model was made from.

    Attributes:
        run_dir: folder of the run, relative to the working directory of the export.
        checkpoint: "best" or "last".
        weights: of that checkpoint.
        default_modalities: of `serving_default`.
        class_names: by label.
        config: of the run.
        depth: how distances became 8 bits in the records; None without depth.
        flow: how flow was computed; None without flow.
        crop: how frames were cut to the person in the records; None where they are whole.
        formats: that it is there in.
        subsets: that have a model of their own, in the other formats.
        files: bytes and checksum (CRC-32) of each file of the version, by its path there.
    """

    run_dir: str
    checkpoint: str
    weights: Weights
    default_modalities: tuple[str, ...]
    class_names: tuple[str, ...]
    config: Config
    depth: Optional[dict[str, object]] = None
    flow: Optional[dict[str, object]] = None
    crop: Optional[dict[str, object]] = None
    formats: tuple[str, ...] = ("savedmodel",)
    subsets: tuple[str, ...] = ()
    files: dict[str, tuple[int, str]] = field(default_factory=dict)


def export(settings: ExportSettings) -> Path:
    """Writes `export_dir/<version>/`, the next free number, and returns it; an existing equal version is kept.

    Raises:
        InputError: a run without this checkpoint, default modalities it does not have, modalities whose names are
            none of signatures, a format whose packages are missing or that the run cannot have, an unknown
            subset, a folder in use.
    """
    check_installed(settings.formats)
    check_address_space()
    folder = RunFolder(settings.run_dir)
    run = folder.load()
    default = settings.default_modalities or run.config.modalities
    unknown = [modality for modality in default if modality not in run.config.modalities]
    if unknown:
        raise InputError(f"--default_modalities: the run has no {unknown[0]}, only {', '.join(run.config.modalities)}")
    if len(set(default)) < len(default):
        raise InputError(f"--default_modalities={','.join(default)}: expected different names")
    signatures = {**name_signatures(run.config.modalities), _DEFAULT: default}
    formats = tuple(name for name in FORMATS if name in settings.formats)
    if run.config.connection and formats != ("savedmodel",):
        raise InputError("--formats: connected networks are exported as a SavedModel alone; leave the others out")
    of_subsets = any(FORMATS[name].suffixes for name in formats)
    subsets = choose_subsets(settings.subsets, run.config.modalities)
    if settings.subsets and not of_subsets:
        raise InputError(
            f"--subsets={','.join(settings.subsets)}: a SavedModel has all of them; other --formats have one file each"
        )
    subsets = subsets if of_subsets else ()
    _warn_of_changes(folder)
    exported = Exported(
        run_dir=os.path.relpath(settings.run_dir),
        checkpoint=settings.checkpoint,
        weights=identify_checkpoint(folder, settings.checkpoint),
        default_modalities=default,
        class_names=run.class_names,
        config=run.config,
        depth=run.depth,
        flow=run.flow,
        crop=run.crop,
        formats=formats,
        subsets=subsets,
    )
    directory = settings.export_dir or default_directory(run.dataset, run.config.method, settings.run_dir)
    with lock(directory):
        versions = find_versions(directory)
        if versions and _is_of(versions[-1], exported, model_card.describe_accuracy(folder, exported)):
            return versions[-1]
        version = directory / str(int(versions[-1].name) + 1 if versions else 1)
        _write(version, folder, exported, signatures)
    return version


def default_directory(dataset: str, method: str, run_dir: Path) -> Path:
    """Where the versions of a run's model are kept unless the settings say: `exported/<data set>/<method>/<run>`."""
    return Path("exported") / dataset / method / run_dir.resolve().name


def choose_subsets(names: Sequence[str], modalities: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the subsets that get models of their own, in the order of the modalities.

    Raises:
        InputError: one is none.
    """
    known = subset_names(modalities)
    for name in names:
        if name not in known:
            raise InputError(f"--subsets={name}: expected some of {', '.join(known)}")
    return tuple(name for name in known if name in (names or (*modalities, "+".join(modalities))))


def _warn_of_changes(folder: RunFolder) -> None:
    """Says where the videos are no longer those that the run knows; the model is that of the run all the same."""
    directory = Path(folder.load().records)
    if (directory / "videos.csv").exists():
        try:
            folder.splits(Records.load(directory))
        except InputError as error:
            reason = str(error).partition("; give its own")[0]
            print(f"warning: the model is of the run as it was trained, and the records have changed since: {reason}")


def name_signatures(modalities: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The signature of every subset of the modalities, named after them: `rgb`, `rgb_depth`, …

    Raises:
        InputError: a name is none of a signature, or two subsets would have the same one.
    """
    signatures: dict[str, tuple[str, ...]] = {_DEFAULT: ()}
    for subset in subset_names(tuple(modalities)).values():
        name = "_".join(subset)
        wrong = [modality for modality in subset if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", modality)]
        if wrong:
            raise InputError(f"the modality {wrong[0]!r} cannot name an input: expected letters, digits and _")
        if name in signatures:
            other = " and ".join(signatures[name]) or "the default"
            raise InputError(
                f"{' and '.join(subset)} cannot be exported beside {other}, as both would be served as {name!r}: train "
                "with modalities of other names"
            )
        signatures[name] = subset
    del signatures[_DEFAULT]
    return signatures


def find_versions(directory: Path) -> list[Path]:
    """The versions of a model, the newest last: folders that are called by a number."""
    versions = [path for path in directory.glob("*") if re.fullmatch("[0-9]+", path.name)]
    return sorted(versions, key=lambda path: int(path.name))


def is_exported(folder: Path) -> bool:
    """Whether a folder is a version of a model of this project; those that are half-written have other names."""
    return (folder / _RECORD).exists()


def read_exported(version: Path) -> Exported:
    """What a version of a model was made from.

    Raises:
        InputError: it is none of this project, or damaged.
    """
    return read_json(version / _RECORD, Exported, _REMEDY)


def _is_of(version: Path, exported: Exported, accuracy: str) -> bool:
    """Whether a version is what would be written now, down to the accuracy on its card."""
    try:
        there = read_exported(version)
        check_files(version, there)
    except InputError:  # damaged or of unknown making: no reason to keep it
        return False
    if not there.files or replace(there, files={}) != exported:
        return False
    return accuracy in (version / _CARD).read_text(encoding="utf-8")


def check_files(version: Path, exported: Exported) -> None:
    """Checks that the files of a version are those that were written; libraries may crash on others.

    Raises:
        InputError: one is missing or damaged.
    """
    for name, (size, checksum) in exported.files.items():
        path = version / name
        try:
            sound = path.stat().st_size == size and file_checksum(path) == checksum
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; {_REMEDY}") from None
        if not sound:
            raise InputError(f"{path} is damaged: {_REMEDY}")


def _list_files(version: Path) -> dict[str, tuple[int, str]]:
    paths = (path for path in sorted(version.rglob("*")) if path.is_file())
    return {path.relative_to(version).as_posix(): (path.stat().st_size, file_checksum(path)) for path in paths}


def _write(version: Path, folder: RunFolder, exported: Exported, signatures: dict[str, tuple[str, ...]]) -> None:
    from dmcl_tf import serving
    from dmcl_tf.networks.folding import multiply_adds
    from dmcl_tf.networks.weights import WEIGHTS, write_weights
    from dmcl_tf.runs.checkpoints import restore_ensemble

    config = exported.config
    ensemble = restore_ensemble(folder, exported.checkpoint, precision="float32")
    with atomic_path(version) as partial:
        if "savedmodel" in exported.formats:
            serving.write_saved_model(partial, ensemble, signatures, config, exported.class_names)
        else:
            partial.mkdir()
        if "weights" in exported.formats:
            write_weights(partial / WEIGHTS, ensemble.networks)
        differences: dict[str, float] = {}
        if exported.subsets:
            from dmcl_tf.portable import write_portable

            named = {name.replace("+", "_"): subset_names(config.modalities)[name] for name in exported.subsets}
            others = [name for name in exported.formats if FORMATS[name].suffixes]
            differences = write_portable(partial, ensemble, named, others, config)
        clip = (config.clip_frames, config.crop_size, config.crop_size)
        sizes = {m: (net.count_params(), multiply_adds(net, clip)) for m, net in ensemble.networks.items()}
        write_text(partial / _CARD, model_card.describe_model(folder, exported, sizes, differences))
        write_json(partial / _RECORD, replace(exported, files=_list_files(partial)))


def export_flags(values: flags.FlagValues) -> None:
    """Where to, and what is served by default."""
    text = "folder for the model's versions; default: exported/<data set>/<method>/<run>"
    flags.DEFINE_string("export_dir", None, text, flag_values=values)
    text = "modalities of serving_default; default: all"
    flags.DEFINE_list("default_modalities", None, text, flag_values=values)
    text = f"formats, some of {','.join(FORMATS)}; the last three need the extra of their name"
    flags.DEFINE_list("formats", ["savedmodel"], text, flag_values=values)
    text = (
        "subsets with a model of their own in the other formats, such as rgb,rgb+flow; default: each modality and all"
    )
    flags.DEFINE_list("subsets", None, text, flag_values=values)


FLAG_GROUPS = (run_flags, export_flags)


def show(settings: ExportSettings) -> None:
    """Exports a run and prints where the model is."""
    print(f"exported: {export(settings)}")


def settings_from_flags(values: flags.FlagValues) -> ExportSettings:
    """The settings of an export.

    Raises:
        InputError: no run is named.
    """
    return ExportSettings(
        given_run(values),
        Path(values["export_dir"].value) if values["export_dir"].value else None,
        values["checkpoint"].value,
        tuple(values["default_modalities"].value or ()),
        tuple(values["formats"].value or ["savedmodel"]),
        tuple(values["subsets"].value or ()),
    )


def main() -> None:
    """Exports the run that the flags name."""
    show(settings_from_flags(flags.FLAGS))


if __name__ == "__main__":
    define(FLAG_GROUPS, flags.FLAGS)
    run_script(main)
