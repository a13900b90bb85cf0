"""Evaluates a run: `python -m dmcl_tf.evaluate --run_dir=checkpoints/demo/dmcl/authors-compact-seed0`.

Logits are averaged over the ten fixed clips of each video. Writes results.json, predictions.csv and confusion.csv
into the run's folder and prints a table, with the paper's numbers beside ours where it has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import tensorflow as tf
from absl import flags

from dmcl_tf.config import subset_names
from dmcl_tf.data import records
from dmcl_tf.datasets import paper
from dmcl_tf.errors import InputError, run_script
from dmcl_tf.runs.checkpoints import identify_checkpoint, restore_ensemble
from dmcl_tf.runs.folder import Run, RunFolder, write_text
from dmcl_tf.scoring import accuracy
from dmcl_tf.scoring.logits import Evaluator, VideoLogits

_FILES = (("results", "json"), ("predictions", "csv"), ("confusion", "csv"))


def evaluate(folder: RunFolder, split: str, checkpoint: str, records_dir: Path | None = None) -> dict:
    """Evaluates a checkpoint on a split and writes the files; returns what `results.json` holds.

    Results of the same weights and records that are there already are returned as they are.

    Args:
        folder: of the run.
        split: "test" or "validation"; the files of the latter end in `_validation`.
        checkpoint: "best" or "last".
        records_dir: where the records are now; None: where they were in training.

    Raises:
        InputError: for a run without this checkpoint, records that do not fit it, or a corrupt shard.
    """
    run = folder.load()
    info = records.DatasetInfo.load(records_dir or run.records)
    info.check(run.config.modalities, run.config.frame_size)
    if info.class_names != run.class_names:
        raise InputError(f"{info.directory}: its classes are not those of {folder.directory}; give its own --records")
    if run.protocol not in (None, info.protocol):  # the run may have seen what is a test video now
        raise InputError(
            f"{info.directory}: records of another split ({info.protocol}) than {folder.directory} was trained on "
            f"({run.protocol}); give its own --records"
        )
    made_from = _made_from(folder, info, split, checkpoint)
    results = current_results(folder, info, split, checkpoint)
    if results:
        return results
    ensemble, _ = restore_ensemble(folder, checkpoint)
    try:
        videos = Evaluator(ensemble, info, run.config)(split)
    except tf.errors.DataLossError:
        raise info.corruption(split) from None
    return write_results(folder, videos, made_from, info.groups.get(split, {}))


def write_results(
    folder: RunFolder, videos: VideoLogits, made_from: Mapping[str, object], groups: Mapping[str, str]
) -> dict:
    """Writes the files of an evaluation, `results.json` last; returns what that holds.

    Args:
        folder: of the run.
        videos: what its networks say about a split.
        made_from: `split`, and what else tells this evaluation from others.
        groups: of the videos, by video id; empty where there is but one.
    """
    run = folder.load()
    results = {**summarize(run, videos), **made_from}
    by_group = group_accuracies(run, videos, groups)
    if by_group:
        results["groups"] = by_group
    results_path, predictions_path, confusion_path = _paths(folder, results["split"])
    write_text(predictions_path, _predictions(run, videos).to_csv(index=False))
    write_text(confusion_path, _confusions(run, videos).to_csv(index=False))
    write_text(results_path, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return results


def current_results(folder: RunFolder, info: records.DatasetInfo, split: str, checkpoint: str) -> dict | None:
    """What an earlier evaluation of the present checkpoint on these records found; None where there is none.

    Raises:
        InputError: for a run without this checkpoint.
    """
    made_from, paths = _made_from(folder, info, split, checkpoint), _paths(folder, split)
    results = _read(paths[0]) if all(path.exists() for path in paths) else {}
    return results if all(results.get(name) == value for name, value in made_from.items()) else None


def _paths(folder: RunFolder, split: str) -> list[Path]:
    suffix = "" if split == "test" else f"_{split}"
    return [folder.directory / f"{name}{suffix}.{kind}" for name, kind in _FILES]


def _made_from(folder: RunFolder, info: records.DatasetInfo, split: str, checkpoint: str) -> dict:
    """What tells an evaluation from any other."""
    return {
        "split": split,
        "protocol": info.protocol,
        "videos": sum(shard.videos for shard in info.shards.get(split, ())),
        "clips_per_video": len(next(iter(info.clips[split].values()), ())),
        "checkpoint": checkpoint,
        **identify_checkpoint(folder, checkpoint),
        "origin": info.origin,
        "config": folder.load().config.to_json(),
    }


def summarize(run: Run, videos: VideoLogits) -> dict:
    """The part of `results.json` that follows from the run and its logits alone."""
    modalities, config = run.config.modalities, run.config
    scores = accuracy.accuracies(videos.logits, videos.labels, modalities)
    predicted = accuracy.predictions(videos.logits, modalities)
    subsets = {name: scores.pop(name) for name in subset_names(modalities) if name not in modalities}
    return {
        "dataset": run.dataset,
        "method": config.method,
        "recipe": config.recipe,
        "scale": config.scale,
        "seed": config.seed,
        "accuracy": {**scores, "subsets": subsets},
        "per_class": {
            name: accuracy.per_class(predicted[name], videos.labels, run.class_names) for name in (*modalities, "sum")
        },
    }


def group_accuracies(run: Run, videos: VideoLogits, groups: Mapping[str, str]) -> dict[str, dict]:
    """Accuracies of each group of videos, such as a test view, and their mean; empty unless there are two or more.

    Args:
        run: of the networks.
        videos: their logits.
        groups: the group of every video.

    Returns:
        `{"videos": …, "accuracy": …}` by group; under `mean` the average over the groups, each counting the same.
    """
    names = sorted(set(groups.values()))
    if len(names) < 2:
        return {}
    result = {}
    for name in names:
        members = [row for row, video_id in enumerate(videos.video_ids) if groups[video_id] == name]
        scores = accuracy.accuracies(videos.logits[:, members], videos.labels[members], run.config.modalities)
        result[name] = {"videos": len(members), "accuracy": scores}
    scores = [result[name]["accuracy"] for name in names]
    mean = {key: sum(score[key] for score in scores) / len(scores) for key in scores[0]}
    return {**result, "mean": {"videos": len(videos.video_ids), "accuracy": mean}}


def table(results: dict) -> str:
    """The accuracies for people: of all videos, of each group of them, and the paper's for the same experiment."""
    scores = {**results["accuracy"]}
    rows = {**{name: value for name, value in scores.items() if name != "subsets"}, **scores["subsets"]}
    columns = {"accuracy %": [f"{value:.2f}" for value in rows.values()]}
    for name, group in results.get("groups", {}).items():
        columns[f"{name} %"] = [f"{group['accuracy'][row]:.2f}" for row in rows]
    published = paper.reported(results["dataset"], results["method"], results["config"]["modalities"])
    if published and results["split"] == "test":
        columns["paper %"] = [f"{published[name]:.2f}" if name in published else "" for name in rows]
    title = (
        f"{results['dataset']} · {results['method']} · {results['recipe']} recipe · {results['scale']} scale · "
        f"seed {results['seed']}\n{results['videos']} {results['split']} videos × {results['clips_per_video']} clips · "
        f"{results['checkpoint']} checkpoint, epoch {results['epoch'] + 1}"
    )
    protocol = ", ".join(f"{name} {value}" for name, value in results["protocol"].items())
    source = " · ".join(text for text in (results["origin"], protocol) if text)
    return f"{title}\n{source}\n{pd.DataFrame(columns, index=list(rows)).to_string()}"


def _read(path: Path) -> dict:
    """Results of an earlier evaluation, empty where the file is damaged, so that they are made again."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}


def _predictions(run: Run, videos: VideoLogits) -> pd.DataFrame:
    frame = pd.DataFrame({"video_id": videos.video_ids, "label": videos.labels})
    for modality, probabilities in zip(run.config.modalities, accuracy.softmax(videos.logits)):
        columns = [f"{modality}:{name}" for name in run.class_names]
        frame = pd.concat([frame, pd.DataFrame(probabilities, columns=columns)], axis=1)
    return frame


def _confusions(run: Run, videos: VideoLogits) -> pd.DataFrame:
    """Videos by true class (rows) and predicted class (columns), one block for each modality and for the sum."""
    predicted = accuracy.predictions(videos.logits, run.config.modalities)
    blocks = []
    for name in (*run.config.modalities, "sum"):
        block = accuracy.confusion(predicted[name], videos.labels, run.class_names)
        block.insert(0, "true class", block.index)
        block.insert(0, "prediction by", name)
        blocks.append(block)
    return pd.concat(blocks)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the script's flags."""
    flags.DEFINE_string("run_dir", None, "folder of the run, checkpoints/<data set>/…", flag_values=flag_values)
    flags.DEFINE_string("records", None, "folder of TFRecords; default: that of the training", flag_values=flag_values)
    flags.DEFINE_enum("split", "test", ["test", "validation"], "videos to evaluate on", flag_values=flag_values)
    flags.DEFINE_enum("checkpoint", "best", ["best", "last"], "weights to evaluate", flag_values=flag_values)


def main() -> None:
    """Evaluates the run that the flags name."""
    if not flags.FLAGS.run_dir:
        raise InputError("--run_dir is missing: expected the folder of a run, checkpoints/<data set>/<method>/<run>")
    records_dir = Path(flags.FLAGS.records) if flags.FLAGS.records else None
    folder = RunFolder(Path(flags.FLAGS.run_dir))
    print(table(evaluate(folder, flags.FLAGS.split, flags.FLAGS.checkpoint, records_dir)))


if __name__ == "__main__":
    define_flags()
    run_script(main)
