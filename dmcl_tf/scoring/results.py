"""The files of an evaluation: results.json, predictions.csv with the logits of every video, and confusion.csv.

Those of the validation split are called results_validation.json and so on.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import pandas as pd

from dmcl_tf.config import Config, reported_accuracies
from dmcl_tf.data.records import CLIPS
from dmcl_tf.data.table import Records
from dmcl_tf.datasets import paper
from dmcl_tf.datasets.base import describe
from dmcl_tf.datasets.splits import Splits
from dmcl_tf.errors import InputError
from dmcl_tf.files import read_bytes, read_json, write_json, write_text
from dmcl_tf.runs.folder import Run, Weights
from dmcl_tf.scoring import accuracy

_REMEDY = "remove it and evaluate the run again, python -m dmcl_tf.evaluate"


class VideoLogits(NamedTuple):
    """What the networks of a run say about V videos.

    Attributes:
        video_ids: V names.
        labels: (V,) int64.
        logits: (M, V, C) float32, averaged over clips, in the order of the run's modalities.
    """

    video_ids: list[str]
    labels: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation is of; where this is equal, so are its results.

    Attributes:
        dataset: name of the data set.
        origin: where the raw frames came from, in prose.
        protocol: the settings that made the splits.
        split: "test" or "validation".
        splits: checksum of all splits, `Splits.checksum`; "" where it is not known.
        records: checksum of the records of the evaluated videos; "" where it is not known.
        videos: how many were evaluated.
        clips_per_video: over whose logits the average is taken.
        checkpoint: "best" or "last".
        weights: of that checkpoint.
        config: of the run.
    """

    dataset: str
    origin: str
    protocol: dict[str, object]
    split: str
    splits: str
    records: str
    videos: int
    clips_per_video: int
    checkpoint: str
    weights: Weights
    config: Config


@dataclass(frozen=True)
class Group:
    """The accuracies on some of the videos, such as those of a view."""

    videos: int
    accuracy: dict[str, float]


@dataclass(frozen=True)
class Results:
    """`results.json`: the accuracies of a run, in percent.

    Attributes:
        evaluated: what they are of.
        accuracy: by every name of `config.reported_accuracies`.
        per_class: by modality, and `sum`, and class; None for a class without videos.
        groups: of the values of an attribute of the videos, such as `view 3`, and `mean`, their average, in which each
            counts the same; empty where there are not two.
    """

    evaluated: Evaluated
    accuracy: dict[str, float]
    per_class: dict[str, dict[str, Optional[float]]]
    groups: dict[str, Group] = field(default_factory=dict)

    def __post_init__(self):
        modalities = self.evaluated.config.modalities
        of_groups = (group.accuracy for group in self.groups.values())
        if any(set(scores) != set(reported_accuracies(modalities)) for scores in (self.accuracy, *of_groups)):
            raise ValueError(f"expected the accuracies {', '.join(reported_accuracies(modalities))}")
        classes = [tuple(scores) for scores in self.per_class.values()]
        if set(self.per_class) != {*modalities, "sum"} or len(set(classes)) != 1:
            raise ValueError(f"expected accuracies of the same classes for each of {', '.join(modalities)}, sum")

    @property
    def class_names(self) -> tuple[str, ...]:
        """By label."""
        return tuple(self.per_class["sum"])


def what_is_evaluated(
    run: Run, records: Records, splits: Splits, split: str, checkpoint: str, weights: Weights
) -> Evaluated:
    """What an evaluation of these weights would be of.

    Args:
        run: whose weights they are.
        records: that are read.
        splits: of the records by the run's protocol.
        split: "test" or "validation".
        checkpoint: "best" or "last".
        weights: of that checkpoint.
    """
    videos = getattr(splits, split)
    lines = "".join(f"{video.video_id} {video.checksum}\n" for video in videos)
    return Evaluated(
        dataset=run.dataset,
        origin=records.description.origin,
        protocol=run.protocol,
        split=split,
        splits=splits.checksum(),
        records=f"{zlib.crc32(lines.encode()):08x}",
        videos=len(videos),
        clips_per_video=CLIPS,
        checkpoint=checkpoint,
        weights=weights,
        config=run.config,
    )


def summarize(
    evaluated: Evaluated, videos: VideoLogits, class_names: Sequence[str], groups: Sequence[str] = ()
) -> Results:
    """The results that follow from logits.

    Args:
        evaluated: what they are of.
        videos: what the networks say.
        class_names: by label.
        groups: the group of each video; empty where there is but one.
    """
    modalities = evaluated.config.modalities
    predicted = accuracy.predictions(videos.logits, modalities)
    return Results(
        evaluated,
        accuracy.accuracies(videos.logits, videos.labels, modalities),
        {name: accuracy.per_class(predicted[name], videos.labels, class_names) for name in (*modalities, "sum")},
        _group_accuracies(videos, modalities, np.array(groups)),
    )


def _group_accuracies(videos: VideoLogits, modalities: Sequence[str], groups: np.ndarray) -> dict[str, Group]:
    names = np.unique(groups).tolist()
    if len(names) < 2:
        return {}
    result = {}
    for name in names:
        rows = groups == name
        scores = accuracy.accuracies(videos.logits[:, rows], videos.labels[rows], modalities)
        result[name] = Group(int(rows.sum()), scores)
    mean = {key: float(np.mean([group.accuracy[key] for group in result.values()])) for key in scores}
    return {**result, "mean": Group(len(groups), mean)}


def paths(directory: Path, split: str) -> tuple[Path, Path, Path]:
    """The files of an evaluation: results, predictions, confusion."""
    suffix = "" if split == "test" else f"_{split}"
    results, predictions, confusion = (f"{name}{suffix}" for name in ("results", "predictions", "confusion"))
    return directory / f"{results}.json", directory / f"{predictions}.csv", directory / f"{confusion}.csv"


def write_results(directory: Path, results: Results, videos: VideoLogits) -> None:
    """Writes the files of an evaluation, `results.json` last."""
    results_path, predictions_path, confusion_path = paths(directory, results.evaluated.split)
    modalities = results.evaluated.config.modalities
    table = pd.DataFrame(
        np.concatenate(list(videos.logits), axis=1), columns=_logit_columns(modalities, results.class_names)
    )
    table.insert(0, "video_id", videos.video_ids)
    table.insert(1, "label", videos.labels)
    write_text(predictions_path, table.to_csv(index=False))
    predicted, blocks = accuracy.predictions(videos.logits, modalities), []
    for name in (*modalities, "sum"):
        block = accuracy.confusion(predicted[name], videos.labels, results.class_names)
        block.insert(0, "true class", block.index)
        block.insert(0, "prediction by", name)
        blocks.append(block)
    write_text(confusion_path, pd.concat(blocks).to_csv(index=False))
    write_json(results_path, results)


def read_results(directory: Path, split: str = "test") -> Results:
    """Reads `results.json`.

    Raises:
        InputError: there is none, or it is damaged.
    """
    return read_json(paths(directory, split)[0], Results, _REMEDY)


def read_predictions(directory: Path, results: Results) -> VideoLogits:
    """Reads the logits that some results follow from.

    Raises:
        InputError: there are none, or they are not those of the results.
    """
    path = paths(directory, results.evaluated.split)[1]
    modalities, classes = results.evaluated.config.modalities, results.class_names
    columns = _logit_columns(modalities, classes)
    types = {"video_id": str, "label": np.int64, **dict.fromkeys(columns, np.float32)}
    try:
        content = io.BytesIO(read_bytes(path))
        table = pd.read_csv(content, dtype=types, keep_default_na=False, float_precision="round_trip")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): {_REMEDY}") from None
    if list(table) != list(types):
        wrong = next(iter(set(types) ^ set(table)), "the first ones")
        raise InputError(f"{path}: its columns are not those of these modalities and classes ({wrong!r}): {_REMEDY}")
    logits = table[columns].to_numpy(np.float32).reshape(len(table), len(modalities), len(classes))
    videos = VideoLogits(list(table["video_id"]), table["label"].to_numpy(), logits.transpose(1, 0, 2))
    sound = len(table) == results.evaluated.videos and table["label"].between(0, len(classes) - 1).all()
    if not sound or table["video_id"].duplicated().any():
        raise InputError(f"{path}: expected {results.evaluated.videos} different videos of known labels; {_REMEDY}")
    if accuracy.accuracies(videos.logits, videos.labels, modalities) != results.accuracy:
        raise InputError(f"{path}: its accuracies are not those of results.json; {_REMEDY}")
    return videos


def read_confusion(directory: Path, results: Results) -> dict[str, np.ndarray]:
    """The confusion matrices (C, C) by modality, and of the `sum`: videos by true class (rows) and predicted class.

    Raises:
        InputError: there are none, or they are not of these results.
    """
    path = paths(directory, results.evaluated.split)[2]
    try:
        table = pd.read_csv(io.BytesIO(read_bytes(path)), keep_default_na=False)
        blocks = {name: block.iloc[:, 2:].to_numpy(np.int64) for name, block in table.groupby("prediction by")}
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({error}): {_REMEDY}") from None
    shape = (len(results.class_names),) * 2
    names = (*results.evaluated.config.modalities, "sum")
    if set(blocks) != set(names) or any(block.shape != shape for block in blocks.values()):
        raise InputError(f"{path}: expected {shape[0]} classes for each of {', '.join(names)}; {_REMEDY}")
    return {name: blocks[name] for name in names}


def current_results(
    directory: Path, evaluated: Evaluated, video_ids: Sequence[str], labels: Sequence[int] | np.ndarray
) -> Results | None:
    """The results of an earlier evaluation of the same, None where there are none or one of the files is damaged.

    Args:
        directory: of the run.
        evaluated: what they must be of.
        video_ids: of the videos of the split, in its order, by the table of videos.
        labels: of these videos.
    """
    try:
        results = read_results(directory, evaluated.split)
        if results.evaluated != evaluated:
            return None
        predictions = read_predictions(directory, results)
        read_confusion(directory, results)
    except InputError:
        return None
    same = predictions.video_ids == list(video_ids) and np.array_equal(predictions.labels, labels)
    return results if same else None


def table(results: Results) -> str:
    """The accuracies for people: of all videos, of each group of them, and the paper's for the same experiment."""
    of, config = results.evaluated, results.evaluated.config
    columns = {"accuracy %": _shown(results.accuracy)}
    columns.update({f"{name} %": _shown(group.accuracy) for name, group in results.groups.items()})
    published = paper.reported(of.dataset, config.method, config.modalities)
    if published and of.split == "test":
        columns["paper %"] = _shown(published)
    title = (
        f"{of.dataset} · {config.method} · {config.recipe} recipe · {config.scale} scale · seed {config.seed}\n"
        f"{of.videos} {of.split} videos × {of.clips_per_video} clips · {of.checkpoint} checkpoint, "
        f"epoch {of.weights.epoch + 1}"
    )
    source = " · ".join(text for text in (of.origin, describe(of.protocol)) if text)
    # those of one network and of all first, then the subsets between
    alone = (*config.modalities, "sum", "sum_probabilities", "oracle")
    rows = dict.fromkeys((*alone, *results.accuracy))
    return f"{title}\n{source}\n{pd.DataFrame(columns, index=list(rows)).fillna('').to_string()}"


def _shown(scores: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.2f}" for name, value in scores.items()}


def _logit_columns(modalities: Sequence[str], class_names: Sequence[str]) -> list[str]:
    return [f"{modality}:{name}" for modality in modalities for name in class_names]
