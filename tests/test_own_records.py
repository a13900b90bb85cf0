"""Records of own videos, and records that several data sets share: edits, advice, given flow."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from preparing import contents, prepare
from raw import depth_frame, write_image, write_video

from dmcl_tf.data import records
from dmcl_tf.errors import InputError
from workflow import stages


def write_own(folder: Path, rows, columns="video_id,label,split,subject,rgb"):
    (folder / "videos.csv").write_text("\n".join([columns, *rows]) + "\n")
    return prepare("--dataset=custom", f"--videos={folder}/videos.csv", f"--data_dir={folder}", "--frame_size=24")


def test_edits_of_own_data_take_effect_and_keep_records(tmp_path, capsys):
    for index, name in enumerate("abcd"):
        write_video(tmp_path / f"{name}.avi", 9, seed=index)
    rows = ["a,x,train,ann,a.avi", "b,y,train,ben,b.avi", "c,x,test,cas,c.avi", "d,y,test,ann,d.avi"]
    made = write_own(tmp_path, rows)
    assert made.description.class_names == ("x", "y")
    assert "warning: subject ann is in the splits test and train" in capsys.readouterr().out
    stamps = {video.video_id: made.path(video).stat().st_mtime_ns for video in made.videos}
    rows = ["a,wave,train,ann,a.avi", "b,y,train,ben,b.avi", "c,wave,validation,cas,c.avi"]
    again = write_own(tmp_path, rows)
    assert again.description.class_names == ("wave", "y")
    assert {video.video_id: (video.label, video.attributes["split"]) for video in again.videos} == {
        "a": ("wave", "train"),
        "b": ("y", "train"),
        "c": ("wave", "validation"),
    }
    assert {video.video_id: again.path(video).stat().st_mtime_ns for video in again.videos} == {
        name: stamps[name] for name in "abc"
    }
    printed = capsys.readouterr().out
    assert "1 records in " in printed
    assert "warning: subject" not in printed


@pytest.mark.parametrize("away", ["b", "abcd"])
def test_edits_take_effect_while_raw_files_are_away(tmp_path, capsys, away):
    """A disk that is not mounted, or records that were copied to another machine."""
    for index, name in enumerate("abcd"):
        write_video(tmp_path / f"{name}.avi", 9, seed=index)
    made = write_own(tmp_path, ["a,x,train,s,a.avi", "b,x,test,s,b.avi", "c,y,train,s,c.avi", "d,y,test,s,d.avi"])
    files = contents(tmp_path / "records/24/videos")
    for name in away:
        (tmp_path / f"{name}.avi").rename(tmp_path / f"{name}.away")
    made.path(made.by_id["d"]).write_bytes(b"cut off")
    capsys.readouterr()
    again = write_own(
        tmp_path, ["a,x,train,s,a.avi", "b,y,validation,t,b.avi", "d,y,test,s,d.avi", "c,y,train,s,c.avi"]
    )
    row = again.by_id["b"]
    assert (row.label, row.attributes) == ("y", {"split": "validation", "subject": "t"})
    assert row.warnings == "its raw files are away; the record that was made of them before is kept"
    assert row.checksum == made.by_id["b"].checksum
    assert ("d" in again.by_id) == (away == "b")  # whose record is damaged, and is made again where that is possible
    assert ("skipped d: " in capsys.readouterr().out) == (away != "b")
    for name in away:
        (tmp_path / f"{name}.away").rename(tmp_path / f"{name}.avi")
    rows = ["a,x,train,s,a.avi", "b,x,test,s,b.avi", "c,y,train,s,c.avi", "d,y,test,s,d.avi"]
    assert write_own(tmp_path, rows).videos == made.videos
    assert contents(tmp_path / "records/24/videos") == files


def test_training_takes_no_table_of_another_csv_file(tmp_path):
    for name in "abc":
        write_video(tmp_path / f"{name}.avi", 9)
    (tmp_path / "d.avi").write_bytes(b"no video")
    rows = ["a,x,train,s,a.avi", "b,y,train,s,b.avi", "c,x,test,s,c.avi", "d,y,test,s,d.avi"]

    def check(rows, *flags):
        (tmp_path / "videos.csv").write_text("\n".join(["video_id,label,split,subject,rgb", *rows]))
        given = [f"--videos={tmp_path}/videos.csv", f"--data_dir={tmp_path}", f"--records={made.directory}", *flags]
        stages.check_table(
            stages.make_pipeline(stages.parse("custom", [*given, "--frame_size=24", "--crop_size=16"])).prepare
        )

    made = write_own(tmp_path, rows)
    check(rows)  # d was skipped
    for other, difference in (
        (["a,y,train,s,a.avi", "b,x,train,s,b.avi"], r"a: 'x', train, s there, 'y', train, s now"),
        ([rows[0], "b,y,test,s,b.avi", "c,y,train,s,c.avi"], r"b: 'y', train, s there, 'y', test, s now"),
        (rows[:2], "c: 'x', test, s there, not listed now"),
        ([*rows, "e,x,test,s,a.avi"], "e: not listed there, 'x', test, s now"),
    ):
        with pytest.raises(
            InputError, match=f"its table is of another CSV file than .*{difference}.: run the stage prep"
        ):
            check(other)
    check([*rows, "e,x,test,s,a.avi"], "--limit=2")
    (made.directory / "skipped.csv").unlink()
    with pytest.raises(InputError, match=r"skipped\.csv: the records are not complete"):
        check(rows)


def test_names_of_our_own_files_are_names_of_videos(tmp_path):
    names = ("dataset.json", "videos.csv", "skipped.csv", "videos", "²", "config.json", "last")
    write_video(tmp_path / "a.avi", 9)
    rows = [f"{name},{'xy'[index % 2]},train,ann,a.avi" for index, name in enumerate(names)]
    made = write_own(tmp_path, rows)
    assert sorted(video.video_id for video in made.videos) == sorted(names)
    assert made.find_damage(made.videos) is None
    assert write_own(tmp_path, rows).videos == made.videos


def test_advice_can_be_followed_where_no_record_was_made(tmp_path):
    rows = ["video_id,label,split,depth"]
    for number, label in enumerate(("near", "far")):
        for index in range(9):
            write_image(tmp_path / label / f"{index}.png", depth_frame(index, number))
        rows.append(f"{label},{label},train,{label}")
    (tmp_path / "videos.csv").write_text("\n".join(rows))
    own = ("--dataset=custom", f"--videos={tmp_path}/videos.csv", f"--data_dir={tmp_path}/data", "--frame_size=24")
    with pytest.raises(InputError, match=r"no video can be used.*--depth_mode=clip_mm"):
        prepare(*own)
    assert len(prepare(*own, "--depth_mode=clip_mm").videos) == 2
    with pytest.raises(InputError, match=r"holds records made with depth\.mode=clip_mm"):
        prepare(*own, "--depth_mode=per_clip")


def test_given_flow_is_taken_as_it_is(tmp_path):
    for index in range(12):
        write_image(tmp_path / "flow" / f"{index}.png", np.full((24, 24, 3), 10 * index, np.uint8))
        write_image(tmp_path / "rgb" / f"{index}.png", np.full((24, 24, 3), 10 * index, np.uint8))
    rows = ["a,x,train,s,rgb,flow", "b,y,train,s,rgb,flow"]
    made = write_own(tmp_path, rows, "video_id,label,split,subject,rgb,flow")
    assert made.description.flow == {"encoding": None, "algorithm": "given"}
    _, frames = records.decode_video(records.read_record(made.path(made.videos[0])))
    levels = [int(cv2.imdecode(np.frombuffer(i, np.uint8), cv2.IMREAD_COLOR).mean().round()) for i in frames["flow"]]
    assert levels == pytest.approx([10 * index for index in range(12)], abs=1)


def write_ntu(root, names):
    for name in names:
        write_video(root / "nturgb+d_rgb" / f"{name}_rgb.avi", 9)
        for index in range(9):
            write_image(root / "nturgb+d_depth_masked" / name / f"MDepth-{index + 1:08d}.png", depth_frame(index))


def test_data_sets_of_a_family_share_their_records(tmp_path, capsys):
    names = [f"S001C001P{subject:03d}R001A{action:03d}" for subject in (1, 3) for action in (1, 60, 61)]
    write_ntu(tmp_path, names)
    small = (f"--data_dir={tmp_path}", "--frame_size=16", "--modalities=rgb,depth")
    made = prepare("--dataset=ntu60", *small)
    assert [video.video_id for video in made.videos] == [name for name in sorted(names) if name[-3:] != "061"]
    assert (made.description.dataset, made.description.title) == ("ntu", "NTU RGB+D")
    assert len(made.description.class_names) == 120
    said = capsys.readouterr().out
    assert said.count("there is no video of class") == 58
    assert f"class {made.description.class_names[60]!r}" not in said  # which is no class of ntu60
    whole = prepare("--dataset=ntu120", *small)
    assert len(whole.videos) == 6
    assert whole.by_id[names[2]].attributes == {"subject": "1", "view": "1", "setup": "1"}
    shutil.rmtree(tmp_path / "nturgb+d_rgb")  # and of ntu60 two are lost
    write_ntu(tmp_path, names[:2])
    whole.path(whole.by_id[names[5]]).write_bytes(b"cut off")
    kept = prepare("--dataset=ntu60", *small)
    lost = {names[3], names[4]}  # no longer in the listing, but their records are there
    assert {video.video_id for video in kept.videos} == {*names[:3], *lost}
    assert contents(kept.directory).keys() == contents(whole.directory).keys()
