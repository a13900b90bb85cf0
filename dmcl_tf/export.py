"""Exports a run as a SavedModel: `python -m dmcl_tf.export --run_dir=… --export_dir=exported/model`.

One signature for each non-empty subset of the modalities (`rgb`, `rgb_depth`, …) and `serving_default`. Inputs, named
after the modalities, are clips of uint8 (N, T, H, W, 3); outputs are `probabilities` (N, C), `classes` (N, 5) and
`scores` (N, 5), the five likeliest. Served in float32 whatever the precision of training.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import tensorflow as tf
from absl import flags

from dmcl_tf.config import Config, subset_names
from dmcl_tf.data.pipeline import network_input
from dmcl_tf.errors import InputError, run_script
from dmcl_tf.networks.ensemble import ModalityEnsemble
from dmcl_tf.runs.checkpoints import identify_checkpoint, restore_ensemble
from dmcl_tf.runs.folder import RunFolder

_TOP = 5
RECORD = "dmcl_tf.json"  # beside saved_model.pb: what the version was made from


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


def predict(
    ensemble: ModalityEnsemble | Callable[..., Mapping[str, tf.Tensor]],
    clips: Mapping[str, tf.Tensor],
    config: Config,
    class_names: Sequence[str],
) -> dict[str, tf.Tensor]:
    """Class probabilities from any subset of the modalities: softmax of the mean of their logits.

    Args:
        ensemble: the networks, or a function like it of clips by modality.
        clips: modality → (N, T, H, W, 3) uint8.
        config: of the run.
        class_names: by label.

    Returns:
        `probabilities` (N, C); `classes` (N, k) strings and `scores` (N, k), k = min(5, C), likeliest first.
    """
    logits = ensemble({modality: prepare_clips(clip, config) for modality, clip in clips.items()})
    probabilities = tf.nn.softmax(tf.add_n(list(logits.values())) / len(logits))
    scores, labels = tf.math.top_k(probabilities, min(_TOP, len(class_names)))
    return {"probabilities": probabilities, "classes": tf.gather(tf.constant(class_names), labels), "scores": scores}


def export(folder: RunFolder, export_dir: Path, checkpoint: str, default_modalities: tuple[str, ...]) -> Path:
    """Writes `export_dir/<version>/`, the next free number, and returns it; an existing equal version is kept.

    Raises:
        InputError: for a run without this checkpoint, or default modalities it does not have.
    """
    run = folder.load()
    modalities = default_modalities or run.config.modalities
    unknown = [modality for modality in modalities if modality not in run.config.modalities]
    if unknown:
        raise InputError(f"--default_modalities: the run has no {unknown[0]}, only {', '.join(run.config.modalities)}")
    if len(set(modalities)) < len(modalities):
        raise InputError(f"--default_modalities={','.join(modalities)}: expected different names")
    record = {
        "run_dir": os.path.relpath(folder.directory),
        "checkpoint": checkpoint,
        **identify_checkpoint(folder, checkpoint),
        "default_modalities": list(modalities),
        "class_names": list(run.class_names),
        "depth": run.depth,
        "config": run.config.to_json(),
    }
    versions = sorted(int(path.name) for path in export_dir.glob("*") if path.name.isdigit())
    if versions and _read(export_dir / str(versions[-1]) / RECORD) == record:
        return export_dir / str(versions[-1])
    final = export_dir / str(versions[-1] + 1 if versions else 1)
    export_dir.mkdir(parents=True, exist_ok=True)  # here, so that a file in its place is named
    ensemble, _ = restore_ensemble(folder, checkpoint, precision="float32")
    partial = final.with_name(f"{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)

    archive = keras.export.ExportArchive()
    for network in ensemble.networks.values():
        archive.track(network)
    crop = run.config.crop_size
    clip = tf.TensorSpec((None, None, crop, crop, 3), tf.float32)
    # each network is traced once and called by every signature that needs it
    traced = {m: tf.function(network, input_signature=[clip]) for m, network in ensemble.networks.items()}

    def networks(clips):
        return {modality: traced[modality](clips[modality]) for modality in clips}

    def endpoint(subset):
        def serve(clips):
            return predict(networks, clips, run.config, run.class_names)

        specification = {m: tf.TensorSpec((None, None, None, None, 3), tf.uint8, name=m) for m in subset}
        return {"fn": serve, "input_signature": [specification]}

    for subset in subset_names(run.config.modalities).values():
        archive.add_endpoint("_".join(subset), **endpoint(subset))
    archive.add_endpoint("serving_default", **endpoint(modalities))
    with contextlib.redirect_stdout(io.StringIO()):  # Keras lists every captured variable
        archive.write_out(str(partial))
    (partial / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, final)
    return final


def _read(path: Path) -> dict | None:
    """What a version was made from; None where that is not known, so that it is no reason to keep it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the script's flags."""
    flags.DEFINE_string("run_dir", None, "folder of the run, checkpoints/<data set>/…", flag_values=flag_values)
    flags.DEFINE_string(
        "export_dir",
        None,
        "folder for the model's versions; default: exported/<data set>/<method>/<run>",
        flag_values=flag_values,
    )
    flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "weights to export", flag_values=flag_values)
    flags.DEFINE_list(
        "default_modalities", None, "modalities of serving_default; default: all", flag_values=flag_values
    )


def main() -> None:
    """Exports the run that the flags name."""
    if not flags.FLAGS.run_dir:
        raise InputError("--run_dir is missing: expected the folder of a run, checkpoints/<data set>/<method>/<run>")
    folder = RunFolder(Path(flags.FLAGS.run_dir))
    run = folder.load()
    default = Path("exported") / run.dataset / run.config.method / folder.directory.resolve().name
    directory = Path(flags.FLAGS.export_dir) if flags.FLAGS.export_dir else default
    modalities = tuple(flags.FLAGS.default_modalities or ())
    path = export(folder, directory, flags.FLAGS.checkpoint, modalities)
    print(f"SavedModel: {path}")


if __name__ == "__main__":
    define_flags()
    run_script(main)
