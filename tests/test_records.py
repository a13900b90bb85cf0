"""The record format: bytes, parsing, fixed clips, description and damage."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from dmcl_tf.data import records
from dmcl_tf.errors import InputError

FRAMES = {"rgb": [b"r0", b"r1", b"r2"], "depth": [b"d0", b"d1", b"d2"]}


def make_info(**changes):
    info = records.DatasetInfo(
        dataset="nwucla",
        title="NW-UCLA",
        origin="drawn",
        protocol={"train_views": [1, 2], "test_view": 3},
        class_names=("walk", "sit"),
        modalities=("rgb", "depth"),
        frame_size=80,
        jpeg_quality=95,
        flow=None,
        counts={"test": {"walk": 1, "sit": 0}},
        shards={"test": (records.Shard("test-00000-of-00001.tfrecord", 1, 4),)},
        clips={"test": {"v": records.draw_clips("v", 9).tolist()}},
        versions={"numpy": np.__version__},
    )
    return dataclasses.replace(info, **changes)


def test_video_survives_the_round_trip_inside_tf_data():
    serialized = records.encode_video("a01_s01_e00_v01", 3, 80, 64, FRAMES)
    dataset = tf.data.Dataset.from_tensors(serialized).map(lambda video: records.parse_video(video, ["depth", "rgb"]))
    context, frames = next(iter(dataset))
    assert {name: value.numpy() for name, value in context.items()} == {
        "video_id": b"a01_s01_e00_v01",
        "label": 3,
        "length": 3,
        "height": 80,
        "width": 64,
    }
    assert {modality: images.numpy().tolist() for modality, images in frames.items()} == FRAMES


def test_encoding_does_not_depend_on_the_order_of_modalities():
    reordered = dict(reversed(FRAMES.items()))
    assert records.encode_video("v", 0, 8, 8, FRAMES) == records.encode_video("v", 0, 8, 8, reordered)


@pytest.mark.parametrize("frames", [{"rgb": [b"a"], "depth": [b"a", b"b"]}, {"rgb": []}])
def test_unequal_or_no_frames_are_refused(frames):
    with pytest.raises(ValueError, match="clip7"):
        records.encode_video("clip7", 0, 8, 8, frames)


@pytest.mark.parametrize("length", [8, 9, 15, 16, 17, 100, 201])
def test_fixed_clips_take_one_frame_of_each_segment(length):
    clips = records.draw_clips("a01_s01_e00_v03", length, clips=200)
    for j in range(8):
        segment = range(int(np.ceil(j * length / 8)), int(np.ceil((j + 1) * length / 8)))
        assert set(clips[:, j]) == set(segment)


def test_fixed_clips_depend_on_the_video_alone():
    first = records.draw_clips("a01_s01_e00_v03", 40)
    np.testing.assert_array_equal(first, records.draw_clips("a01_s01_e00_v03", 40))
    assert first.shape == (10, 8)
    assert not np.array_equal(first, records.draw_clips("a01_s01_e01_v03", 40))
    # pinned: results of different machines and versions must stay comparable
    assert first[0].tolist() == [3, 6, 14, 17, 24, 25, 31, 37]


def test_too_short_a_video_for_its_clips_is_refused():
    with pytest.raises(ValueError, match="7 frames are too few"):
        records.draw_clips("v", 7)


def test_description_survives_the_round_trip(tmp_path):
    info = make_info().save(tmp_path)
    assert records.DatasetInfo.load(tmp_path) == info
    assert info.directory == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]
    assert len((tmp_path / "dataset.json").read_text().splitlines()) < 80  # a clip is one line


def test_missing_and_corrupt_descriptions_are_named(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.json.*make_tfrecords"):
        records.DatasetInfo.load(tmp_path)
    for text in ['{"dataset": "nwuc', "[]", '{"dataset": "nwucla"}', '{"shards": {}, "colour": 1}']:
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(InputError, match=r"dataset\.json is not a description.*delete it"):
            records.DatasetInfo.load(tmp_path)


def test_other_modalities_or_size_than_asked_for(tmp_path):
    info = make_info().save(tmp_path)
    info.check(["depth"], 80)
    for modalities, size in [(["rgb", "flow"], 80), (["rgb"], 256)]:
        with pytest.raises(InputError) as caught:
            info.check(modalities, size)
        message = str(caught.value)
        assert "rgb,depth at 80 pixels" in message
        assert f"{','.join(modalities)} at {size} pixels" in message
        assert f"--dataset=nwucla --modalities={','.join(modalities)} --size={size}" in message


def test_missing_and_half_written_shards_are_named(tmp_path):
    info = make_info().save(tmp_path)
    shard = tmp_path / "test-00000-of-00001.tfrecord"
    with pytest.raises(InputError, match=rf"{shard.name} is missing: delete it"):
        info.shard_paths("test")
    shard.write_bytes(b"abc")
    with pytest.raises(InputError, match=rf"{shard.name} has 3 bytes instead of 4"):
        info.shard_paths("test")
    shard.write_bytes(b"abcd")
    assert info.shard_paths("test") == [shard]


def test_first_corrupt_shard_is_found(tmp_path):
    paths = [tmp_path / records.shard_name("train", i, 3) for i in range(3)]
    for path in paths:
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(records.encode_video(path.stem, 0, 8, 8, FRAMES))
    assert records.find_corrupt_shard(paths) is None
    content = bytearray(paths[1].read_bytes())
    content[40] ^= 1
    paths[1].write_bytes(content)
    paths[2].write_bytes(paths[2].read_bytes()[:-3])
    assert records.find_corrupt_shard(paths) == paths[1]
    assert records.find_corrupt_shard(paths[2:]) == paths[2]
