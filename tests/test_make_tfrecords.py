"""From raw folders to records through the real script: contents, repetition, interruption, bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from absl import flags

from data_prep import make_tfrecords as script
from data_prep.raw import DATASETS
from dmcl_tf.data import records
from dmcl_tf.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
LABELS = {f"a{action:02d}": label for label, action in enumerate((1, 2, 3, 4, 5, 6, 8, 9, 11, 12))}
SMALL = ("--dataset=nwucla", "--size=24", "--flow_preset=fast")


def settings(data_dir, *arguments):
    values = flags.FlagValues()
    script.define_flags(values)
    values(["make_tfrecords", *SMALL, f"--data_dir={data_dir}", "--workers=1", *arguments])
    return script.settings_from_flags(values)


def make(data_dir, *arguments):
    chosen = settings(data_dir, *arguments)
    script.make_records(chosen)
    return chosen.output


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def command(data_dir, *arguments):
    return [sys.executable, str(ROOT / "data_prep/make_tfrecords.py"), *SMALL, f"--data_dir={data_dir}", *arguments]


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
    run = subprocess.run(command(data_dir, "--workers=2"), capture_output=True, text=True, cwd=ROOT, check=True)
    return data_dir, run.stdout


def test_the_script_makes_everything_and_prints_a_table(finished):
    data_dir, printed = finished
    info = records.DatasetInfo.load(data_dir / "records" / "24")
    assert info.class_names == DATASETS["nwucla"].class_names
    assert info.modalities == ("rgb", "depth", "flow")
    assert (info.dataset, info.frame_size, info.jpeg_quality, info.origin) == ("nwucla", 24, 95, "NW-UCLA")
    assert info.protocol == {"train_views": [1, 2], "test_view": 3}
    for split in records.SPLITS:
        assert info.counts[split] == dict.fromkeys(info.class_names, 1)
    assert info.flow["preset"] == "fast"
    assert info.flow["bound_in_pixels"] == 20 * 24 / 256
    assert info.flow["parameters"]["scale_step"] == 0.7
    assert info.versions["tensorflow"] == tf.__version__
    assert [entry["video_id"] for entry in info.skipped] == ["a01_s09_e00_v02"]
    assert "it has no depth frames" in info.skipped[0]["reason"]
    assert "frame pairs in" in printed
    assert "1 videos skipped, 0 warnings" in printed
    assert "drop trash                       1           1           1" in printed
    assert json.loads((data_dir / "frames/24/flow_throughput.json").read_text())["flow_fields"] == 270


def test_records_hold_the_stored_frames_and_the_fixed_clips(finished):
    data_dir, _ = finished
    info = records.DatasetInfo.load(data_dir / "records" / "24")
    seen = set()
    for split in records.SPLITS:
        paths = [str(path) for path in info.shard_paths(split)]
        for serialized in tf.data.TFRecordDataset(paths):
            context, frames = records.parse_video(serialized, info.modalities)
            video_id = context["video_id"].numpy().decode()
            seen.add(video_id)
            assert video_id.endswith("v03") == (split == "test")
            assert [int(context[name]) for name in ("length", "height", "width")] == [10, 24, 24]
            assert int(context["label"]) == LABELS[video_id[:3]]
            for modality in info.modalities:
                folder = data_dir / "frames/24" / video_id / modality
                stored = [path.read_bytes() for path in sorted(folder.iterdir())]
                assert frames[modality].numpy().tolist() == stored
                assert tf.io.decode_jpeg(stored[-1], channels=3).shape == (24, 24, 3)
            if split != "train":
                assert info.clips[split][video_id] == records.draw_clips(video_id, 10).tolist()
    assert len(seen) == 30
    assert set(info.clips) == {"validation", "test"}
    assert {split: set(views.values()) for split, views in info.apart.items()} == {
        "train": {"view 1", "view 2"},
        "validation": {"view 1", "view 2"},
        "test": {"view 3"},
    }


def test_repeating_gives_the_same_bytes_and_keeps_what_is_complete(finished, raw, tmp_path, capfd):
    data_dir, _ = finished
    output = make(raw, f"--frames_dir={tmp_path / 'frames'}", f"--output={tmp_path / 'records'}")
    assert contents(output) == contents(data_dir / "records/24")
    written = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    capfd.readouterr()
    make(raw, f"--frames_dir={tmp_path / 'frames'}", f"--output={output}")
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == written
    assert "optical flow" not in capfd.readouterr().err


def test_many_shards_written_by_processes_equal_those_of_one(raw, tmp_path):
    few = ("--modalities=rgb", "--videos_per_shard=1", f"--frames_dir={tmp_path / 'frames'}")
    one = make(raw, *few, f"--output={tmp_path / 'one'}")
    two = make(raw, *few, f"--output={tmp_path / 'two'}", "--workers=2")
    assert contents(one) == contents(two)
    assert len(list(one.glob("*.tfrecord"))) == 30
    assert not list(tmp_path.glob("frames/*/flow"))  # not asked for, not computed


def test_no_more_shards_are_open_than_asked_for(raw, tmp_path, monkeypatch):
    calls = []

    def run(function, items, *, workers, description, unit="video"):
        calls.append((description, unit, len(items), workers))
        return map(function, items)

    monkeypatch.setattr(script.RecordSettings, "run", lambda settings, at_once=None: run)
    many = ("--modalities=rgb", "--videos_per_shard=1", "--workers=3", "--max_open=2")
    make(raw, *many, f"--frames_dir={tmp_path / 'frames'}", f"--output={tmp_path / 'records'}")
    assert calls == [("frames", "video", 30, 3), ("records", "shard", 30, 2)]


def test_training_shards_mix_the_classes(own_raw, tmp_path, write_nwucla_tree):
    write_nwucla_tree(own_raw, subjects=(2, 3), views=(1, 2), frames=2)
    output = make(own_raw, "--modalities=depth", "--videos_per_shard=25")
    info = records.DatasetInfo.load(output)
    assert [shard.name for shard in info.shards["train"]] == [records.shard_name("train", i, 2) for i in range(2)]
    assert [shard.videos for shard in info.shards["train"]] == [25, 25]
    for path in info.shard_paths("train"):
        videos = [records.parse_video(video, ["depth"])[0] for video in tf.data.TFRecordDataset(str(path))]
        labels = [int(video["label"]) for video in videos]
        assert len(set(labels[:10])) >= 5
        assert {int(video["length"]) for video in videos} <= {9, 10}


def test_a_damaged_shard_is_made_again(raw, tmp_path):
    small = ("--modalities=rgb", f"--frames_dir={tmp_path / 'frames'}", f"--output={tmp_path / 'records'}")
    output = make(raw, *small)
    before = contents(output)
    shard = output / records.shard_name("test", 0, 1)
    shard.write_bytes(before[shard.name][:-100])
    with pytest.raises(InputError, match="delete it and run"):
        records.DatasetInfo.load(output).shard_paths("test")
    make(raw, *small)
    assert contents(output) == before


def test_records_outlive_the_raw_data_and_the_frames(own_raw, capsys):
    output = make(own_raw, "--modalities=rgb")
    before = contents(output)
    shutil.rmtree(own_raw / "frames")
    make(own_raw, "--modalities=rgb")
    assert not (own_raw / "frames").exists()
    shutil.rmtree(own_raw / "multiview_action")
    capsys.readouterr()
    make(own_raw, "--modalities=rgb")
    assert "they are kept although the raw data cannot be read" in capsys.readouterr().out
    assert contents(output) == before


def test_a_stored_frame_that_is_cut_off_is_named(own_raw):
    output = make(own_raw, "--modalities=rgb")
    before = contents(output)
    frame = own_raw / "frames/24/a01_s01_e00_v01/rgb/000003.jpg"
    for content in (b"", frame.read_bytes()[:-40]):
        shutil.rmtree(output)
        frame.write_bytes(content)
        with pytest.raises(InputError, match=f"{frame}: empty or cut off; delete the folder {frame.parents[1]} and"):
            make(own_raw, "--modalities=rgb")
    shutil.rmtree(frame.parents[1])
    make(own_raw, "--modalities=rgb")
    assert contents(output) == before


def test_limit_keeps_some_of_each_class(own_raw, write_nwucla_tree):
    write_nwucla_tree(own_raw, subjects=(2,), frames=1)
    info = records.DatasetInfo.load(make(own_raw, "--modalities=depth", "--limit=1"))
    assert info.counts == {split: dict.fromkeys(info.class_names, 1) for split in records.SPLITS}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train_views=1,3"], "--train_views=1,3 overlaps --test_view=3"),
        (["--train_views=one"], "--train_views=one: expected numbers"),
        (["--test_view=5"], "view 5 in --train_views or --test_view"),
        (
            ["--modalities=rgb,sound"],
            "--modalities=rgb,sound: NW-UCLA has no 'sound'; expected some of depth, flow, rgb",
        ),
        (["--modalities=rgb,rgb"], "--modalities=rgb,rgb: expected different names"),
        (["--modalities="], "--modalities=: expected different names"),
        (["--size=32"], "was made with frames.size=24, but frames.size=32 is asked for: delete"),
        (["--modalities=rgb"], r'modalities=\["rgb"\] is asked for'),
        (["--flow_bound=10"], "was made with flow.bound=20.0, but flow.bound=10.0 is asked for"),
        (["--test_view=3", "--train_views=2"], r"protocol.train_views=\[1, 2\], but protocol.train_views=\[2\]"),
    ],
)
def test_bad_settings_are_named(finished, arguments, message):
    data_dir, _ = finished
    before = contents(data_dir / "records/24")
    with pytest.raises(InputError, match=message) as caught:
        make(data_dir, f"--output={data_dir / 'records/24'}", *arguments)
    assert "\n" not in str(caught.value)
    assert contents(data_dir / "records/24") == before


def test_a_bad_value_ends_the_script_with_one_line(finished):
    data_dir, _ = finished
    run = subprocess.run(command(data_dir, "--train_views=2,3"), capture_output=True, text=True, cwd=ROOT, check=False)
    assert run.returncode == 2
    message = "error: --train_views=2,3 overlaps --test_view=3: a view is either trained or tested on\n"
    assert run.stderr == message


def test_missing_raw_data_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: expected multiview_action/view_1 … view_3 there; download the"):
        make(tmp_path / "nowhere")


def test_changed_raw_videos_are_noticed(own_raw):
    output = make(own_raw, "--modalities=rgb")
    shutil.rmtree(own_raw / "multiview_action/view_3/a04_s01_e00")
    with pytest.raises(InputError, match=r"0 are new, 0 changed and 1 gone since, for example a04_s01_e00_v03"):
        make(own_raw, "--modalities=rgb")
    shutil.rmtree(output)
    info = records.DatasetInfo.load(make(own_raw, "--modalities=rgb"))
    assert info.counts["test"]["walk around"] == 0
    warning = "the test split (train_views=(1, 2), test_view=3) has no video of class 'walk around'"
    assert {"video_id": "test split", "reason": warning} in info.warnings


def test_an_empty_class_is_named(own_raw):
    for view in (1, 2):
        shutil.rmtree(own_raw / f"multiview_action/view_{view}/a12_s01_e00")
    with pytest.raises(InputError, match=r"the train split \(.*\) has no video of class 'carry'; training needs every"):
        make(own_raw)
    assert not (own_raw / "frames").exists()


def test_an_empty_test_split_is_named(own_raw):
    shutil.rmtree(own_raw / "multiview_action/view_3")
    with pytest.raises(InputError, match=r"the test split \(train_views=\(1, 2\), test_view=3\) has no videos"):
        make(own_raw)


def test_unreadable_frames_are_left_out_and_listed(own_raw):
    folder = own_raw / "multiview_action/view_1/a02_s01_e00"
    bad = next(iter(sorted(folder.glob("frame_97_*_depth_vis.jpg"))))
    bad.write_bytes(bad.read_bytes()[:-30])
    lost = own_raw / "multiview_action/view_3/a03_s01_e00"
    for path in lost.glob("*_rgb.jpg"):
        path.write_bytes(b"")
    info = records.DatasetInfo.load(make(own_raw, "--modalities=rgb,depth"))
    reasons = {entry["video_id"]: entry["reason"] for entry in (*info.skipped, *info.warnings)}
    name = bad.relative_to(own_raw)
    assert reasons["a02_s01_e00_v01"] == f"{name}: the JPEG is cut off; download it again; its frame is left out"
    assert "no frame can be read" in reasons["a03_s01_e00_v03"]
    assert info.counts["test"]["drop trash"] == 0


def test_help_lists_the_flags_of_every_stage():
    run = subprocess.run(
        [sys.executable, "data_prep/make_tfrecords.py", "--help"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    for name in ("dataset", "jpeg_quality", "flow_preset", "tvl1_lambda", "videos_per_shard"):
        assert f"--{name}:" in run.stdout


def test_defaults_are_the_demo_at_its_scale():
    values = flags.FlagValues()
    script.define_flags(values)
    values(["make_tfrecords"])
    chosen = script.settings_from_flags(values)
    assert (chosen.data.dataset.name, chosen.data.frames.size, chosen.flow.preset) == ("demo", 80, "fast")
    assert (chosen.data.data_dir, chosen.output) == (Path("data/demo"), Path("data/demo/records/80"))
    assert chosen.data.frames_dir == Path("data/demo/frames/80")
    values = flags.FlagValues()
    script.define_flags(values)
    values(["make_tfrecords", "--dataset=nwucla"])
    chosen = script.settings_from_flags(values)
    assert (chosen.data.frames.size, chosen.flow.preset, chosen.limit) == (256, "default", 0)
    assert chosen.protocol == {"train_views": (1, 2), "test_view": 3}
