"""Logits of every video of a split: the average over its fixed clips."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from dmcl_tf.config import Config
from dmcl_tf.data import pipeline as input_pipeline
from dmcl_tf.data.records import DatasetInfo
from dmcl_tf.errors import InputError
from dmcl_tf.networks.ensemble import ModalityEnsemble

_FRAMES_PER_BATCH = 2**21  # pixels of all clips of a modality in one batch, in units of 8 frames: bounds memory


class VideoLogits(NamedTuple):
    """What the networks say about V videos.

    Attributes:
        video_ids: V names.
        labels: (V,) int64.
        logits: (M, V, C) float32, averaged over clips, in the order of the ensemble's modalities.
    """

    video_ids: list[str]
    labels: np.ndarray
    logits: np.ndarray


class Evaluator:
    """Evaluates an ensemble on splits of a data set; each computation is traced once.

    Args:
        ensemble: the networks.
        info: the records.
        config: of the run.
    """

    def __init__(self, ensemble: ModalityEnsemble, info: DatasetInfo, config: Config):
        self._ensemble, self._info, self._config = ensemble, info, config
        self._strategy = ensemble.distribute_strategy

        @tf.function(reduce_retracing=True)
        def logits_of_batch(batch):
            return self._strategy.run(self._clip_averaged_logits, (batch["clips"],))

        self._logits_of_batch = logits_of_batch

    def __call__(self, split: str) -> VideoLogits:
        """Logits of all videos of a split (`validation`, `test`), in the order of the records.

        Raises:
            InputError: where the split is empty.
        """
        total = sum(shard.videos for shard in self._info.shards.get(split, ()))
        if not total:
            raise InputError(f"{self._info.directory}: no videos in the {split} split")
        dataset = input_pipeline.evaluation_dataset(self._info, self._config, split, self._videos_per_batch(split))
        dataset = dataset.map(input_pipeline.encode_video_ids)
        video_ids, labels, logits = [], [], []
        with tqdm(total=total, desc=f"evaluate {split}", unit="video", dynamic_ncols=True, leave=False) as progress:
            for batch in self._strategy.experimental_distribute_dataset(dataset):
                replicas = self._strategy.experimental_local_results
                logits += [part.numpy() for part in replicas(self._logits_of_batch(batch))]
                labels += [part.numpy() for part in replicas(batch["label"])]
                codes = np.concatenate([part.numpy() for part in replicas(batch["video_id"])])
                names = input_pipeline.decode_video_ids(codes)
                video_ids += names
                progress.update(len(names))
        return VideoLogits(video_ids, np.concatenate(labels), np.concatenate(logits, axis=1))

    def _videos_per_batch(self, split: str) -> int:
        clips = len(next(iter(self._info.clips[split].values())))
        pixels = clips * self._config.crop_size**2
        return max(1, _FRAMES_PER_BATCH // pixels) * self._strategy.num_replicas_in_sync

    def _clip_averaged_logits(self, clips):
        """Modality → (B, K, T, H, W, 3) uint8 → (M, B, C): the average over K clips, as in the authors' code."""
        first, classes = clips[self._ensemble.modalities[0]], len(self._info.class_names)
        if first.shape[0] == 0:  # the last batch may leave a replica without videos, and Keras 3 cannot add nothing
            return tf.zeros((len(clips), 0, classes))
        shape = tf.shape(first)
        folded = {
            modality: tf.reshape(
                input_pipeline.network_input(clips[modality], self._config.value_range),
                tf.concat([[-1], tf.shape(clips[modality])[2:]], axis=0),
            )
            for modality in self._ensemble.modalities
        }
        logits = self._ensemble.stacked_logits(folded)
        return tf.reduce_mean(tf.reshape(logits, (len(folded), shape[0], shape[1], classes)), axis=2)
