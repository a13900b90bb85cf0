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
from dmcl_tf.networks.ensemble import ModalityEnsemble
from dmcl_tf.scoring.results import VideoLogits

_FRAMES_PER_BATCH = 2**21  # pixels of all clips of a modality in one batch, in units of 8 frames: bounds memory


class Evaluator:
    """Evaluates an ensemble on splits of a data set; each computation is traced once.

    Args:
        ensemble: the networks.
        records: the videos.
        splits: of the records.
        config: of the run.
    """

    def __init__(self, ensemble: ModalityEnsemble, records: Records, splits: Splits, config: Config):
        self._ensemble, self._records, self._splits, self._config = ensemble, records, splits, config
        self._strategy = ensemble.distribute_strategy

        @tf.function(reduce_retracing=True)
        def logits_of_batch(batch):
            return self._strategy.run(self._clip_averaged_logits, (batch["clips"],))

        self._logits_of_batch = logits_of_batch

    def __call__(self, split: str) -> VideoLogits:
        """Logits of all videos of a split, `validation` or `test`, in its order.

        Raises:
            InputError: the split is empty, or a record cannot be used.
        """
        videos = getattr(self._splits, split)
        if not videos:
            raise InputError(f"{self._records.directory}: no videos in the {split} split")
        batch_size = self.videos_per_batch()
        dataset = pipeline.evaluation_dataset(self._records, self._splits, split, self._config, batch_size)
        indices, logits = [], []
        with tqdm(total=len(videos), desc=f"evaluate {split}", unit="video", dynamic_ncols=True, leave=False) as bar:
            try:
                for batch in self._strategy.experimental_distribute_dataset(dataset):
                    replicas = self._strategy.experimental_local_results
                    logits += [part.numpy() for part in replicas(self._logits_of_batch(batch))]
                    indices += [part.numpy() for part in replicas(batch["index"])]
                    bar.update(sum(map(len, indices)) - bar.n)
            except tf.errors.OpError as error:
                raise explain(self._records, videos, error) from None
        order = np.argsort(np.concatenate(indices))
        seen = np.concatenate(indices)[order]
        assert np.array_equal(seen, np.arange(len(videos))), "expected every video of the split once"
        names, labels = [video.video_id for video in videos], self._splits.labels(videos)
        return VideoLogits(names, labels, np.concatenate(logits, axis=1)[:, order])

    def videos_per_batch(self) -> int:
        """How many videos, of ten clips each, are evaluated at a time."""
        pixels = CLIPS * self._config.crop_size**2
        return max(1, _FRAMES_PER_BATCH // pixels) * self._strategy.num_replicas_in_sync

    def _clip_averaged_logits(self, clips):
        """Modality → (B, K, T, H, W, C) uint8 → (M, B, C): the average over K clips, as in the authors' code."""
        first, classes = clips[self._ensemble.modalities[0]], len(self._splits.class_names)
        if first.shape[0] == 0:  # the last batch may leave a replica without videos, and Keras 3 cannot add nothing
            return tf.zeros((len(clips), 0, classes))
        shape = tf.shape(first)
        folded = {
            modality: pipeline.network_input(
                tf.reshape(clips[modality], (-1, *clips[modality].shape[2:])), self._config.value_range
            )
            for modality in self._ensemble.modalities
        }
        logits = self._ensemble.stacked_logits(folded)
        return tf.reduce_mean(tf.reshape(logits, (len(folded), shape[0], shape[1], classes)), axis=2)
