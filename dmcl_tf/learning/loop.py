"""The training loop: its steps, what happens after each epoch, and how a run continues.

The loop runs the ensemble's step through `strategy.run`, which works under every strategy with Keras 2 and Keras 3;
the `fit` of Keras 3 does not know `MultiWorkerMirroredStrategy`.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from dmcl_tf.config import Config, reported_accuracies
from dmcl_tf.data import pipeline
from dmcl_tf.data.faults import explain
from dmcl_tf.data.table import Records
from dmcl_tf.datasets.splits import Splits
from dmcl_tf.errors import InputError, Stopped
from dmcl_tf.learning.checks import input_modalities
from dmcl_tf.learning.optimizers import Schedule, make_optimizer
from dmcl_tf.learning.workers import Workers
from dmcl_tf.networks.ensemble import NOT_FINITE, ModalityEnsemble, make_ensemble
from dmcl_tf.runs.checkpoints import Checkpoints
from dmcl_tf.runs.folder import Run, RunFolder, training_columns
from dmcl_tf.runs.progress import best_score, done_epochs, done_steps
from dmcl_tf.runs.sources import load_sources
from dmcl_tf.runs.teacher import Teacher
from dmcl_tf.scoring.accuracy import accuracies
from dmcl_tf.scoring.logits import Evaluator


def fit(
    run: Run, records: Records, splits: Splits, folder: RunFolder, workers: Workers, save_every_steps: int = 0
) -> None:
    """Trains a run to its end, continuing from where it was saved last.

    Args:
        run: to train.
        records: that it trains on.
        splits: of these.
        folder: of the run; `config.json` is there already.
        workers: who share each batch.
        save_every_steps: how often to save inside an epoch; 0: never.

    Raises:
        InputError: for a record that cannot be used, files of the run that do not belong together, or a loss that is
            not finite.
        Stopped: SIGTERM came; the step that it found was finished and saved.
    """
    config = run.config
    steps = pipeline.steps_per_epoch(splits, config)
    done = first = done_steps(folder, config, steps)
    if done >= config.epochs * steps:
        if workers.chief:
            print(f"complete: {config.epochs} epochs")
        return
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    teacher = Teacher.of(config)
    with workers.strategy.scope():
        teaching = teacher.load(config) if teacher else None
        # after the teacher, so that a student begins with the weights that it has without one; not 0, under which
        # tf.data refuses seeds that are tensors
        keras.utils.set_random_seed(config.seed + 1)
        ensemble = make_ensemble(config, len(splits.class_names), teaching)
        started = load_sources(ensemble.networks, run) if first == 0 else []
        if workers.chief:
            print(*started, sep="\n", end="\n" * bool(started))
        optimizer = make_optimizer(config, steps, ensemble.trainable_variables)
        # XLA is several times slower on CPUs, and current Keras would turn it on by itself
        ensemble.compile(optimizer=optimizer, jit_compile=False)
    checkpoints = Checkpoints(folder.directory, ensemble, writes=workers.chief, figures=len(ensemble.means))
    with workers.strategy.scope():
        checkpoints.restore("step" if done > done_epochs(folder, config) * steps else "last")
    evaluate = Evaluator(ensemble, records, splits, config, workers)
    recorder = EpochRecorder(config, folder, checkpoints, evaluate, splits, workers.chief)
    batches = _batches(records, splits, config, input_modalities(config, teacher), workers, divmod(done, steps))
    step = _Step(ensemble, workers)
    try:
        with noticing_termination() as told_to_stop, _progress(config, steps, done, workers.chief) as bar:
            for done in range(first + 1, config.epochs * steps + 1):
                figures, stop = step(next(batches), told_to_stop())
                checkpoints.figures.assign_add(figures)
                bar.update()
                if done % steps == 0:
                    means = checkpoints.figures.numpy() / steps
                    summary = recorder.record(done // steps - 1, dict(zip(ensemble.means, means)))
                    bar.set_postfix_str(summary)
                    checkpoints.figures.assign(np.zeros(len(means)))
                saved = done % (config.save_every * steps) == 0 or done == config.epochs * steps
                if not saved and (stop or (save_every_steps and done % save_every_steps == 0)):
                    recorder.save_step(done)
                if stop and done < config.epochs * steps:
                    where = f"step {done} of {config.epochs * steps}"
                    raise Stopped(f"stopped after {where}, which is saved; the same command continues")
    except tf.errors.OpError as error:
        if NOT_FINITE not in error.message:
            raise explain(records, splits.train, error) from None
        names = " ".join(video.video_id for video in pipeline.batch_videos(splits, config, done - 1))
        raise InputError(
            f"{NOT_FINITE} for the batch {names}: look at these videos, or lower --learning_rate={config.learning_rate}"
        ) from None
    finally:
        recorder.close()


def _batches(records, splits, config, modalities, workers: Workers, first: tuple[int, int]) -> Iterator:
    """This worker's share of every batch from (epoch, batch) `first` on."""

    def share(context):
        dataset = pipeline.training_dataset(
            records,
            splits,
            config,
            *first,
            modalities=modalities,
            worker=context.input_pipeline_id,
            workers=context.num_input_pipelines,
            replicas=workers.strategy.num_replicas_in_sync,
        )
        return dataset.repeat()  # it has no end, so that workers need not ask each other for it at every step

    return iter(workers.distribute(share))


class _Step:
    """One step of all replicas on a batch."""

    def __init__(self, ensemble: ModalityEnsemble, workers: Workers):
        strategy = workers.strategy

        def of_replica(batch, stop):
            figures = ensemble.learn(batch)
            return tf.stack([*(figures[name] for name in ensemble.means), stop])

        @tf.function(autograph=False)
        def step(batch, stop):
            # shares are equal, so that the mean over them is the mean over the batch
            return strategy.reduce(tf.distribute.ReduceOp.MEAN, strategy.run(of_replica, (batch, stop)), axis=None)

        self._step = step

    def __call__(self, batch, stop: bool) -> tuple[np.ndarray, bool]:
        """The figures of the batch, and whether any worker is told to stop: all of them hear of it at the same step."""
        *figures, any_stop = self._step(batch, tf.constant(float(stop))).numpy()
        return np.array(figures, np.float64), any_stop > 0


@contextlib.contextmanager
def noticing_termination():
    """Within it, SIGTERM, the warning of schedulers and of spot machines, only makes the function it yields true."""
    if threading.current_thread() is not threading.main_thread():  # which alone hears of signals
        yield lambda: False
        return
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.set())
    try:
        yield told.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def _progress(config: Config, steps: int, done: int, shown: bool) -> tqdm:
    settings = {"desc": "train", "unit": "step", "dynamic_ncols": True, "mininterval": 0.5, "disable": not shown}
    return tqdm(total=config.epochs * steps, initial=done, **settings)


class EpochRecorder:
    """After each epoch: validation, best checkpoint, history, last checkpoint, TensorBoard, in that order.

    The history is written before a checkpoint to continue from, and cut back to that checkpoint on continuing: an epoch
    counts only when such a checkpoint is complete, and then its row is there. Where several workers train, all of them
    record, and one of them writes.
    """

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        checkpoints: Checkpoints,
        evaluate: Evaluator,
        splits: Splits,
        writes: bool = True,
    ):
        self._config, self._folder, self._checkpoints, self._evaluate = config, folder, checkpoints, evaluate
        self._validates, self._writes = bool(splits.validation), writes
        self._steps = pipeline.steps_per_epoch(splits, config)
        self._rows = folder.read_history().to_dict("records")[: done_steps(folder, config, self._steps) // self._steps]
        self._learning_rate = Schedule(config, self._steps)
        self._writer = tf.summary.create_file_writer(str(folder.directory / "tensorboard")) if writes else None

    def record(self, epoch: int, figures: dict[str, float]) -> str:
        """Validates every `validate_every` epochs, counted from the first, and after the last one.

        Without validation videos the last epoch counts as the best.

        Args:
            epoch: counted from 0.
            figures: means over its steps.

        Returns:
            What a progress bar says of the epoch.
        """
        rate = float(self._learning_rate((epoch + 1) * self._steps - 1))  # of the epoch's last step
        row = {"epoch": epoch, "learning_rate": rate, **{name: float(value) for name, value in figures.items()}}
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
        if last or (epoch + 1) % self._config.save_every == 0:
            self._write_history()
            self._checkpoints.save_last(epoch)
            self._checkpoints.remove_step()
        if self._writer:
            with self._writer.as_default(step=epoch):
                for name, value in row.items():
                    if name != "epoch":
                        tf.summary.scalar(name.replace("validation_", "validation/"), value)
            self._writer.flush()
        return _summary(row, self._config)

    def save_step(self, step: int) -> None:
        """Saves after so many steps of the run, between its saves after epochs."""
        self._write_history()
        self._checkpoints.save_step(step)

    def _write_history(self) -> None:
        if self._writes:
            self._folder.write_history(pd.DataFrame(self._rows, columns=history_columns(self._config)))

    def close(self) -> None:
        """Ends the log."""
        if self._writer:
            self._writer.close()


def history_columns(config: Config) -> list[str]:
    """The columns of a run's history."""
    return training_columns(config) + [f"validation_{name}" for name in reported_accuracies(config.modalities)]


def _summary(row: dict, config: Config) -> str:
    accuracies = " ".join(f"{m} {100 * row[f'{m}_accuracy']:.0f}%" for m in config.modalities)
    selected = row.get(f"validation_{config.select_by}")
    validation = "" if selected is None else f", validation {config.select_by} {selected:.1f}%"
    return f"epoch {row['epoch'] + 1}/{config.epochs}: {accuracies}{validation}"
