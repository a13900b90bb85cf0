"""k-NN on features of untrained networks, Table 2: `python -m dmcl_tf.random_features --records=DIR --scale=compact`.

The networks are those with which a training of the same seed begins. A video's feature vector is the mean of the pooled
features of its clips; the training videos are the classifier's examples, the test videos its queries. Test videos have
fixed clips; those of training videos are drawn here by the same rule. Printed are the mean and the standard deviation
over seeds beside the paper's numbers; the CSV has a row for each seed, batch normalisation, modality and k.

The paper leaves open how batch normalisation, distances and scaling were. Here it normalises once by the moving
statistics, which are 0 and 1 before any training ("inference"), and once by the statistics of a batch, of as many clips
of different videos as in training ("batch statistics"); the distance is the Euclidean one of the features as they are.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from absl import flags
from tqdm import tqdm

from dmcl_tf import config_flags as setting_flags
from dmcl_tf.config import Config, resolve
from dmcl_tf.data import pipeline as input_pipeline
from dmcl_tf.data import records
from dmcl_tf.datasets import paper
from dmcl_tf.errors import InputError, run_script
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.runs.folder import write_text

BATCH_NORM = {"inference": False, "batch statistics": True}  # what a network is called with as `training`
_SETTINGS = ("recipe", "scale", "modalities", "frame_size", "crop_size", "clip_frames", "value_range", "variant")
_SETTINGS += ("width", "batch_size", "precision")
_SHUFFLE_BUFFER = 512  # records of test videos are sorted by class, and a batch of one class has no usual statistics


def random_features(
    info: records.DatasetInfo, config: Config, seeds: Sequence[int], neighbours: Sequence[int]
) -> pd.DataFrame:
    """Accuracy in percent of k-NN for every seed, batch normalisation, modality and k.

    Args:
        info: the records.
        config: modalities, sizes, network, and the size of a batch.
        seeds: of the networks.
        neighbours: the numbers k, none above the number of training videos.

    Returns:
        Columns seed, batch_norm, modality, k, accuracy; and dataset, variant, width, crop_size, train_videos,
        test_videos, the same in every row.

    Raises:
        InputError: for records that do not fit, or a split without videos.
    """
    info.check(config.modalities, config.frame_size)
    input_pipeline.check_clip_frames(info, config)
    for split in ("train", "test"):
        if not sum(shard.videos for shard in info.shards.get(split, ())):
            raise InputError(f"{info.directory}: no videos in the {split} split")
    info = with_training_clips(info)
    networks = [initial_weights(config, seed, len(info.class_names)) for seed in seeds]
    keras.utils.set_random_seed(1)  # the order of the videos is that of no network
    examples, classes = extract(info, config, "train", networks)
    queries, labels = extract(info, config, "test", networks)
    rows = []
    for (row, seed), way, modality in itertools.product(enumerate(seeds), BATCH_NORM, config.modalities):
        for k in neighbours:
            accuracy = knn_accuracy(examples[way, modality][row], classes, queries[way, modality][row], labels, k)
            rows.append({"seed": seed, "batch_norm": way, "modality": modality, "k": k, "accuracy": accuracy})
    return pd.DataFrame(rows).assign(
        dataset=info.dataset,
        variant=config.variant,
        width=config.width,
        crop_size=config.crop_size,
        train_videos=len(classes),
        test_videos=len(labels),
    )


def with_training_clips(info: records.DatasetInfo) -> records.DatasetInfo:
    """The same records with clips of their training videos, drawn as those of test videos are, and as many."""
    clips, frames = np.shape(next(iter(info.clips["test"].values())))
    drawn = {
        video.video_id: records.draw_clips(video.video_id, video.length, clips=clips, frames=frames)
        for video in records.read_contexts(info, "train")
    }
    return dataclasses.replace(info, clips={**info.clips, "train": drawn})


def initial_weights(config: Config, seed: int, num_classes: int) -> dict[str, list[np.ndarray]]:
    """The weights, by modality, with which a training of this seed begins."""
    keras.utils.set_random_seed(seed + 1)  # as dmcl_tf.learning.loop does
    return {modality: network.get_weights() for modality, network in _networks(config, num_classes).items()}


def extract(
    info: records.DatasetInfo, config: Config, split: str, networks: Sequence[Mapping[str, list[np.ndarray]]]
) -> tuple[dict[tuple[str, str], np.ndarray], np.ndarray]:
    """Features of all videos of a split, which is read once for all N networks.

    Returns:
        By batch normalisation and modality, (N, V, D) float32, the mean over the clips of each of V videos; and the
        labels (V,).
    """
    network = next(iter(_networks(config, len(info.class_names)).values()))  # holds the weights of each in turn
    model = keras.Model(network.input, network.get_layer("features").output)
    clip = tf.TensorSpec((None, config.clip_frames, config.crop_size, config.crop_size, 3), tf.uint8)
    ways = {
        way: tf.function(partial(_pooled, model, config.value_range, training), input_signature=[clip])
        for way, training in BATCH_NORM.items()
    }
    dataset = input_pipeline.evaluation_dataset(info, config, split, config.batch_size, shuffle_buffer=_SHUFFLE_BUFFER)
    features = {key: [] for key in itertools.product(ways, config.modalities)}
    labels = []
    total = sum(shard.videos for shard in info.shards[split])
    with tqdm(total=total, desc=f"features of {split} videos", unit="video", dynamic_ncols=True) as progress:
        for batch in dataset:
            labels.append(batch["label"].numpy())
            for modality, clips in batch["clips"].items():
                by_network = {way: [] for way in ways}
                for weights in networks:
                    network.set_weights(weights[modality])
                    for way, pooled in ways.items():
                        by_clip = [pooled(clips[:, number]).numpy() for number in range(clips.shape[1])]
                        by_network[way].append(np.mean(by_clip, axis=0))
                for way, values in by_network.items():
                    features[way, modality].append(np.stack(values))
            progress.update(len(labels[-1]))
    return {key: np.concatenate(parts, axis=1) for key, parts in features.items()}, np.concatenate(labels)


def knn_accuracy(examples: np.ndarray, classes: np.ndarray, queries: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Accuracy in percent of the majority of the k nearest examples, ties to the lowest class.

    Args:
        examples: (V, D).
        classes: (V,), of the examples.
        queries: (W, D).
        labels: (W,), of the queries.
        k: number of neighbours, at most V.
    """
    from sklearn.neighbors import KNeighborsClassifier

    classifier = KNeighborsClassifier(n_neighbors=k, algorithm="brute").fit(examples, classes)
    return 100.0 * float(np.mean(classifier.predict(queries) == labels))


def table(results: pd.DataFrame) -> str:
    """Mean ± standard deviation over seeds, for people; the paper's numbers below ours where it has the data set's."""
    dataset, seeds = results["dataset"][0], results["seed"].nunique()
    published = paper.random_features() if dataset == "nwucla" else {}
    rows = {}
    for modality, of_modality in results.groupby("modality", sort=False):
        for way, values in of_modality.groupby("batch_norm", sort=False):
            by_k = values.groupby("k")["accuracy"]
            rows[modality, way] = {k: _mean_and_deviation(group) for k, group in by_k}
        if modality in published:
            rows[modality, "paper"] = {
                k: f"{published[modality][k]:.2f}" for k in by_k.groups if k in published[modality]
            }
    frame = pd.DataFrame(rows).T.fillna("")
    frame.columns = [f"k = {k}" for k in frame]
    return (
        f"{dataset} · k-NN on features of untrained networks · accuracy %, {seeds} seeds\n"
        f"{results['train_videos'][0]} training videos, {results['test_videos'][0]} test videos\n{frame.to_string()}"
    )


def _mean_and_deviation(values: pd.Series) -> str:
    return f"{values.mean():.2f} ± {values.std():.2f}" if len(values) > 1 else f"{values.mean():.2f}"


def _networks(config: Config, num_classes: int) -> dict[str, keras.Model]:
    """The networks of a run, whose moving statistics stay as they are."""
    return make_ensemble(dataclasses.replace(config, batch_norm_momentum=1.0), num_classes).networks


def _pooled(model, value_range, training, clips):
    return model(input_pipeline.network_input(clips, value_range), training=training)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the script's flags."""
    flags.DEFINE_string("records", None, "folder of TFRecords with dataset.json", flag_values=flag_values)
    flags.DEFINE_list("seeds", "0,1,2,3,4", "seeds of the networks", flag_values=flag_values)
    flags.DEFINE_list("neighbours", "1,5,10,50,120", "the numbers k of nearest neighbours", flag_values=flag_values)
    flags.DEFINE_string(
        "output", None, "CSV to write; default: results/<data set>/random_features.csv", flag_values=flag_values
    )
    setting_flags.define(flag_values, _SETTINGS)


def main() -> None:
    """Computes Table 2 for the records that the flags name."""
    given = setting_flags.given(flags.FLAGS, _SETTINGS)
    config = resolve(given.pop("recipe"), given.pop("scale"), given)
    seeds, neighbours = (_numbers(name, least) for name, least in (("seeds", 0), ("neighbours", 1)))
    if not flags.FLAGS.records:
        raise InputError("--records is missing: expected a folder of TFRecords, such as data/nwucla/records/80")
    info = records.DatasetInfo.load(flags.FLAGS.records)
    videos = sum(shard.videos for shard in info.shards["train"])
    for k in neighbours:
        if k > videos:
            print(f"k = {k} is left out: there are {videos} training videos")
    usable = [k for k in neighbours if k <= videos]
    if not usable:
        raise InputError(f"--neighbours={','.join(map(str, neighbours))}: expected one of at most {videos}")
    try:
        results = random_features(info, config, seeds, usable)
    except tf.errors.DataLossError:
        raise info.corruption("train", "test") from None
    path = Path(flags.FLAGS.output or Path("results") / info.dataset / "random_features.csv")
    write_text(path, results.to_csv(index=False))
    print(f"{table(results)}\nwritten: {path}")


def _numbers(name: str, least: int) -> tuple[int, ...]:
    numbers = setting_flags.integers(name, flags.FLAGS[name].value)
    if not numbers or min(numbers) < least or len(set(numbers)) < len(numbers):
        raise InputError(f"--{name}={','.join(map(str, numbers))}: expected different numbers of {least} or more")
    return numbers


if __name__ == "__main__":
    define_flags()
    run_script(main)
