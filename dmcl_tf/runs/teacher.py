"""The finished run whose frozen networks teach those of another run in distillation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from dmcl_tf.config import Config
from dmcl_tf.datasets.base import describe
from dmcl_tf.errors import InputError
from dmcl_tf.methods import Outputs
from dmcl_tf.networks.ensemble import stack
from dmcl_tf.networks.parts import with_middle
from dmcl_tf.registry import METHODS
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.runs.folder import Run, RunFolder, Weights
from dmcl_tf.runs.progress import done_epochs, identify_checkpoint

CHECKPOINT = "best"
_SHARED = ("frame_size", "crop_size", "clip_frames", "value_range")  # teacher and students see the same clips


@dataclass(frozen=True)
class Teacher:
    """Networks of a finished run.

    Attributes:
        folder: of the run.
        run: what the folder was made with.
        modalities: of the networks that teach.
    """

    folder: RunFolder
    run: Run
    modalities: tuple[str, ...]

    @classmethod
    def of(cls, config: Config) -> Teacher | None:
        """The teacher that a configuration names, None where it names none.

        Raises:
            InputError: there is no such run, or it lacks a modality.
        """
        if not config.teacher_run:
            return None
        folder = RunFolder(Path(config.teacher_run))
        run = folder.load()
        missing = [modality for modality in config.teacher_modalities if modality not in run.config.modalities]
        if missing:
            raise InputError(
                f"--teacher_modalities={','.join(config.teacher_modalities)}: {folder.directory} has no {missing[0]}, "
                f"only {', '.join(run.config.modalities)}"
            )
        return cls(folder, run, config.teacher_modalities or run.config.modalities)

    def check(self, student: Run) -> None:
        """Checks that the teacher can teach a run.

        Raises:
            InputError: it was trained on another data set, other classes, another split or other clips, it is not
                complete, or it has no checkpoint.
        """
        run, here = self.run, f"--teacher_run={self.folder.directory}"
        if run.dataset != student.dataset:
            raise InputError(
                f"{here} was trained on {run.dataset}, not on {student.dataset}: choose a run of the latter"
            )
        if run.class_names != student.class_names:
            raise InputError(f"{here} knows other classes than the records in {student.records}: choose another run")
        for name in _SHARED:
            theirs, ours = getattr(run.config, name), getattr(student.config, name)
            if theirs != ours:
                raise InputError(
                    f"{here} was trained with --{name}={theirs}, but {ours} is asked for: teacher and students see "
                    "the same clips"
                )
        check_finished(here, self.folder, run)
        check_split(here, run, student)

    def identity(self) -> Weights:
        """What tells the weights that teach from any others.

        Raises:
            InputError: the run has no checkpoint.
        """
        return identify_checkpoint(self.folder, CHECKPOINT)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The modalities that the teaching networks see."""
        return tuple(dict.fromkeys(map(self.run.config.sees, self.modalities)))

    def load(self, student: Config) -> Callable[[Mapping[str, tf.Tensor]], Outputs]:
        """The teaching networks, in inference mode, as a function from clips by modality to what they say.

        Args:
            student: the configuration that asks for the arithmetic, and perhaps for activations at a middle layer.

        Raises:
            InputError: the checkpoint is damaged.
        """
        ensemble = restore_ensemble(self.folder, CHECKPOINT, student.precision)
        networks = {modality: ensemble.networks[modality] for modality in self.modalities}
        if METHODS[student.method].compares == "middle":
            networks = {name: with_middle(network, student.middle_layer) for name, network in networks.items()}

        def outputs(clips):
            return stack([network(clips[ensemble.sees[name]], training=False) for name, network in networks.items()])

        return outputs


def check_finished(where: str, folder: RunFolder, run: Run) -> None:
    """Checks that a run has all its epochs, and a checkpoint.

    Args:
        where: how the message begins.
        folder: of the run.
        run: what the folder was made with.

    Raises:
        InputError: it has not.
    """
    identify_checkpoint(folder, CHECKPOINT)
    epochs = done_epochs(folder, run.config)
    if epochs < run.config.epochs:
        raise InputError(f"{where} has trained {epochs} of {run.config.epochs} epochs: let it finish first")


def check_split(where: str, run: Run, other: Run) -> None:
    """Checks that a run was trained on the split of another, whose test videos it may have seen else.

    Raises:
        InputError: it was not.
    """
    if (run.protocol, run.splits) != (other.protocol, other.splits):
        raise InputError(
            f"{where} was trained on another split ({_split(run)}) than that of {other.records} "
            f"({_split(other)}): choose a run of the same split"
        )


def _split(run: Run) -> str:
    return ", ".join(text for text in (describe(run.protocol), f"checksum {run.splits}") if text)
