"""From raw folders to records through the real script: contents, repetition, edits, parts, bad input."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import threading
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from preparing import ROOT, command, contents, prepare, settings
from raw import write_image

from data_prep import make_tfrecords as script
from data_prep.raw.base import RawVideo, Skipped
from data_prep.video import record
from data_prep.video.sources import ImageSequence
from dmcl_tf.data import records, table
from dmcl_tf.datasets import DATASETS
from dmcl_tf.datasets.splits import make_splits
from dmcl_tf.errors import InputError
from dmcl_tf.files import lock

CLASSES = DATASETS["nwucla"].class_names
SMALL = ("--dataset=nwucla", "--frame_size=24", "--flow_preset=fast")


def make(data_dir, *arguments):
    without_flow = any(argument.startswith("--modalities=") and "flow" not in argument for argument in arguments)
    return prepare(*(SMALL[:2] if without_flow else SMALL), f"--data_dir={data_dir}", *arguments)


@pytest.fixture(scope="module")
def raw(tmp_path_factory, write_nwucla_tree):
    """A tiny data set with one folder that has no depth; not to be changed."""
    root = write_nwucla_tree(tmp_path_factory.mktemp("raw"))
    folder = root / "multiview_action/view_2/a01_s09_e00"
    folder.mkdir()
    (folder / "frame_1_tc_1_rgb.jpg").touch()
    return root


@pytest.fixture
def own_raw(raw, tmp_path):
    """A copy of it, to be changed."""
    shutil.copytree(raw / "multiview_action", tmp_path / "raw" / "multiview_action")
    return tmp_path / "raw"


@pytest.fixture(scope="module")
def finished(raw, tmp_path_factory):
    """One undisturbed run of the script: its data folder, and what it printed."""
    data_dir = tmp_path_factory.mktemp("finished")
    (data_dir / "multiview_action").symlink_to(raw / "multiview_action")
    given = command(*SMALL, f"--data_dir={data_dir}", "--workers=2")
    run = subprocess.run(given, capture_output=True, text=True, cwd=ROOT, check=True)
    return data_dir, run.stdout


def test_the_script_makes_everything_and_prints_a_table(finished):
    data_dir, printed = finished
    made = table.Records.load(data_dir / "records/24")
    there = made.description
    assert there.class_names == CLASSES
    assert there.modalities == ("rgb", "depth", "flow")
    assert (there.dataset, there.frame_size, there.jpeg_quality, there.origin) == ("nwucla", 24, 95, "NW-UCLA")
    assert there.depth == {"modalities": ["depth"], "mode": "as_is"}
    assert (there.flow["preset"], there.flow["bound_in_pixels"]) == ("fast", 20 * 24 / 256)
    assert there.flow["parameters"]["scale_step"] == 0.6
    assert there.versions["opencv"] == cv2.__version__
    assert len(made.videos) == 30
    first = made.by_id["a01_s01_e00_v01"]
    assert (first.label, first.frames, first.length) == ("pick up with one hand", 10, 10)
    assert first.attributes == {"subject": "1", "view": "1"}
    assert made.find_damage(made.videos) is None
    skipped = (data_dir / "records/24/skipped.csv").read_text().splitlines()
    assert len(skipped) == 2
    assert skipped[1].startswith("a01_s09_e00_v02,")
    assert "it has no depth frames" in skipped[1]
    assert "1 videos skipped" in printed
    assert [line.split() for line in printed.splitlines() if line.startswith("drop trash")] == [
        ["drop", "trash", "1", "1", "1", "3"]
    ]


def test_one_preparation_serves_every_protocol(finished):
    made = table.Records.load(finished[0] / "records/24")
    for train_views, test_view in (((1, 2), 3), ((1, 3), 2), ((2, 3), 1)):
        protocol = DATASETS["nwucla"].protocol({"train_views": train_views, "test_view": test_view})
        splits = make_splits(DATASETS["nwucla"], made, protocol)
        assert splits.counts() == {"train": 10, "validation": 10, "test": 10}
        assert {video.attributes["view"] for video in splits.test} == {str(test_view)}


def test_records_hold_the_resized_frames_and_their_flow(finished):
    data_dir, _ = finished
    made = table.Records.load(data_dir / "records/24")
    chosen = settings(*SMALL, f"--data_dir={data_dir}")
    (video,) = (v for v in chosen.raw.list_videos(chosen.raw.reader()).videos if v.video_id == "a04_s01_e00_v02")
    about, frames = records.decode_video(records.read_record(made.path(made.by_id[video.video_id])))
    assert dataclasses.replace(about, fingerprint="") == records.About(video.video_id, 10, 10, 24, 24, grey=("depth",))
    for modality in ("rgb", "depth"):
        for path, stored in zip(video.sources[modality].paths, frames[modality]):
            image = cv2.resize(cv2.imread(str(path)), (24, 24), interpolation=cv2.INTER_AREA)
            decoded = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)
            assert np.abs(image.astype(int) - decoded).mean() < 6
    assert frames["flow"][8] == frames["flow"][9]  # the last is repeated
    assert len(set(frames["flow"])) == 9
    assert records.encode_video(about, frames) == record.record_video(video, chosen.raw.videos, about.fingerprint)


def test_flow_is_that_of_the_resized_frames_and_not_of_their_jpegs(raw):
    chosen = settings(*SMALL, f"--data_dir={raw}", "--jpeg_quality=1", "--flow_encoding=uv").raw
    video = chosen.list_videos(chosen.reader()).videos[0]
    frames, _, _ = record.make_frames(video, chosen.videos)
    resized = [
        cv2.resize(cv2.imread(str(path)), (24, 24), interpolation=cv2.INTER_AREA) for path in video.sources["rgb"].paths
    ]
    assert frames["flow"] == list(record.flow_images(resized, chosen.videos.flow))
    decoded = [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in frames["rgb"]]
    assert frames["flow"] != list(record.flow_images(decoded, chosen.videos.flow))


def test_short_videos_repeat_their_last_frame(tmp_path):
    paths = [write_image(tmp_path / f"{i}.png", np.full((8, 8, 3), 40 * i, np.uint8)) for i in range(4)]
    video = RawVideo("short", "x", {"rgb": ImageSequence(tuple(paths))})
    flow = settings(*SMALL).raw.videos.flow
    chosen = record.VideoSettings(("rgb", "flow"), 16, flow=flow)
    about, frames = records.decode_video(record.record_video(video, chosen))
    assert (about.frames, about.length) == (4, records.MINIMUM_FRAMES)
    assert [len(set(images[3:])) for images in frames.values()] == [1, 1]
    assert frames["flow"][2:] == frames["flow"][2:3] * 7


def test_repeating_gives_the_same_bytes_and_keeps_what_is_complete(finished, raw, tmp_path):
    made = make(raw, f"--records={tmp_path / 'records'}")
    assert contents(made.directory) == contents(finished[0] / "records/24")
    written = {path: path.stat().st_mtime_ns for path in made.directory.glob("videos/*/*")}
    make(raw, f"--output={made.directory}", "--size=24")  # other names of the same flags
    assert {path: path.stat().st_mtime_ns for path in made.directory.glob("videos/*/*")} == written


def test_parts_make_every_record_and_the_whole_makes_what_is_missing(raw, tmp_path, capsys):
    small = ("--modalities=rgb", f"--records={tmp_path / 'parts'}")
    made = {0: set()}
    for k in (1, 2):
        assert make(raw, *small, f"--part={k}/3") is None
        made[k] = {path.stem for path in (tmp_path / "parts").glob("videos/*/*")}
        assert f"part {k} of 3: {len(made[k] - made[k - 1])} records in" in capsys.readouterr().out
        assert not (tmp_path / "parts/videos.csv").exists()
    assert 0 < len(made[1]) < len(made[2]) < 30
    with lock(tmp_path / "parts", shared=True):  # other parts may be at work
        make(raw, *small, "--part=2/3")
        whole = threading.Thread(target=make, args=(raw, *small))
        whole.start()
        whole.join(0.5)
        assert whole.is_alive()  # it waits for them
        assert f"parts is in use by process {os.getpid()} on " in capsys.readouterr().out
    whole.join()
    whole = make(raw, *small)
    assert contents(whole.directory) == contents(make(raw, "--modalities=rgb", f"--records={tmp_path / 'w'}").directory)


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b"])
def test_parts_that_are_none(part):
    with pytest.raises(InputError, match=rf"--part={part}: expected k/n, with k from 1 to n"):
        settings(f"--part={part}")


def test_a_damaged_record_is_made_again(raw, tmp_path):
    small = ("--modalities=rgb", f"--records={tmp_path / 'records'}")
    made = make(raw, *small)
    before = contents(made.directory)
    path = made.path(made.videos[7])
    for damage in (path.read_bytes()[:-100], b"", b"text"):
        path.write_bytes(damage)
        make(raw, *small)
        assert contents(made.directory) == before


def test_records_outlive_the_raw_data(own_raw, capsys):
    made = make(own_raw, "--modalities=rgb")
    before = contents(made.directory)
    shutil.rmtree(own_raw / "multiview_action")
    capsys.readouterr()
    assert make(own_raw, "--modalities=rgb").videos == made.videos
    assert "they are kept although the raw data cannot be read" in capsys.readouterr().out
    assert contents(made.directory) == before
    made.path(made.videos[0]).unlink()
    with pytest.raises(InputError, match=r"expected multiview_action/view_1 … view_3 there; download the"):
        make(own_raw, "--modalities=rgb")


def test_where_frames_come_from_is_said_once(own_raw):
    """A later command without --origin, such as that of the experiments, does not call rendered frames real ones."""
    said = ("--modalities=rgb", "--limit=1")
    for origin, kept in (([], "NW-UCLA"), (["--origin=rendered"], "rendered"), ([], "rendered")):
        assert make(own_raw, *said, *origin).description.origin == kept


def test_limit_keeps_some_of_each_class_and_view(own_raw, write_nwucla_tree):
    write_nwucla_tree(own_raw, subjects=(2,), frames=1)
    made = make(own_raw, "--modalities=depth", "--limit=1")
    assert {(video.label, video.attributes["view"]) for video in made.videos} == {
        (name, view) for name in CLASSES for view in "123"
    }
    assert len(made.videos) == 30


def test_limit_keeps_every_side_of_every_protocol():
    videos = [
        RawVideo(
            f"S{setup:03d}C{view:03d}P{subject:03d}R001A001",
            "drink water",
            {},
            {"subject": str(subject), "view": str(view), "setup": str(setup)},
        )
        for setup in (1, 2)
        for view in (1, 2, 3)
        for subject in (1, 2, 3)
    ]
    for name, kinds in (("ntu60", 4), ("ntu120", 4)):
        chosen = script.choose_videos(settings(f"--dataset={name}", "--limit=1"), videos)
        assert len(chosen) == kinds
        for protocol in DATASETS[name].settings["protocol"].choices:
            assert {DATASETS[name].side(video, {"protocol": protocol}) for video in chosen} == {"train", "test"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--modalities=rgb,sound"], "--modalities=rgb,sound: NW-UCLA has no 'sound'; expected some of depth, flow, r"),
        (["--modalities=rgb,rgb"], "--modalities=rgb,rgb: expected different names"),
        (["--modalities="], "--modalities=: expected different names"),
        (["--size=32"], "holds records made with frame_size=24, .*, but frame_size=32, .* is asked for: delete"),
        (["--modalities=rgb"], "made with modalities=rgb,depth,flow, .*, but modalities=rgb, .* is asked for"),
        (["--flow_bound=10"], "made with flow.bound=20.0, .*, but flow.bound=10.0, .* is asked for"),
        (["--length_tolerance=3"], "made with length_tolerance=0.1, but length_tolerance=3.0 is asked for"),
        (["--scale=huge"], "--scale=huge: expected one of full, compact"),
        (["--frame_size=8"], "--frame_size=8: expected from 16 to 4096 pixels"),
        (["--frame_size=100000"], "--frame_size=100000: expected from 16 to 4096 pixels"),
        (
            ["--modalities=rgb,depth", "--flow_parameters=tau=0.1,warps=2"],
            "--flow_parameters=tau=0.1,warps=2 is of no use: there is no flow among the modalities rgb,depth",
        ),
        (["--modalities=rgb", "--flow_from=depth"], "--flow_from=depth is of no use: there is no flow"),
    ],
)
def test_bad_settings_are_named(finished, arguments, message):
    data_dir, _ = finished
    before = contents(data_dir / "records/24")
    with pytest.raises(InputError, match=message) as caught:
        make(data_dir, f"--records={data_dir / 'records/24'}", *arguments)
    assert "\n" not in str(caught.value)
    assert contents(data_dir / "records/24") == before


def test_records_of_another_data_set_are_refused(finished, tmp_path):
    there = finished[0] / "records/24"
    before = contents(there)
    (tmp_path / "videos.csv").write_text("video_id,label,split,rgb\na,x,train,a.avi\nb,y,train,b.avi\n")
    with pytest.raises(InputError, match="holds records of nwucla, not of custom"):
        prepare("--dataset=custom", f"--videos={tmp_path}/videos.csv", f"--records={there}")
    assert contents(there) == before


def test_a_bad_value_ends_the_script_with_one_line(tmp_path):
    given = command(*SMALL, f"--data_dir={tmp_path}/nowhere")
    run = subprocess.run(given, capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith(
        f"error: {tmp_path}/nowhere: expected multiview_action/view_1 … view_3 there; download"
    )
    assert len(run.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_changes_of_raw_videos_take_effect(own_raw, capsys):
    made = make(own_raw, "--modalities=rgb")
    stamps = {video.video_id: made.path(video).stat().st_mtime_ns for video in made.videos}
    shutil.rmtree(own_raw / "multiview_action/view_3/a04_s01_e00")
    changed = next((own_raw / "multiview_action/view_1/a01_s01_e00").glob("*_rgb.jpg"))
    write_image(changed, np.zeros((30, 40, 3), np.uint8))
    again = make(own_raw, "--modalities=rgb")
    assert set(made.by_id) - set(again.by_id) == {"a04_s01_e00_v03"}
    remade = [
        video.video_id for video in again.videos if again.path(video).stat().st_mtime_ns != stamps[video.video_id]
    ]
    assert remade == ["a01_s01_e00_v01"]
    assert "1 records in " in capsys.readouterr().out  # of the video that is no longer there


def test_what_one_video_does_stops_no_other(own_raw, monkeypatch):
    folder = own_raw / "multiview_action/view_1"
    bad = next(iter(sorted((folder / "a02_s01_e00").glob("frame_97_*_depth_vis.jpg"))))
    bad.write_bytes(bad.read_bytes()[:-30])
    for path in (folder / "a03_s01_e00").glob("*_rgb.jpg"):
        path.write_bytes(b"")
    errors = {
        "a04_s01_e00_v01": MemoryError(),
        "a05_s01_e00_v01": cv2.error("odd"),
        "a06_s01_e00_v01": ValueError("two\nlines"),
    }
    frames = record.make_frames

    def fail(video, chosen):
        if video.video_id in errors:
            raise errors[video.video_id]
        return frames(video, chosen)

    monkeypatch.setattr(record, "make_frames", fail)
    made = make(own_raw, "--modalities=rgb,depth")
    assert len(made.videos) == 26
    name = bad.relative_to(own_raw)
    warning = f"{name}: the JPEG is cut off; download it again; its frame is left out"
    assert made.by_id["a02_s01_e00_v01"].warnings == warning
    skipped = (made.directory / "skipped.csv").read_text()
    assert "a03_s01_e00_v01,no frame can be read" in skipped
    assert "a04_s01_e00_v01,it does not fit into memory (MemoryError)" in skipped
    assert "a05_s01_e00_v01,it cannot be read (error: odd)" in skipped
    assert "a06_s01_e00_v01,it cannot be read (ValueError: two lines)" in skipped


def test_interruptions_and_full_disks_are_no_reason_to_skip(raw, tmp_path, monkeypatch):
    video = settings(*SMALL, f"--data_dir={raw}").raw.list_videos(settings(*SMALL).raw.reader()).videos[0]
    chosen = record.VideoSettings(("rgb",), 24)
    for error in (KeyboardInterrupt(), OSError(28, "No space left on device")):
        monkeypatch.setattr(record, "write_record", Mock(side_effect=error))
        with pytest.raises(type(error)):
            record.make_record(video, settings=chosen, directory=tmp_path)


def test_a_killed_worker_is_named_with_its_video():
    result = script._killed(RawVideo("large", "x", {}))
    assert isinstance(result, Skipped)
    assert (result.video_id, "enough memory" in result.reason) == ("large", True)


def test_defaults_are_the_demo_at_its_size():
    chosen = settings()
    assert (chosen.dataset, chosen.raw.videos.size, chosen.raw.videos.flow.preset) == ("demo", 56, "fast")
    assert (chosen.raw.data_dir, chosen.records) == (Path("data/demo"), Path("data/demo/records/56"))
    chosen = settings("--dataset=nwucla")
    assert (chosen.raw.videos.size, chosen.raw.videos.flow.preset, chosen.limit) == (256, "default", 0)
    assert chosen.modalities == ("rgb", "depth", "flow")
    assert settings("--dataset=nwucla", "--scale=compact").raw.videos.flow.preset == "fast"
    assert (
        settings("--dataset=ntu120mini").records == settings("--dataset=ntu60").records == Path("data/ntu/records/256")
    )


def test_preparation_needs_no_tensorflow():
    text = "import sys, data_prep.make_tfrecords, data_prep.check_records; print('tensorflow' in sys.modules, end='')"
    run = subprocess.run([command()[0], "-c", text], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout == "False"


def test_as_a_script_in_a_folder_it_says_what_it_can_do():
    run = subprocess.run([*command(), "--help"], capture_output=True, text=True, cwd=ROOT, check=False)
    for name in ("dataset", "jpeg_quality", "flow_preset", "flow_parameters", "part", "records"):
        assert f"--{name}:" in run.stdout
