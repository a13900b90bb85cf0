"""What came of the demo: two lines, what to do next, and a page of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_prep.synthetic.clip_id import parse_clip_id
from data_prep.synthetic.rendering.dataset import LAYOUT
from dmcl_tf.data.records import decode_video, read_record
from dmcl_tf.data.table import Records
from dmcl_tf.errors import InputError
from dmcl_tf.files import atomic_path, write_text
from dmcl_tf.reporting.collection import FinishedRun
from dmcl_tf.reporting.figures import write_figures
from dmcl_tf.reporting.loading import load_folders
from dmcl_tf.reporting.page import to_html
from dmcl_tf.reporting.tables import COLUMN_NAMES
from dmcl_tf.scoring.results import read_predictions

_CLIPS = 4  # on the page
_FRAMES = 8  # of each
_SIDE = 96  # pixels a frame, as shown


@dataclass(frozen=True)
class PageSettings:
    """What the page is about.

    Attributes:
        alone: folder of the run of one modality.
        taught: folder of the run of several, that modality among them.
        records: that both were tested on.
        raw: folder of the rendered clips.
        model: folder of the exported model of `taught`.
        output: folder of the page.
    """

    alone: Path
    taught: Path
    records: Path
    raw: Path
    model: Path
    output: Path


@dataclass(frozen=True)
class Seen:
    """A test video, its class, and the class that each network sees in it, by the network's name."""

    video_id: str
    label: str
    classes: dict[str, str]


def show(settings: PageSettings) -> None:
    """Writes the page, and prints its path, the two accuracies and what to do next.

    Raises:
        InputError: a run without results, or runs that were tested on different videos.
    """
    collection = load_folders([settings.alone, settings.taught], where="the demo")
    for directory, reason in collection.unfinished.items():
        raise InputError(f"{directory}: {reason}")
    alone, taught = sorted(collection.runs, key=lambda run: len(run.config.modalities))
    (student,) = alone.config.modalities
    seen = choose(what_is_seen(alone, taught), student)
    lines = summary(alone, taught)
    parts = ["# The demo", "One seed; see docs/results.md for what holds over several.", "## Accuracy"]
    parts += ["- " + "\n- ".join(lines), "## Clips"]
    for number, video in enumerate(seen, 1):
        path = Path("plots") / f"clip{number}.png"
        _draw(settings, video, taught.config.modalities, path)
        classes = "; ".join(f"{name} sees: {found}" for name, found in video.classes.items())
        parts.append(f"![{video.video_id}, {video.label}. {classes}]({path.as_posix()})")
    captions = write_figures(collection, settings.output)
    parts += ["## Figures", *(f"![{caption}]({path})" for path, caption in captions.items())]
    page = settings.output / "index.html"
    write_text(page, to_html("\n\n".join(parts) + "\n"))
    print("\n".join(lines))
    print("one seed; see docs/results.md\n")
    print(f"pictures: {page}\n\n" + "\n".join(next_steps(settings, seen[0].video_id, student)))


def summary(alone: FinishedRun, taught: FinishedRun) -> list[str]:
    """The two accuracies, in a line each."""
    (student,) = alone.config.modalities
    name = COLUMN_NAMES.get(student, student)
    teachers = " and ".join(COLUMN_NAMES.get(m, m).lower() for m in taught.config.modalities if m != student)
    texts = [f"{name} alone", f"{name} taught by {teachers}"]
    width = max(map(len, texts))
    return [f"{text:{width}}  {run.accuracy(student):4.1f} %" for text, run in zip(texts, (alone, taught))]


def what_is_seen(alone: FinishedRun, taught: FinishedRun) -> list[Seen]:
    """The class that every network sees in every test video."""
    networks: dict[str, list[int]] = {}
    for run in (alone, taught):
        predictions = read_predictions(run.directory, run.results)
        for index, modality in enumerate(run.config.modalities):
            name = COLUMN_NAMES.get(modality, modality)
            if modality in alone.config.modalities:
                name += " alone" if run is alone else " taught"
            order = dict(zip(predictions.video_ids, predictions.logits[index].argmax(axis=1).tolist()))
            networks[name] = [order[video_id] for video_id in sorted(order)]
    labels = dict(zip(predictions.video_ids, predictions.labels.tolist()))
    names = taught.run.class_names
    return [
        Seen(video_id, names[labels[video_id]], {name: names[classes[i]] for name, classes in networks.items()})
        for i, video_id in enumerate(sorted(labels))
    ]


def choose(seen: Sequence[Seen], student: str) -> list[Seen]:
    """A few of the videos, of different classes: those first which only teaching made right, then those it did not."""
    name = COLUMN_NAMES.get(student, student)

    def helped(video: Seen) -> int:
        return (video.classes[f"{name} taught"] == video.label) - (video.classes[f"{name} alone"] == video.label)

    ordered = sorted(seen, key=helped, reverse=True)
    first = {video.label: video for video in reversed(ordered)}  # the foremost of each class
    others = [video for video in ordered if first[video.label] is video]
    return [*others[: _CLIPS - 1], *others[-1:]] if len(others) >= _CLIPS else others


def _draw(settings: PageSettings, video: Seen, modalities: Sequence[str], path: Path) -> None:
    """Frames of a video's record, a row for each modality."""
    records = Records.load(settings.records)
    about, encoded = decode_video(read_record(records.path(records.by_id[video.video_id])))
    chosen = np.linspace(0, about.length - 1, _FRAMES).astype(int)
    rows = []
    for modality in modalities:
        images = [cv2.imdecode(np.frombuffer(encoded[modality][i], np.uint8), cv2.IMREAD_COLOR) for i in chosen]
        rows.append(np.hstack([cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC) for image in images]))
    _, content = cv2.imencode(".png", np.vstack(rows))
    with atomic_path(settings.output / path) as partial:
        partial.write_bytes(content.tobytes())


def next_steps(settings: PageSettings, video_id: str, student: str) -> list[str]:
    """What to do next, as commands."""
    clip = settings.raw / LAYOUT / parse_clip_id(video_id).folder
    report = Path("reports") / settings.output.name
    return [
        "next:",
        f"  bash run.sh predict --model={settings.model} --{student}={clip}",
        f"  bash run.sh report --runs={settings.output} --output={report}",
        "  bash run.sh custom --videos=videos.csv --scale=compact    # your own videos: README.md, docs/data.md",
    ]
