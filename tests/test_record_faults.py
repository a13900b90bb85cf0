"""Records that are damaged, or not what their table says: training and evaluation name them, and what to do."""

import dataclasses
import shutil

import cv2
import pytest
import tensorflow as tf
from tiny import encode_jpeg, marked_frame, split, write_records

from dmcl_tf.config import resolve
from dmcl_tf.data import pipeline
from dmcl_tf.data import records as format_
from dmcl_tf.data.faults import explain
from dmcl_tf.data.table import Records, checksum, write_table
from dmcl_tf.errors import InputError

# epochs enough that every frame is drawn
SETTINGS = {"frame_size": 48, "crop_size": 32, "batch_size": 2, "epochs": 9, "color_probability": 0.0}
CONFIG = resolve("authors", "full", {**SETTINGS, "crop_jitter_probability": 1.0, "crop_jitter": 0.3})


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    videos = {"train": 7, "validation": 2, "test": 3}
    return write_records(tmp_path_factory.mktemp("records"), videos, lengths=(10, 17, 40))


def damage(records, directory, video_id, change):
    """A copy of some records in which `change(frames)` changed one, with its table."""
    shutil.copytree(records.directory, directory)
    path = format_.record_path(directory, video_id)
    about, frames = format_.decode_video(format_.read_record(path))
    change(frames)
    parts = {modality: images for modality, images in frames.items() if images}
    about = dataclasses.replace(about, length=len(next(iter(parts.values()))))
    serialized = format_.encode_video(about, parts)
    format_.write_record(path, serialized)
    entry = {"bytes": path.stat().st_size, "checksum": checksum(serialized)}
    videos = [dataclasses.replace(v, **entry) if v.video_id == video_id else v for v in records.videos]
    write_table(Records(directory, records.description, tuple(videos)), {})
    return Records.load(directory)


def spoil(frames):
    frames["depth"][3] = frames["depth"][3][:200]


def shorten(frames):
    for images in frames.values():
        del images[5:]


DAMAGES = {
    "a modality is missing": (lambda frames: frames["flow"].clear(), r"it has 0 frames of flow instead of 17"),
    "a JPEG is cut off": (spoil, "frame 3 of depth is no sound JPEG"),
    "frames are missing": (shorten, "it has 5 frames of rgb instead of 17"),
    "a frame is no JPEG": (
        lambda frames: frames["rgb"].__setitem__(2, cv2.imencode(".png", marked_frame(0, 48))[1].tobytes()),
        "frame 2 of rgb is no sound JPEG",
    ),
    "frames are smaller": (  # all of them: which ones a clip has is drawn
        lambda frames: frames.update(rgb=[encode_jpeg(marked_frame(0, 24)) for _ in frames["rgb"]]),
        "frame 0 of rgb has 24×24 pixels instead of 48×48",
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_record_that_is_whole_but_wrong_is_named(records, tmp_path, kind):
    change, message = DAMAGES[kind]
    broken = damage(records, tmp_path / "records", "train-4", change)
    splits, path = split(broken), format_.record_path(broken.directory, "train-4")
    with pytest.raises(tf.errors.OpError) as caught:
        list(pipeline.training_dataset(broken, splits, CONFIG))
    explained = explain(broken, splits.train, caught.value)
    assert isinstance(explained, InputError)
    assert str(explained).startswith(f"{path}: {message}; delete it and run")


def test_a_record_that_is_not_what_the_table_says_is_named(records, tmp_path):
    shutil.copytree(records.directory, tmp_path / "records")
    copy = Records.load(tmp_path / "records")
    path, error = format_.record_path(copy.directory, "train-2"), tf.errors.DataLossError(None, None, "lost")
    path.write_bytes(path.read_bytes()[:-9])
    assert f"{path} is damaged: delete it" in str(explain(copy, split(copy).train, error))
    path.unlink()
    assert f"{path}: No such file" in str(explain(copy, split(copy).train, error))
    assert explain(copy, split(copy).test, error) is error  # these are sound: it must mean something else
