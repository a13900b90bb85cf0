"""Checkpoints of a run: `last` to continue from, `best` of the selected validation accuracy."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import tensorflow as tf

from dmcl_tf.errors import InputError
from dmcl_tf.networks.ensemble import ModalityEnsemble, make_ensemble
from dmcl_tf.runs.folder import RunFolder

# What TensorFlow raises for files that are cut off or hold other variables
_UNREADABLE = (tf.errors.OpError, ValueError, LookupError, AssertionError)


class Checkpoints:
    """Writes and restores the checkpoints under a run folder. A half-written one is never found again.

    Args:
        directory: of the run.
        ensemble: whose networks, and for `last` whose optimiser, are kept.
    """

    def __init__(self, directory: Path, ensemble: ModalityEnsemble):
        self._epoch = tf.Variable(-1, dtype=tf.int64, trainable=False)
        self._accuracy = tf.Variable(-1.0, dtype=tf.float64, trainable=False)
        networks = {f"network_{modality}": network for modality, network in ensemble.networks.items()}
        state = {"epoch": self._epoch, "accuracy": self._accuracy, **networks}
        last = dict(state, optimizer=ensemble.optimizer) if getattr(ensemble, "optimizer", None) else state
        self._managers = {
            name: tf.train.CheckpointManager(tf.train.Checkpoint(**items), str(directory / name), max_to_keep=1)
            for name, items in (("last", last), ("best", state))
        }
        self._complete = last is not state

    def save_last(self, epoch: int) -> None:
        """Keeps networks and optimiser after `epoch`, counted from 0."""
        self._save("last", epoch, self.best_accuracy())

    def save_best(self, epoch: int, accuracy: float) -> None:
        """Keeps the networks after `epoch` with their validation accuracy."""
        self._save("best", epoch, accuracy)

    def best_accuracy(self) -> float:
        """Validation accuracy of the best checkpoint, -1 where there is none yet."""
        value = _stored(self._managers["best"].latest_checkpoint, "accuracy")
        return -1.0 if value is None else float(value)

    def restore(self, name: str) -> int | None:
        """Restores `last` or `best`; returns its epoch, or None where there is no such checkpoint.

        Raises:
            InputError: where the checkpoint is damaged or of other networks.
        """
        manager = self._managers[name]
        if not manager.latest_checkpoint:
            return None
        try:
            status = manager.checkpoint.restore(manager.latest_checkpoint)
            status.assert_existing_objects_matched() if self._complete else status.expect_partial()
        except _UNREADABLE as error:
            raise _damaged(manager.latest_checkpoint, error) from None
        return int(self._epoch.numpy())

    def _save(self, name: str, epoch: int, accuracy: float) -> None:
        self._epoch.assign(epoch)
        self._accuracy.assign(accuracy)
        self._managers[name].save(checkpoint_number=epoch)


def identify_checkpoint(folder: RunFolder, checkpoint: str) -> dict[str, object]:
    """What tells a run's checkpoint ("best" or "last") from any other.

    Returns:
        `epoch`, counted from 0, and `weights`, a checksum of all values.

    Raises:
        InputError: where there is no such checkpoint, or it is damaged.
    """
    path = tf.train.latest_checkpoint(str(folder.directory / checkpoint))
    if not path:
        raise _missing(folder, checkpoint)
    index = Path(f"{path}.index").read_bytes()  # holds the checksum of every tensor
    return {"epoch": int(_stored(path, "epoch")), "weights": f"{zlib.crc32(index):08x}"}


def _stored(path: str | None, name: str):
    if not path:
        return None
    try:
        return tf.train.load_variable(path, f"{name}/.ATTRIBUTES/VARIABLE_VALUE")
    except _UNREADABLE as error:
        raise _damaged(path, error) from None


def _missing(folder: RunFolder, checkpoint: str) -> InputError:
    return InputError(f"{folder.directory}: no {checkpoint} checkpoint; train the run first, python -m dmcl_tf.train")


def _damaged(path: str, error: Exception) -> InputError:
    reason = str(error).splitlines()[0]
    return InputError(f"{path} cannot be restored ({reason}): remove {Path(path).parent} to start afresh")


def restore_ensemble(folder: RunFolder, checkpoint: str, precision: str | None = None) -> tuple[ModalityEnsemble, int]:
    """The ensemble of a run as one of its checkpoints has it, and the checkpoint's epoch.

    Args:
        folder: of the run.
        checkpoint: "best" or "last".
        precision: of the arithmetic; None: as the run was trained.

    Raises:
        InputError: where there is no such checkpoint, or it is damaged.
    """
    run = folder.load()
    config = run.config if precision is None else dataclasses.replace(run.config, precision=precision)
    ensemble = make_ensemble(config, len(run.class_names))
    epoch = Checkpoints(folder.directory, ensemble).restore(checkpoint)
    if epoch is None:
        raise _missing(folder, checkpoint)
    return ensemble, epoch
