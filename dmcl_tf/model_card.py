"""`model_card.md`, which goes with every export: what the model is, how good it is, what it takes, and its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dmcl_tf.config import Config, subset_names
from dmcl_tf.datasets import DATASETS
from dmcl_tf.datasets.base import describe
from dmcl_tf.errors import InputError
from dmcl_tf.formats import FORMATS
from dmcl_tf.registry import HALLUCINATION
from dmcl_tf.runs.folder import Run, RunFolder
from dmcl_tf.scoring.results import Results, read_results

if TYPE_CHECKING:
    from dmcl_tf.export import Exported


def describe_model(
    folder: RunFolder,
    exported: Exported,
    sizes: Mapping[str, tuple[int, int]],
    differences: Mapping[str, float],
) -> str:
    """The text of the card.

    Args:
        folder: of the run.
        exported: what the model was made from.
        sizes: parameters and multiply-adds of a clip, by modality.
        differences: from the ensemble's logits, by name of the file.
    """
    run, config = folder.load(), exported.config
    parts = [
        f"# {', '.join(config.modalities)} on {run.dataset}: {config.method}",
        _training(run, exported),
        describe_accuracy(folder, exported),
        _size(sizes),
        _input(exported),
        _files(exported, differences),
        _limits(run),
        "## Classes\n\n" + "\n".join(f"{label}. {name}" for label, name in enumerate(exported.class_names)),
    ]
    return "\n\n".join(parts) + "\n"


def describe_accuracy(folder: RunFolder, exported: Exported) -> str:
    """The part of the card that an evaluation changes; arguments as of `describe_model`."""
    return _accuracy(_results_of(folder, exported), exported.config.modalities)


def _results_of(folder: RunFolder, exported: Exported) -> Results | None:
    """The results of these weights, None where they were not evaluated."""
    try:
        results = read_results(folder.directory)
    except InputError:
        return None
    return results if results.evaluated.weights == exported.weights else None


def _table(*rows: tuple[object, ...]) -> str:
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _training(run: Run, exported: Exported) -> str:
    config, dataset = run.config, DATASETS.get(run.dataset)
    videos = ", ".join(f"{count} {split}" for split, count in run.videos.items())
    licence = (dataset.licence if dataset else "") or "not known here; ask whoever owns the data"
    return "## Training\n\n" + _table(
        ("", ""),
        ("data set", ", ".join(dict.fromkeys(filter(None, (dataset.title if dataset else run.dataset, run.origin))))),
        ("licence of the data set", licence),
        ("protocol", describe(run.protocol) or "the table of videos says it"),
        ("videos", videos),
        ("method, recipe, scale", f"{config.method}, {config.recipe}, {config.scale}"),
        ("network, width", _networks(config)),
        *_origins(run),
        ("seed", config.seed),
        ("weights", f"{exported.checkpoint} checkpoint, epoch {exported.weights.epoch + 1} of {config.epochs}"),
    )


def _origins(run: Run) -> list[tuple[str, str]]:
    """Whom networks learned from besides the labels, and what they started from."""
    teachers, sources = ", ".join(run.config.teacher_modalities) or "all networks", run.sources or {}
    taught = [("taught by", f"{teachers} of {run.config.teacher_run}")] if run.config.teacher_run else []
    return [*taught, *((f"{network} starts from", source) for network, source in sources.items())]


def _networks(config: Config) -> str:
    words = {modality: ", ".join(map(str, config.network(modality))) for modality in config.modalities}
    alike = len(set(words.values())) == 1
    return next(iter(words.values())) if alike else "; ".join(f"{name}: {text}" for name, text in words.items())


def _accuracy(results: Results | None, modalities: tuple[str, ...]) -> str:
    if results is None:
        return "## Accuracy\n\nThese weights have not been evaluated: `python -m dmcl_tf.evaluate`, then export again."
    of = results.evaluated
    rows = [(name, f"{results.accuracy[name]:.2f}") for name in subset_names(modalities)]
    text = f"Of {of.videos} {of.split} videos, by the average over {of.clips_per_video} clips of each:"
    return f"## Accuracy\n\n{text}\n\n" + _table(("subset", "accuracy %"), *rows)


def _size(sizes: Mapping[str, tuple[int, int]]) -> str:
    rows = [(m, f"{count:,}", f"{adds / 1e9:.3g} · 10⁹") for m, (count, adds) in sizes.items()]
    text = "A subset costs the sum of its networks. Multiply-adds are those of convolutions and matrix products."
    header = ("network", "parameters", "multiply-adds of a clip")
    return f"## Size\n\n{text}\n\n" + _table(header, *rows)


def _input(exported: Exported) -> str:
    config = exported.config
    lines = [
        f"Inputs are named after the modalities: uint8 `(N, {config.clip_frames}, height, width, 3)`, N clips of "
        f"{config.clip_frames} frames in temporal order, of any height and width. They are resized to "
        f"{config.frame_size} × {config.frame_size}, cropped to the central {config.crop_size} × {config.crop_size} "
        "and scaled inside the model. The frames of a clip were spread over the whole video in training: one from each "
        f"of {config.clip_frames} equal parts.",
        "Channels are red, green, blue. Depth repeats one grey level in all three; flow has those of its images; a "
        "skeleton is seen from the front in red, from the side in green and from above in blue.",
    ]
    if HALLUCINATION in config.modalities:
        lines.append(f"The network `{HALLUCINATION}` sees {config.modalities[0]}, and has no input of its own.")
    for name, settings in (("Depth", exported.depth), ("Flow", exported.flow), ("The cut", exported.crop)):
        if settings:
            lines.append(f"{name} was made with these settings: {describe(settings)}.")
    lines.append(f"Outputs are `logits` and `probabilities`, `(N, {len(exported.class_names)})`.")
    return "## Input and output\n\n" + "\n\n".join(lines)


def _files(exported: Exported, differences: Mapping[str, float]) -> str:
    titles = "\n".join(f"- {FORMATS[name].title}" for name in exported.formats)
    if not differences:
        return f"## Formats\n\n{titles}"
    rows = [(name, f"{value:.1e}") for name, value in differences.items()]
    text = "Largest difference of a logit from the trained networks', on clips of noise of two sizes:"
    return f"## Formats\n\n{titles}\n\n{text}\n\n" + _table(("file", "difference"), *rows)


def _limits(run: Run) -> str:
    return (
        "## Limits\n\n"
        f"- It knows the {len(run.class_names)} classes below and no other: every clip gets one of them.\n"
        "- The accuracy holds for videos like those it was measured on; other cameras, places and people lower it.\n"
        "- Probabilities are not calibrated.\n"
        "- Differences between groups of people were not examined; it is not meant for decisions about people."
    )
