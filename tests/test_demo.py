"""The demo: what it runs with which settings, and the page of what came of it."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny
from synthetic_runs import CLASSES, VIDEOS, right_in, write_run

from data_prep.raw.base import RawVideo
from data_prep.synthetic.demo_skeletons import demo_skeletons
from data_prep.synthetic.rendering.clip import write_clip
from data_prep.video.sources import open_sources
from dmcl_tf.data.records import About, encode_video, record_path, write_record
from dmcl_tf.data.table import Description, Records, Video, write_table
from dmcl_tf.errors import InputError
from workflow import __main__ as workflow
from workflow import demo, demo_page, stages
from workflow.processes import Failure

IDS = [f"a01_s{subject:02d}_e00_v03" for subject in range(1, VIDEOS + 1)]
SIZE = 16


@pytest.fixture(autouse=True)
def default_folders(monkeypatch):
    for name in ("DATA_ROOT", "CALLED_FROM"):
        monkeypatch.delenv(name, raising=False)


def write_records(directory: Path) -> Path:
    videos = []
    for k, video_id in enumerate(IDS):
        frames = {m: [tiny.encode_jpeg(tiny.marked_frame(i, SIZE)) for i in range(9)] for m in ("rgb", "depth")}
        write_record(record_path(directory, video_id), encode_video(About(video_id, 9, 9, SIZE, SIZE), frames))
        videos.append(Video(video_id, CLASSES[k % len(CLASSES)], 9, 9, 1, "", ""))
    description = Description("demo", "demo", "drawn", CLASSES, ("rgb", "depth"), SIZE, 95)
    write_table(Records(directory, description, tuple(videos)), {})
    return directory


@pytest.fixture
def settings(tmp_path):
    """Runs in which RGB alone is right in 20 of 60 videos, taught in 45, depth in 50."""
    runs = {
        "alone": ({"rgb": right_in((0, 20))}, {"method": "independent", "select_by": "rgb"}),
        "taught": ({"rgb": right_in((10, 55)), "depth": right_in((0, 50))}, {"method": "dmcl"}),
    }
    for name, (right, given) in runs.items():
        write_run(tmp_path / name, right, dataset="demo", video_ids=IDS, **given)
    return demo_page.PageSettings(
        alone=tmp_path / "alone",
        taught=tmp_path / "taught",
        records=write_records(tmp_path / "records"),
        raw=tmp_path / "raw",
        model=Path("exported/demo/dmcl/mine"),
        output=tmp_path / "page",
    )


def test_the_demo_trains_rgb_alone_and_taught_on_the_same_records():
    steps = demo.make_steps(["--seed=3", "--epochs=2"])
    titles = [step.title for step in steps]
    assert titles == ["prepare", "RGB alone", "RGB with depth and flow", "export", "what came of it"]
    prepare, of_alone, of_taught, export, page = (step.settings for step in steps)
    alone, taught = of_alone.train, of_taught.train
    assert prepare.modalities == taught.config.modalities == ("rgb", "depth", "flow")
    assert (alone.config.modalities, alone.config.method, taught.config.method) == (("rgb",), "independent", "dmcl")
    assert alone.records == taught.records == page.records == prepare.records
    for name in ("seed", "epochs", "batch_size", "learning_rate", "width"):
        assert getattr(alone.config, name) == getattr(taught.config, name)
    assert (alone.config.seed, alone.config.epochs) == (3, 2)
    assert alone.directory == of_alone.evaluate.run_dir == page.alone
    assert taught.directory == of_taught.evaluate.run_dir == export.run_dir == page.taught
    assert alone.directory != taught.directory
    assert page.output == Path("checkpoints/demo")
    assert page.model == Path("exported/demo/dmcl/paper-compact-seed3")


def test_settings_of_other_networks_are_not_for_the_one_alone():
    steps = demo.make_steps(["--networks=rgb:authors/8,depth:authors/16", "--freeze=flow:stem", "--select_by=sum"])
    _, alone, taught, *_ = (step.settings for step in steps)
    assert (alone.train.config.networks, taught.train.config.networks[1]) == (("rgb:authors/8",), "depth:authors/16")
    assert (alone.train.config.freeze, taught.train.config.freeze) == ((), ("flow:stem",))
    assert (alone.train.config.select_by, taught.train.config.select_by) == ("rgb", "sum")


@pytest.mark.parametrize("modalities", ["rgb", "depth,flow"])
def test_without_a_student_or_a_teacher_there_is_nothing_to_compare(modalities):
    with pytest.raises(InputError, match=f"--modalities={modalities}: the demo compares rgb alone"):
        demo.make_steps([f"--modalities={modalities}", "--select_by=" + modalities.split(",")[0]])


def test_the_command_runs_all_parts_and_stops_at_the_first_failure(monkeypatch, capsys):
    ran: list[object] = []

    def call(function, given):
        ran.append(given)
        return Failure("why", 3) if len(ran) == 2 else None

    monkeypatch.setattr(demo, "call", call)
    steps = demo.make_steps(["--epochs=2"])
    assert workflow.main(["demo", "--epochs=2"]) == 3
    assert ran == [steps[:1], steps[1:]]
    del ran[:]
    demo._run([demo.Step("one", ran.append, 1), demo.Step("two", ran.append, 2)])
    assert ran == [1, 2]
    assert "== demo: one ==\n\n== demo: two ==" in capsys.readouterr().out
    del ran[:]
    monkeypatch.setattr(demo, "call", lambda function, given: Failure("why", 4))
    assert workflow.main(["demo", "--epochs=2"]) == 4
    monkeypatch.setattr(stages, "call", call)
    del ran[:]
    assert workflow.main(["demo", "prepare"]) == 0
    assert len(ran) == 1
    assert workflow.main(["demo", "--help"]) == 0
    assert len(ran) == 1


def test_two_lines_and_what_to_do_next(settings, capsys):
    demo_page.show(settings)
    output = capsys.readouterr().out
    assert "RGB alone            33.3 %\nRGB taught by depth  75.0 %\none seed; see docs/results.md" in output
    assert f"pictures: {settings.output / 'index.html'}" in output
    predict, report, own = re.findall(r"^  (bash run\.sh .*)$", output, re.MULTILINE)
    assert predict.startswith("bash run.sh predict --model=exported/demo/dmcl/mine --rgb=")
    assert "multiview_action/view_3/a01_s" in predict
    assert report == f"bash run.sh report --runs={settings.output} --output=reports/page"
    assert own.startswith("bash run.sh custom --videos=")


def test_a_run_without_results_is_named(settings):
    (settings.alone / "results.json").unlink()
    with pytest.raises(InputError, match=r"alone: no results\.json"):
        demo_page.show(settings)


def test_the_page_shows_curves_confusion_and_clips(settings):
    demo_page.show(settings)
    page = (settings.output / "index.html").read_text()
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert {"plots/training_loss.png", "plots/validation_accuracy.png"} <= set(pictures)
    assert sum("confusion" in path for path in pictures) == 2
    clips = [path for path in pictures if "clip" in path]
    assert len(clips) == len(CLASSES)
    for path in pictures:
        assert cv2.imread(str(settings.output / path)) is not None
    assert cv2.imread(str(settings.output / clips[0])).shape == (2 * 96, 8 * 96, 3)
    assert "RGB alone sees: " in page
    assert "33.3 %" in page


def test_the_clips_are_those_that_teaching_made_right(settings):
    collection = demo_page.load_folders([settings.alone, settings.taught], where="here")
    alone, taught = sorted(collection.runs, key=lambda run: len(run.config.modalities))
    seen = demo_page.what_is_seen(alone, taught)
    assert [video.video_id for video in seen] == IDS
    right = np.array([video.classes["RGB alone"] == video.label for video in seen])
    np.testing.assert_array_equal(right, right_in((0, 20)))
    assert list(seen[0].classes) == ["RGB alone", "RGB taught", "Depth"]
    chosen = demo_page.choose(seen, "rgb")
    assert sorted(video.label for video in chosen) == sorted(CLASSES)
    for video in chosen:
        assert (video.classes["RGB alone"] == video.label, video.classes["RGB taught"] == video.label) == (False, True)


def test_the_clip_that_predict_is_shown_can_be_read(tmp_path):
    folder = tmp_path / "clip"
    length = write_clip(demo_skeletons(IDS[0])[:9], IDS[0], folder, size=SIZE)
    sources, _ = open_sources({"rgb": folder})
    video = RawVideo("clip", "", sources)
    frames = list(video.sources["rgb"].frames())
    assert len(frames) == length
    assert all(frame.image.shape == (SIZE, SIZE, 3) for frame in frames)
