"""Training: what happens after each epoch, and how a run continues."""

from __future__ import annotations

import dataclasses
import re

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from dmcl_tf.config import Config, reported_accuracies
from dmcl_tf.data import pipeline as input_pipeline
from dmcl_tf.data import records
from dmcl_tf.errors import InputError
from dmcl_tf.learning.optimizers import Schedule, make_optimizer
from dmcl_tf.networks.ensemble import ModalityEnsemble, make_ensemble
from dmcl_tf.runs.checkpoints import Checkpoints
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.runs.teacher import Teacher
from dmcl_tf.scoring import accuracy
from dmcl_tf.scoring.logits import Evaluator


def check(config: Config, info: records.DatasetInfo, strategy: tf.distribute.Strategy) -> None:
    """Checks all that can be known of a run before it begins; arguments as of `train`.

    Raises:
        InputError: for records of other modalities, frames or clips, too few of them, a missing or half-written
            shard, a batch that does not divide among the replicas, or a teacher that does not fit.
    """
    teacher = Teacher.of(config)
    if teacher:
        teacher.check(config, info)
    info.check(_input_modalities(config, teacher), config.frame_size)
    input_pipeline.check_clip_frames(info, config)
    input_pipeline.steps_per_epoch(info, config)
    for split in ("train", "validation"):
        info.shard_paths(split)
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise InputError(
            f"--batch_size={config.batch_size} does not divide among {replicas} devices: choose a multiple"
        )


def train(config: Config, info: records.DatasetInfo, folder: RunFolder, strategy: tf.distribute.Strategy) -> None:
    """Trains a run to its end, continuing from its last complete epoch.

    Args:
        config: of the run.
        info: the records.
        folder: of the run; `config.json` is there already.
        strategy: whose replicas share each batch.

    Raises:
        InputError: as `check`, for a corrupt shard, or for a loss that is not finite.
    """
    check(config, info, strategy)
    steps = input_pipeline.steps_per_epoch(info, config)
    keras.utils.set_random_seed(config.seed + 1)  # tf.data refuses seeds that are tensors under the global seed 0
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    teacher = Teacher.of(config)
    with strategy.scope():
        ensemble = make_ensemble(config, len(info.class_names))
        if teacher:  # made second: the weights of the students are those that they have without one
            ensemble.teacher = teacher.load(config.precision)
        optimizer = make_optimizer(config, steps, ensemble.trainable_variables)
        # XLA is several times slower on CPUs, and current Keras would turn it on by itself
        ensemble.compile(optimizer=optimizer, jit_compile=False)
        checkpoints = Checkpoints(folder.directory, ensemble)
        done = checkpoints.restore("last")
    first_epoch = 0 if done is None else done + 1
    if first_epoch >= config.epochs:
        print(f"complete: {config.epochs} epochs")
        return
    recorder = EpochRecorder(config, info, folder, checkpoints, ensemble, first_epoch, steps)
    inputs = dataclasses.replace(config, modalities=_input_modalities(config, teacher))
    try:
        dataset = input_pipeline.training_dataset(info, inputs, first_epoch)
        ensemble.fit(
            dataset.map(input_pipeline.encode_video_ids),
            initial_epoch=first_epoch,
            epochs=config.epochs,
            steps_per_epoch=steps,
            callbacks=[recorder],
            verbose=0,
        )
    except tf.errors.DataLossError:
        raise info.corruption("train", "validation") from None
    except tf.errors.InvalidArgumentError as error:
        if "non-finite loss" not in error.message:
            raise
        raise InputError(
            f"the loss is not finite for the batch {_video_ids(error.message)}: look at these videos, or lower "
            f"--learning_rate={config.learning_rate}"
        ) from None
    finally:
        recorder.close()


def _input_modalities(config: Config, teacher: Teacher | None) -> tuple[str, ...]:
    """The run's modalities, then those that only its teacher sees."""
    return tuple(dict.fromkeys((*config.modalities, *(teacher.modalities if teacher else ()))))


def _video_ids(message: str) -> str:
    """The video ids in the message of the failed assertion in `ModalityEnsemble.train_step`."""
    codes = re.findall(r"\d+", message.split("non-finite loss", 1)[1].rpartition("]]")[0])
    return " ".join(input_pipeline.decode_video_ids(np.array(codes, np.uint8)))


class EpochRecorder(keras.callbacks.Callback):
    """After each epoch: validation, best checkpoint, history, last checkpoint, TensorBoard and progress, in that order.

    The history is written before the checkpoint to continue from, and cut back to that checkpoint on continuing: an
    epoch counts only when its checkpoint is complete, and then its row is there.
    """

    def __init__(
        self,
        config: Config,
        info: records.DatasetInfo,
        folder: RunFolder,
        checkpoints: Checkpoints,
        ensemble: ModalityEnsemble,
        first_epoch: int,
        steps_per_epoch: int,
    ):
        super().__init__()
        self._config, self._folder, self._checkpoints = config, folder, checkpoints
        self._validates = any(shard.videos for shard in info.shards.get("validation", ()))
        self._evaluate = Evaluator(ensemble, info, config)
        history = folder.read_history()
        self._rows = history[history["epoch"] < first_epoch].to_dict("records") if len(history) else []
        self._columns = _history_columns(config)
        self._steps_per_epoch = steps_per_epoch
        self._learning_rate = Schedule(config, steps_per_epoch)
        self._writer = tf.summary.create_file_writer(str(folder.directory / "tensorboard"))
        self._progress = tqdm(
            total=config.epochs * steps_per_epoch,
            initial=first_epoch * steps_per_epoch,
            desc="train",
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def on_train_batch_end(self, batch, logs=None):
        """Moves the progress bar."""
        self._progress.update()

    def on_epoch_end(self, epoch, logs=None):
        """Validates every `validate_every` epochs, counted from the first, and after the last one.

        Without validation videos the last epoch counts as the best.
        """
        rate = float(self._learning_rate((epoch + 1) * self._steps_per_epoch - 1))  # of the epoch's last step
        row = {"epoch": epoch, "learning_rate": rate, **{k: float(v) for k, v in (logs or {}).items()}}
        last = epoch == self._config.epochs - 1
        if self._validates and (last or epoch % self._config.validate_every == 0):
            result = self._evaluate("validation")
            scores = accuracy.accuracies(result.logits, result.labels, self._config.modalities)
            row.update({f"validation_{name}": value for name, value in scores.items()})
            score = scores[self._config.select_by]
            if score >= self._checkpoints.best_accuracy():  # the later of two equals, as in the authors' code
                self._checkpoints.save_best(epoch, score)
        elif last:  # there are no validation videos to choose by
            self._checkpoints.save_best(epoch, -1.0)
        self._rows.append(row)
        self._folder.write_history(pd.DataFrame(self._rows, columns=self._columns))
        self._checkpoints.save_last(epoch)
        with self._writer.as_default(step=epoch):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name.replace("validation_", "validation/"), value)
        self._writer.flush()
        self._progress.set_postfix_str(_summary(epoch, row, self._config))

    def close(self) -> None:
        """Ends the progress bar and the log."""
        self._progress.close()
        self._writer.close()


def _history_columns(config: Config) -> list[str]:
    kinds = ("loss", "cross_entropy", "accuracy", "wins")
    training = ["epoch", "learning_rate", "loss", *(f"{m}_{kind}" for kind in kinds for m in config.modalities)]
    return training + [f"validation_{name}" for name in reported_accuracies(config.modalities)]


def _summary(epoch: int, row: dict, config: Config) -> str:
    losses = " ".join(f"{m} {100 * row[f'{m}_accuracy']:.0f}%" for m in config.modalities)
    selected = row.get(f"validation_{config.select_by}")
    validation = "" if selected is None else f", validation {config.select_by} {selected:.1f}%"
    return f"epoch {epoch + 1}/{config.epochs}: {losses}{validation}"
