"""Checkpoints of a run: `last` and `step` to continue from, `best` of the selected validation accuracy."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from dmcl_tf.errors import InputError
from dmcl_tf.files import atomic_path, remove_at_once
from dmcl_tf.networks.ensemble import ModalityEnsemble, make_ensemble
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.runs.progress import checkpoint_number, find_checkpoint, identify_checkpoint, remove_others

# What TensorFlow raises for files that are cut off or hold other variables
_UNREADABLE = (tf.errors.OpError, ValueError, LookupError, AssertionError)


class Checkpoints:
    """Writes and restores the checkpoints below a run folder. A half-written one is never found again.

    Args:
        directory: of the run.
        ensemble: whose networks, and for `last` and `step` optimiser, loss scale and weights of the method, are kept.
        writes: whether this process keeps what is saved. Where several train together one does, but all must save,
            as reading a variable that they share takes all of them.
        figures: how many numbers `step` keeps beside.
    """

    def __init__(self, directory: Path, ensemble: ModalityEnsemble, *, writes: bool = True, figures: int = 0):
        self._directory, self._writes = directory, writes
        self.figures = tf.Variable(tf.zeros(figures, tf.float64), trainable=False)
        networks = {f"network_{modality}": network for modality, network in ensemble.networks.items()}
        self._networks = tuple(networks)
        training = {"optimizer": getattr(ensemble, "optimizer", None), "loss_scale": ensemble.loss_scale}
        training["learned"] = ensemble.learned
        last = {**networks, **{name: value for name, value in training.items() if value is not None}}
        self._checkpoints = {
            "last": tf.train.Checkpoint(**last),
            "best": tf.train.Checkpoint(**networks),
            "step": tf.train.Checkpoint(**last, figures=self.figures),
        }

    def save_last(self, epoch: int) -> None:
        """Keeps networks, optimiser and loss scale after `epoch`, counted from 0."""
        self._save("last", epoch)

    def save_best(self, epoch: int) -> None:
        """Keeps the networks after `epoch`."""
        self._save("best", epoch)

    def save_step(self, step: int) -> None:
        """Keeps networks, optimiser, loss scale and `figures` after so many steps of the run."""
        self._save("step", step)

    def remove_step(self) -> None:
        """Removes what `save_step` kept, which the end of its epoch makes useless."""
        if self._writes:
            remove_at_once(self._directory / "step")

    def _save(self, name: str, epoch: int) -> None:
        if not self._writes:
            with tempfile.TemporaryDirectory() as elsewhere:
                self._checkpoints[name].write(str(Path(elsewhere) / "ckpt"))
            return

        def save(directory: Path) -> None:
            # so that the same weights are the same bytes, however often they were saved before
            self._checkpoints[name].save_counter.assign(0)
            manager = tf.train.CheckpointManager(self._checkpoints[name], str(directory), max_to_keep=1)
            manager.save(checkpoint_number=epoch)

        folder = self._directory / name
        if find_checkpoint(folder) is None:  # and no file of one that lost its state: the folder appears whole
            with atomic_path(folder) as partial:
                save(partial)
            return
        try:
            save(folder)
        except BaseException:
            remove_others(folder)  # the former one may still be the newest
            raise

    def restore(self, name: str) -> int | None:
        """Restores `last`, `step` or `best`; returns its number, or None where there is no such checkpoint.

        Raises:
            InputError: the checkpoint is damaged or of other networks.
        """
        path = find_checkpoint(self._directory / name)
        if path is None:
            return None
        try:
            self._check_networks(path)
            # an optimiser that nobody asks for is no reason to warn
            status = self._checkpoints[name].restore(str(path)).expect_partial()
            status.assert_existing_objects_matched()
        except _UNREADABLE as error:
            reason = str(error).splitlines()[0]
            remedy = f"bring back {path.parent}, or remove {self._directory} to train anew"
            raise InputError(f"{path} cannot be restored ({reason}): {remedy}") from None
        return checkpoint_number(path)

    def _check_networks(self, path: Path) -> None:
        """Raises `ValueError` for a checkpoint of other modalities, which Keras 3 restores as far as it goes."""
        graph = tf.train.load_checkpoint(str(path)).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
        root = trackable_object_graph_pb2.TrackableObjectGraph.FromString(graph).nodes[0]
        there = sorted(child.local_name for child in root.children if child.local_name.startswith("network_"))
        if there != sorted(self._networks):
            raise ValueError(f"expected {', '.join(sorted(self._networks))}, but it holds {', '.join(there) or 'none'}")


def restore_ensemble(folder: RunFolder, checkpoint: str, precision: str | None = None) -> ModalityEnsemble:
    """The ensemble of a run as one of its checkpoints has it.

    Args:
        folder: of the run.
        checkpoint: "best" or "last".
        precision: of the arithmetic; None: as the run was trained.

    Raises:
        InputError: there is no such checkpoint, or it is damaged.
    """
    run = folder.load()
    config = run.config if precision is None else dataclasses.replace(run.config, precision=precision)
    identify_checkpoint(folder, checkpoint)  # or it says what is wrong
    ensemble = make_ensemble(config, len(run.class_names))
    Checkpoints(folder.directory, ensemble).restore(checkpoint)
    return ensemble
