"""k-NN on features of untrained networks, Table 2: `python -m dmcl_tf.random_features --dataset=demo`.

The networks are those with which a training of the same seed begins. A video's feature vector is the mean of the pooled
features of its fixed clips; the training videos are the classifier's examples, the test videos its queries. Printed are
the mean and the standard deviation over seeds beside the paper's numbers; the CSV has a row for each seed, batch
normalisation, modality and k.

The paper leaves open how batch normalisation, distances and scaling were. Here it normalises once by the moving
statistics, which are 0 and 1 before any training ("inference"), and once by the statistics of a batch, of as many clips
of different videos as in training ("batch statistics"); the distance is the Euclidean one of the features as they are.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from absl import flags

from dmcl_tf import flag_groups
from dmcl_tf.config import Config
from dmcl_tf.data.table import Records
from dmcl_tf.datasets import find_dataset, paper
from dmcl_tf.datasets.splits import Splits, make_splits
from dmcl_tf.errors import InputError, check_address_space, run_script
from dmcl_tf.files import write_text
from dmcl_tf.reporting.tables import mean_and_deviation
from dmcl_tf.train import choose_data

_SETTINGS = ("recipe", "crop_size", "clip_frames", "value_range", "variant", "width", "batch_size", "precision")


@dataclass(frozen=True)
class RandomFeatureSettings:
    """What to compute features of.

    Attributes:
        config: modalities, sizes, network, and the size of a batch.
        dataset: name of the data set.
        records: folder of its records.
        protocol: of the data set.
        seeds: of the networks.
        neighbours: the numbers k.
        output: CSV to write.
    """

    config: Config
    dataset: str
    records: Path
    protocol: dict[str, object]
    seeds: tuple[int, ...]
    neighbours: tuple[int, ...]
    output: Path


def random_features(settings: RandomFeatureSettings) -> pd.DataFrame:
    """Accuracy in percent of k-NN for every seed, batch normalisation, modality and k, also written as CSV.

    Numbers k above the number of training videos are left out.

    Returns:
        Columns seed, batch_norm, modality, k, accuracy; and dataset, variant, width, crop_size, train_videos,
        test_videos, the same in every row.

    Raises:
        InputError: records that do not fit or are damaged, a split without videos, or no usable k.
    """
    check_address_space()
    from dmcl_tf.data.pipeline import check_lengths
    from dmcl_tf.scoring.features import BATCH_NORM, extract, initial_weights

    config, records = settings.config, Records.load(settings.records)
    records.check(config.modalities, config.frame_size)
    splits = _shuffled(make_splits(find_dataset(settings.dataset), records, settings.protocol))
    if not splits.test:
        raise InputError(f"{records.directory}: no videos in the test split")
    check_lengths(splits, config)
    records.check_files(splits.train + splits.test)
    neighbours = [k for k in settings.neighbours if k <= len(splits.train)]
    if not neighbours:
        listed = ",".join(map(str, settings.neighbours))
        raise InputError(f"--neighbours={listed}: expected one of at most {len(splits.train)}, the training videos")
    networks = [initial_weights(config, seed, len(splits.class_names)) for seed in settings.seeds]
    examples, queries = (extract(records, splits, split, config, networks) for split in ("train", "test"))
    classes, labels = splits.labels(splits.train), splits.labels(splits.test)
    rows = []
    for (row, seed), way, modality in itertools.product(enumerate(settings.seeds), BATCH_NORM, config.modalities):
        for k in neighbours:
            accuracy = knn_accuracy(examples[way, modality][row], classes, queries[way, modality][row], labels, k)
            rows.append({"seed": seed, "batch_norm": way, "modality": modality, "k": k, "accuracy": accuracy})
    results = pd.DataFrame(rows).assign(
        dataset=settings.dataset,
        variant=config.variant,
        width=config.width,
        crop_size=config.crop_size,
        train_videos=len(classes),
        test_videos=len(labels),
    )
    write_text(settings.output, results.to_csv(index=False))
    return results


def _shuffled(splits: Splits) -> Splits:
    """The same splits in a random order: by name, videos of one class would share a batch and its statistics."""
    random = np.random.RandomState(0)
    orders = {name: random.permutation(len(getattr(splits, name))) for name in ("train", "test")}
    return splits._replace(**{name: tuple(getattr(splits, name)[i] for i in order) for name, order in orders.items()})


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
            rows[modality, way] = {k: mean_and_deviation(group) for k, group in by_k}
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


def random_feature_flags(values: flags.FlagValues) -> None:
    """The settings of the networks, and what is computed."""
    flag_groups.define_settings(values, _SETTINGS)
    flags.DEFINE_list("seeds", "0,1,2,3,4", "seeds of the networks", flag_values=values)
    flags.DEFINE_list("neighbours", "1,5,10,50,120", "the numbers k of nearest neighbours", flag_values=values)
    text = "CSV to write; default: reports/<data set>/random_features.csv"
    flags.DEFINE_string("output", None, text, flag_values=values)


FLAG_GROUPS = (
    flag_groups.dataset_flags,
    flag_groups.records_flags,
    flag_groups.frame_flags,
    flag_groups.protocol_flags,
    random_feature_flags,
)


def settings_from_flags(values: flags.FlagValues, *, data_root: Path = Path("data")) -> RandomFeatureSettings:
    """The settings that the flags say, those of the data as for a training.

    Raises:
        InputError: for an impossible value, or records that are needed to know more and are not there.
    """
    seeds, neighbours = (_numbers(values, name, least) for name, least in (("seeds", 0), ("neighbours", 1)))
    dataset, records, settings, protocol = choose_data(values, data_root=data_root)
    config = flag_groups.make_config(settings)
    output = Path(values["output"].value or Path("reports") / dataset.name / "random_features.csv")
    return RandomFeatureSettings(config, dataset.name, records, protocol, seeds, neighbours, output)


def _numbers(values: flags.FlagValues, name: str, least: int) -> tuple[int, ...]:
    numbers = flag_groups.integers(name, values[name].value)
    if not numbers or min(numbers) < least or len(set(numbers)) < len(numbers):
        raise InputError(f"--{name}={','.join(map(str, numbers))}: expected different numbers of {least} or more")
    return numbers


def show(settings: RandomFeatureSettings) -> None:
    """Computes and prints the table."""
    results = random_features(settings)
    for k in settings.neighbours:
        if k not in set(results["k"]):
            print(f"k = {k} is left out: there are {results['train_videos'][0]} training videos")
    print(f"{table(results)}\nwritten: {settings.output}")


def main(values: flags.FlagValues = flags.FLAGS, *, data_root: Path = Path("data")) -> None:
    """Computes Table 2 for the records that the flags name."""
    show(settings_from_flags(values, data_root=data_root))


if __name__ == "__main__":
    flag_groups.define(FLAG_GROUPS, flags.FLAGS)
    run_script(main)
