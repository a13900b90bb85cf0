"""Logits of every video of a split: the average over its fixed clips."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from dmcl_tf.config import Config
from dmcl_tf.data import pipeline
from dmcl_tf.data.faults import explain
from dmcl_tf.data.records import CLIPS
from dmcl_tf.data.table import Records
from dmcl_tf.datasets.splits import Splits
from dmcl_tf.errors import InputError
from dmcl_tf.learning.workers import Workers
from dmcl_tf.networks.ensemble import ModalityEnsemble
from dmcl_tf.scoring.results import VideoLogits

_PIXELS_PER_BATCH = 2**24  # of all clips of a modality: bounds memory


class Evaluator:
    """Evaluates an ensemble on splits of a data set; each computation is traced once.

    Args:
        ensemble: the networks.
        records: the videos.
        splits: of the records.
        config: of the run.
        workers: who share the videos; None: this process has all. The ensemble was made under their strategy.
    """

    def __init__(
        self,
        ensemble: ModalityEnsemble,
        records: Records,
        splits: Splits,
        config: Config,
        workers: Workers | None = None,
    ):
        self._ensemble, self._records, self._splits, self._config = ensemble, records, splits, config
        self._workers = workers or Workers(ensemble.distribute_strategy)
        self._strategy = self._workers.strategy

        @tf.function(autograph=False, reduce_retracing=True)
        def logits_of_batch(batch):
            return self._strategy.run(self._clip_averaged_logits, (batch["clips"],))

        self._logits_of_batch = logits_of_batch

    def __call__(self, split: str) -> VideoLogits:
        """Logits of all videos of a split, `validation` or `test`, in its order; all workers get all of them.

        Raises:
            InputError: the split is empty, or a record cannot be used.
        """
        videos = getattr(self._splits, split)
        if not videos:
            raise InputError(f"{self._records.directory}: no videos in the {split} split")
        self._average_statistics()

        def share(context):
            worker, workers = context.input_pipeline_id, context.num_input_pipelines
            size = self.videos_per_batch()
            return pipeline.evaluation_dataset(
                self._records, self._splits, split, self._config, size, worker=worker, workers=workers
            )

        logits = np.zeros((len(self._ensemble.modalities), len(videos), len(self._splits.class_names)), np.float32)
        seen, total = np.zeros(len(videos), np.int32), -(-len(videos) // self._workers.count)
        label, hidden = f"evaluate {split}", not self._workers.chief
        with tqdm(total=total, desc=label, unit="video", dynamic_ncols=True, leave=False, disable=hidden) as bar:
            try:
                for batch in self._workers.distribute(share):
                    replicas = self._strategy.experimental_local_results
                    for part, indices in zip(replicas(self._logits_of_batch(batch)), replicas(batch["index"])):
                        logits[:, indices] = part
                        np.add.at(seen, indices, 1)
                    bar.update(seen.sum() - bar.n)
            except tf.errors.OpError as error:
                raise explain(self._records, videos, error) from None
        # every worker has zeros where others have their videos, so that the sum changes no digit
        logits, seen = self._workers.sum(logits), self._workers.sum(seen)
        assert (seen == 1).all(), "expected every video of the split once"
        return VideoLogits([video.video_id for video in videos], self._splits.labels(videos), logits)

    def videos_per_batch(self) -> int:
        """How many videos, of ten clips each, a device evaluates at a time."""
        pixels = self._config.clip_frames * self._config.crop_size**2
        return max(1, _PIXELS_PER_BATCH // (CLIPS * pixels))

    def _average_statistics(self) -> None:
        """Gives every replica the mean of the moving statistics, as the checkpoints have it."""
        if self._strategy.num_replicas_in_sync > 1:
            for network in self._ensemble.networks.values():
                for variable in network.non_trainable_variables:
                    variable.assign(tf.convert_to_tensor(variable))

    def _clip_averaged_logits(self, clips):
        """Modality → (B, K, T, H, W, C) uint8 → (M, B, C): the average over K clips, as in the authors' code."""
        first, classes = next(iter(clips.values())), len(self._splits.class_names)
        networks = len(self._ensemble.networks)
        if first.shape[0] == 0:  # the last batch may leave a replica without videos, and Keras 3 cannot add nothing
            return tf.zeros((networks, 0, classes))
        shape = tf.shape(first)
        folded = {
            modality: pipeline.network_input(
                tf.reshape(clips[modality], (-1, *clips[modality].shape[2:])), self._config.value_range
            )
            for modality in clips
        }
        logits = self._ensemble.stacked_logits(folded)
        return tf.reduce_mean(tf.reshape(logits, (networks, shape[0], shape[1], classes)), axis=2)
