"""The files of an evaluation, written and read without a network."""

import dataclasses
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from dmcl_tf.config import Config, resolve
from dmcl_tf.datasets import paper
from dmcl_tf.errors import InputError
from dmcl_tf.runs.folder import Weights
from dmcl_tf.scoring import results as files
from dmcl_tf.scoring.results import Evaluated, Results, VideoLogits

MODALITIES = ("rgb", "depth", "flow")
CLASSES = ("walk", 'sit "down", slowly', "throw", "carry")  # what CSV files must quote
VIDEOS = 9
GROUPS = ["view 3"] * 5 + ["view 4"] * 4


@pytest.fixture(scope="module")
def videos():
    random = np.random.RandomState(0)
    names = ["NA", "null", "1", *(f"v{k}" for k in range(VIDEOS - 3))]  # names, whatever pandas takes them for
    logits = random.normal(size=(3, VIDEOS, 4)).astype(np.float32) / 3
    return VideoLogits(names, np.arange(VIDEOS) % 3, logits)  # no video is carried


def make_evaluated(**changes):
    values = {
        "dataset": "nwucla",
        "origin": "rendered",
        "protocol": {"train_views": [1, 2], "test_view": 3},
        "split": "test",
        "splits": "01234567",
        "records": "89abcdef",
        "videos": VIDEOS,
        "clips_per_video": 10,
        "checkpoint": "best",
        "weights": Weights(5, "ab"),
        "config": resolve("authors", "full", {}),
    }
    return Evaluated(**{**values, **changes})


@pytest.fixture(scope="module")
def results(videos):
    return files.summarize(make_evaluated(), videos, CLASSES, GROUPS)


@pytest.fixture
def written(results, videos, tmp_path):
    files.write_results(tmp_path, results, videos)
    return tmp_path


def current_results(directory, videos, **changes):
    return files.current_results(directory, make_evaluated(**changes), videos.video_ids, videos.labels)


def percent(correct):
    return pytest.approx(100 * np.mean(correct))


def test_files_hold_what_was_written(written, results, videos):
    assert files.read_results(written) == results
    read = files.read_predictions(written, results)
    assert read.video_ids == videos.video_ids
    np.testing.assert_array_equal(read.labels, videos.labels)
    np.testing.assert_array_equal(read.logits, videos.logits)  # every bit
    assert read.logits.dtype == np.float32
    assert sorted(path.name for path in written.iterdir()) == ["confusion.csv", "predictions.csv", "results.json"]
    table = pd.read_csv(written / "predictions.csv", keep_default_na=False)
    columns = [f"{modality}:{name}" for modality in MODALITIES for name in CLASSES]
    assert list(table.columns) == ["video_id", "label", *columns]
    assert current_results(written, videos) == results


def test_confusions_count_every_video_once(written, results, videos):
    table = pd.read_csv(written / "confusion.csv")
    assert list(table.columns) == ["prediction by", "true class", *CLASSES]
    confusion = files.read_confusion(written, results)
    assert list(confusion) == [*MODALITIES, "sum"]
    for name, counts in confusion.items():
        assert counts.sum(axis=1).tolist() == [3, 3, 3, 0]
        assert results.accuracy[name] == pytest.approx(100 * np.trace(counts) / VIDEOS)


def test_every_accuracy_follows_from_the_logits(results, videos):
    alone = videos.logits.argmax(axis=2)
    assert all(len(set(classes)) > 1 for classes in alone)  # else nothing would be shown below
    assert list(results.accuracy)[:3] == list(MODALITIES)
    for name, rows in {"rgb+depth": [0, 1], "rgb+flow": [0, 2], "depth+flow": [1, 2], "sum": [0, 1, 2]}.items():
        assert results.accuracy[name] == percent(videos.logits[rows].sum(axis=0).argmax(axis=1) == videos.labels)
    exponentials = np.exp(videos.logits)
    probabilities = exponentials / exponentials.sum(axis=2, keepdims=True)
    assert results.accuracy["sum_probabilities"] == percent(probabilities.sum(axis=0).argmax(axis=1) == videos.labels)
    assert results.accuracy["oracle"] == percent((alone == videos.labels).any(axis=0))
    for row, modality in enumerate(MODALITIES):
        assert results.accuracy[modality] == percent(alone[row] == videos.labels)
        for label, name in enumerate(CLASSES[:3]):
            expected = percent(alone[row][videos.labels == label] == label)
            assert results.per_class[modality][name] == expected
        assert results.per_class[modality]["carry"] is None
    assert results.class_names == CLASSES


def test_groups_of_videos_are_reported_singly_and_averaged(results, videos):
    """Two test views, for one: each alone, and the mean in which both views count the same."""
    groups = results.groups
    assert {name: group.videos for name, group in groups.items()} == {"view 3": 5, "view 4": 4, "mean": 9}
    right = videos.logits.argmax(axis=2) == videos.labels
    for name, rows in (("view 3", slice(0, 5)), ("view 4", slice(5, 9))):
        assert groups[name].accuracy["depth"] == percent(right[1, rows])
        assert groups[name].accuracy["oracle"] == percent(right[:, rows].any(axis=0))
    for name, value in groups["mean"].accuracy.items():
        assert value == pytest.approx((groups["view 3"].accuracy[name] + groups["view 4"].accuracy[name]) / 2)
    for one in ([], ["view 3"] * VIDEOS):
        ungrouped = files.summarize(make_evaluated(), videos, CLASSES, one)
        assert ungrouped == dataclasses.replace(results, groups={})


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": Weights(5, "cd")},
        {"weights": Weights(6, "ab")},
        {"checkpoint": "last"},
        {"splits": "00000000"},
        {"records": "00000000"},
        {"protocol": {"train_views": [1, 3], "test_view": 2}},
        {"config": resolve("authors", "full", {"seed": 1})},
    ],
)
def test_results_of_anything_else_are_not_current(written, videos, changes):
    assert current_results(written, videos, **changes) is None


def test_validation_has_files_of_its_own(written, videos):
    before = (written / "results.json").read_bytes()
    other = files.summarize(make_evaluated(split="validation"), videos, CLASSES)
    files.write_results(written, other, videos)
    assert files.read_results(written, "validation") == other
    assert (written / "results.json").read_bytes() == before


@pytest.mark.parametrize("name", ["results.json", "predictions.csv", "confusion.csv"])
def test_where_a_file_is_missing_or_cut_off_nothing_is_current(written, videos, name):
    content = (written / name).read_bytes()
    (written / name).write_bytes(content[: int(0.7 * len(content))])
    assert current_results(written, videos) is None
    (written / name).unlink()
    assert current_results(written, videos) is None


def test_results_of_other_videos_than_the_table_lists_are_not_current(written, videos):
    others = [f"other {name}" for name in videos.video_ids]
    assert current_results(written, videos._replace(video_ids=others)) is None
    assert current_results(written, videos._replace(video_ids=videos.video_ids[::-1])) is None
    assert current_results(written, videos._replace(labels=(videos.labels + 1) % 3)) is None


def without(record, *path):
    """A copy of nested dictionaries without one entry."""
    copy = json.loads(json.dumps(record))
    *above, last = path
    inner = copy
    for key in above:
        inner = inner[key]
    del inner[last]
    return copy


def damage(record):
    """Results of right outer and wrong inner type, by what is wrong."""
    yield "a list", []
    yield "accuracies that are none", {**record, "accuracy": "high"}
    yield "an accuracy that is a text", {**record, "accuracy": {**record["accuracy"], "rgb": "97"}}
    yield "an accuracy missing", without(record, "accuracy", "oracle")
    yield "a class missing", without(record, "per_class", "rgb", "walk")
    yield "no classes", without(record, "per_class", "sum")
    yield "an impossible setting", {**record, "evaluated": {**record["evaluated"], "config": {"epochs": -1}}}
    yield "weights of another kind", {**record, "evaluated": {**record["evaluated"], "weights": "ab"}}
    yield "the former format", {**record["accuracy"], "videos": VIDEOS}


def test_damaged_results_are_named_and_made_again(written, videos):
    path = written / "results.json"
    record = json.loads(path.read_text())
    texts = {what: json.dumps(value) for what, value in damage(record)}
    texts.update({"cut off": path.read_text()[:-9], "empty": "", "deep": "[" * 10000})
    for what, text in texts.items():
        path.write_text(text)
        with pytest.raises(InputError, match=r"results\.json is not what it .*evaluate the run again"):
            files.read_results(written)
        assert current_results(written, videos) is None, what


def edit(change):
    """An edit of the table of predictions."""

    def apply(path):
        table = pd.read_csv(path, keep_default_na=False)
        change(table).to_csv(path, index=False)

    return apply


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_text(""), "cannot be read"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "cannot be read"),
        (edit(lambda table: table.drop(columns="rgb:walk")), "its columns are not those .*'rgb:walk'"),
        (edit(lambda table: table.rename(columns={"rgb:walk": "rgb:run"})), "its columns are not those"),
        (edit(lambda table: table[[*table.columns[:2], *table.columns[:1:-1]]]), "its columns are not those"),
        (edit(lambda table: table.assign(**{"rgb:walk": "x"})), "cannot be read"),
        (edit(lambda table: table.assign(label="walk")), "cannot be read"),
        (edit(lambda table: table.assign(label=4)), "expected 9 different videos of known labels"),
        (edit(lambda table: table.assign(label=-1)), "expected 9 different videos of known labels"),
        (edit(lambda table: table[:8]), "expected 9 different videos of known labels"),
        (edit(lambda table: table.assign(video_id="v1")), "expected 9 different videos of known labels"),
        (edit(lambda table: table.assign(**{"rgb:walk": 99.0})), "its accuracies are not those of results.json"),
    ],
)
def test_predictions_that_are_not_those_of_the_results(written, results, apply, message):
    apply(written / "predictions.csv")
    with pytest.raises(InputError, match=rf"predictions\.csv.*{message}.*evaluate the run again"):
        files.read_predictions(written, results)


@pytest.mark.parametrize(
    "apply",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("a,b\n1,2\n"),
        edit(lambda table: table[4:]),
        edit(lambda table: table[:-1]),
        edit(lambda table: table.drop(columns="walk")),
        edit(lambda table: table.assign(walk="many")),
    ],
)
def test_a_damaged_confusion_matrix(written, results, apply):
    apply(written / "confusion.csv")
    with pytest.raises(InputError, match=r"confusion\.csv.*evaluate the run again"):
        files.read_confusion(written, results)


def test_the_table_has_the_papers_numbers_where_it_reports_the_same_experiment(results):
    lines = files.table(results).splitlines()
    assert "nwucla · dmcl · authors recipe · full scale · seed 0" in lines[0]
    assert "9 test videos × 10 clips · best checkpoint, epoch 6" in lines[1]
    assert lines[2] == "rendered · train_views 1,2, test_view 3"
    assert lines[3].split() == ["accuracy", "%", "view", "3", "%", "view", "4", "%", "mean", "%", "paper", "%"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[4:]}
    assert list(rows)[:6] == [*MODALITIES, "sum", "sum_probabilities", "oracle"]
    for name, published in (("rgb", ["93.64"]), ("oracle", ["97.64"]), ("sum_probabilities", []), ("rgb+depth", [])):
        scores = [results.accuracy, *(group.accuracy for group in results.groups.values())]
        assert rows[name] == [*(f"{score[name]:.2f}" for score in scores), *published]


@pytest.mark.parametrize(
    "changes",
    [{"split": "validation"}, {"dataset": "demo"}, {"config": resolve("authors", "full", {"method": "smcl"})}],
)
def test_the_table_has_no_numbers_of_another_experiment(results, changes):
    evaluated = dataclasses.replace(results.evaluated, **changes)
    assert ("paper %" in files.table(dataclasses.replace(results, evaluated=evaluated))) == (
        "config" in changes and bool(paper.reported("nwucla", "smcl", MODALITIES))
    )


def test_the_papers_numbers():
    table = {"rgb": 93.64, "depth": 83.29, "flow": 91.07, "sum": 93.28, "oracle": 97.64}
    assert paper.reported("nwucla", "dmcl", ("flow", "depth", "rgb")) == table
    assert paper.reported("nwucla", "independent", MODALITIES)["depth"] == 80.30
    assert paper.reported("nwucla", "dmcl", ("rgb", "depth")) == {}
    assert paper.reported("demo", "dmcl", MODALITIES) == {}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_modalities(tmp_path, count):
    random, modalities = np.random.RandomState(count), tuple("abcd"[:count])
    config = Config(modalities=modalities)
    logits = VideoLogits(["u", "v"], np.array([0, 1]), random.normal(size=(count, 2, 2)).astype(np.float32))
    results = files.summarize(make_evaluated(config=config, videos=2), logits, ("yes", "no"))
    files.write_results(tmp_path, results, logits)
    assert files.read_results(tmp_path) == results == Results(**vars(results))
    np.testing.assert_array_equal(files.read_predictions(tmp_path, results).logits, logits.logits)
    names = itertools.chain(files.read_confusion(tmp_path, results))
    assert list(names) == [*modalities, "sum"]
