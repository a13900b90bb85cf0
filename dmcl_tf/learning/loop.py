"""The training loop: what happens after each epoch, and how a run continues."""

from __future__ import annotations

import dataclasses

import keras
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from dmcl_tf.config import Config, reported_accuracies
from dmcl_tf.data import pipeline
from dmcl_tf.data.faults import explain
from dmcl_tf.data.table import Records
from dmcl_tf.datasets.splits import Splits
from dmcl_tf.errors import InputError
from dmcl_tf.learning.optimizers import Schedule, make_optimizer
from dmcl_tf.networks import NETWORKS
from dmcl_tf.networks.ensemble import NOT_FINITE, make_ensemble
from dmcl_tf.networks.recompute import Recomputed
from dmcl_tf.runs.checkpoints import Checkpoints
from dmcl_tf.runs.folder import Run, RunFolder
from dmcl_tf.runs.progress import best_score, done_epochs
from dmcl_tf.runs.teacher import Teacher
from dmcl_tf.scoring.accuracy import accuracies
from dmcl_tf.scoring.logits import Evaluator


def check(run: Run, records: Records, splits: Splits, strategy: tf.distribute.Strategy) -> None:
    """Checks all that can be known of a run before it begins.

    Raises:
        InputError: for records of other modalities or frames, too few or too short videos, a missing or half-written
            record, flow that cannot be negated, a batch that does not divide among the replicas, float16 on several of
            them, a network that cannot be recomputed, or a teacher that does not fit.
    """
    config, teacher = run.config, Teacher.of(run.config)
    if teacher:
        teacher.check(run)
    records.check(_input_modalities(config, teacher), config.frame_size)
    pipeline.check_negation(records.description, config)
    pipeline.check_lengths(splits, config)
    pipeline.steps_per_epoch(splits, config)
    records.check_files(splits.train + splits.validation)
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise InputError(
            f"--batch_size={config.batch_size} does not divide among {replicas} devices: choose a multiple"
        )
    if replicas > 1 and config.precision == "float16":
        raise InputError(f"--precision=float16 works on one device, not on {replicas}: choose another, or one device")
    if config.recompute:
        Recomputed(NETWORKS[config.variant](2, 1))


def fit(config: Config, records: Records, splits: Splits, folder: RunFolder, strategy: tf.distribute.Strategy) -> None:
    """Trains a run to its end, continuing from its last complete epoch.

    Args:
        config: of the run.
        records: that it trains on.
        splits: of these.
        folder: of the run; `config.json` is there already.
        strategy: whose replicas share each batch.

    Raises:
        InputError: for a record that cannot be used, files of the run that do not belong together, or a loss that is
            not finite.
    """
    first_epoch, steps = done_epochs(folder, config), pipeline.steps_per_epoch(splits, config)
    if first_epoch >= config.epochs:
        print(f"complete: {config.epochs} epochs")
        return
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    teacher = Teacher.of(config)
    with strategy.scope():
        mean_logits = teacher.load(config.precision) if teacher else None
        # after the teacher, so that a student begins with the weights that it has without one; not 0, under which
        # tf.data refuses seeds that are tensors
        keras.utils.set_random_seed(config.seed + 1)
        ensemble = make_ensemble(config, len(splits.class_names), mean_logits)
        optimizer = make_optimizer(config, steps, ensemble.trainable_variables)
        # XLA is several times slower on CPUs, and current Keras would turn it on by itself
        ensemble.compile(optimizer=optimizer, jit_compile=False)
        checkpoints = Checkpoints(folder.directory, ensemble)
        checkpoints.restore("last")
    inputs = dataclasses.replace(config, modalities=_input_modalities(config, teacher))
    recorder = EpochRecorder(config, folder, checkpoints, Evaluator(ensemble, records, splits, config), splits)
    try:
        ensemble.fit(
            pipeline.training_dataset(records, splits, inputs, first_epoch),
            initial_epoch=first_epoch,
            epochs=config.epochs,
            steps_per_epoch=steps,
            callbacks=[recorder],
            verbose=0,
        )
    except tf.errors.OpError as error:
        if NOT_FINITE not in error.message:
            raise explain(records, splits.train, error) from None
        names = " ".join(video.video_id for video in pipeline.batch_videos(splits, config, recorder.step))
        raise InputError(
            f"{NOT_FINITE} for the batch {names}: look at these videos, or lower --learning_rate={config.learning_rate}"
        ) from None
    finally:
        recorder.close()


def _input_modalities(config: Config, teacher: Teacher | None) -> tuple[str, ...]:
    """The run's modalities, then those that only its teacher sees."""
    return tuple(dict.fromkeys((*config.modalities, *(teacher.modalities if teacher else ()))))


class EpochRecorder(keras.callbacks.Callback):
    """After each epoch: validation, best checkpoint, history, last checkpoint, TensorBoard and progress, in that order.

    The history is written before the checkpoint to continue from, and cut back to that checkpoint on continuing: an
    epoch counts only when its checkpoint is complete, and then its row is there.

    Attributes:
        step: of the run, 0, 1, …, that is being or was taken last.
    """

    def __init__(
        self, config: Config, folder: RunFolder, checkpoints: Checkpoints, evaluate: Evaluator, splits: Splits
    ):
        super().__init__()
        self._config, self._folder, self._checkpoints, self._evaluate = config, folder, checkpoints, evaluate
        self._validates = bool(splits.validation)
        self._steps = pipeline.steps_per_epoch(splits, config)
        self._rows = folder.read_history().to_dict("records")[: done_epochs(folder, config)]
        self.step = len(self._rows) * self._steps
        self._learning_rate = Schedule(config, self._steps)
        self._writer = tf.summary.create_file_writer(str(folder.directory / "tensorboard"))
        total = config.epochs * self._steps
        self._progress = tqdm(
            total=total, initial=self.step, desc="train", unit="step", dynamic_ncols=True, mininterval=0.5
        )

    def on_epoch_begin(self, epoch, logs=None):
        """Knows the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        """Knows the step."""
        self.step = self._epoch * self._steps + batch

    def on_train_batch_end(self, batch, logs=None):
        """Moves the progress bar."""
        self._progress.update()

    def on_epoch_end(self, epoch, logs=None):
        """Validates every `validate_every` epochs, counted from the first, and after the last one.

        Without validation videos the last epoch counts as the best.
        """
        rate = float(self._learning_rate((epoch + 1) * self._steps - 1))  # of the epoch's last step
        row = {"epoch": epoch, "learning_rate": rate, **{k: float(v) for k, v in (logs or {}).items()}}
        last = epoch == self._config.epochs - 1
        if self._validates and (last or epoch % self._config.validate_every == 0):
            result = self._evaluate("validation")
            scores = accuracies(result.logits, result.labels, self._config.modalities)
            row.update({f"validation_{name}": value for name, value in scores.items()})
            best = best_score(pd.DataFrame(self._rows), self._config)
            if scores[self._config.select_by] >= best:  # the later of equals, as in the authors' code
                self._checkpoints.save_best(epoch)
        elif last:  # there are no validation videos to choose by
            self._checkpoints.save_best(epoch)
        self._rows.append(row)
        self._folder.write_history(pd.DataFrame(self._rows, columns=_history_columns(self._config)))
        self._checkpoints.save_last(epoch)
        with self._writer.as_default(step=epoch):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name.replace("validation_", "validation/"), value)
        self._writer.flush()
        self._progress.set_postfix_str(_summary(row, self._config))

    def close(self) -> None:
        """Ends the progress bar and the log."""
        self._progress.close()
        self._writer.close()


def _history_columns(config: Config) -> list[str]:
    kinds = ("loss", "cross_entropy", "accuracy", "wins")
    training = ["epoch", "learning_rate", "loss", *(f"{m}_{kind}" for kind in kinds for m in config.modalities)]
    return training + [f"validation_{name}" for name in reported_accuracies(config.modalities)]


def _summary(row: dict, config: Config) -> str:
    accuracies = " ".join(f"{m} {100 * row[f'{m}_accuracy']:.0f}%" for m in config.modalities)
    selected = row.get(f"validation_{config.select_by}")
    validation = "" if selected is None else f", validation {config.select_by} {selected:.1f}%"
    return f"epoch {row['epoch'] + 1}/{config.epochs}: {accuracies}{validation}"
