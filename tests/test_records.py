"""The record format: bytes that TensorFlow reads, heads, framing, fixed clips and damage."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from dmcl_tf.data import records
from dmcl_tf.errors import InputError

FRAMES = {"rgb": [b"r0", b"r1" * 200, b""], "depth": [b"d0", b"d1", b"d2"]}
ABOUT = records.About(
    "Zoë 1", 2, 3, 80, 300, "0123abcd", ("odd", "it has one frame only, and so no motion"), ("depth",)
)


def reference(about, frames):
    """The same example as TensorFlow writes it."""

    def texts(*values):
        return tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[v if isinstance(v, bytes) else v.encode() for v in values])
        )

    def number(value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    context = {name: number(getattr(about, name)) for name in ("frames", "length", "height", "width")}
    context |= {"video_id": texts(about.video_id), "fingerprint": texts(about.fingerprint)}
    context |= {"warnings": texts(*about.warnings), "grey": texts(*about.grey)}
    lists = {name: tf.train.FeatureList(feature=[texts(image) for image in images]) for name, images in frames.items()}
    return tf.train.SequenceExample(
        context=tf.train.Features(feature=context), feature_lists=tf.train.FeatureLists(feature_list=lists)
    )


@pytest.mark.parametrize("about", [ABOUT, dataclasses.replace(ABOUT, warnings=(), fingerprint="", grey=())])
def test_the_bytes_are_those_of_a_sequence_example(about):
    serialized = records.encode_video(about, FRAMES)
    example = tf.train.SequenceExample.FromString(serialized)
    assert example == reference(about, FRAMES)
    assert serialized == reference(about, FRAMES).SerializeToString(deterministic=True)
    assert records.decode_video(serialized) == (about, FRAMES)


def test_encoding_does_not_depend_on_the_order_of_modalities():
    assert records.encode_video(ABOUT, FRAMES) == records.encode_video(ABOUT, dict(reversed(FRAMES.items())))


@pytest.mark.parametrize("frames", [{"rgb": [b"a"] * 3, "depth": [b"a", b"b"]}, {"rgb": []}, {}, {"rgb": [b"a"]}])
def test_unequal_or_no_frames_are_refused(frames):
    with pytest.raises(ValueError, match="Zoë 1: every modality needs 3 frames"):
        records.encode_video(ABOUT, frames)


def test_files_are_tfrecords(tmp_path):
    path = records.record_path(tmp_path, ABOUT.video_id)
    serialized = records.encode_video(ABOUT, FRAMES)
    records.write_record(path, serialized)
    assert [each.numpy() for each in tf.data.TFRecordDataset(str(path))] == [serialized]
    assert records.read_record(path) == serialized
    about, checksum = records.read_about(path)
    assert about == ABOUT
    assert checksum == records.masked_checksum(serialized)[::-1].hex()
    assert path.relative_to(tmp_path).parts[0] == "videos"
    assert len(path.parent.name) == 2


def test_heads_may_be_long(tmp_path):
    about = dataclasses.replace(ABOUT, warnings=tuple(f"warning {index} " + "x" * 90 for index in range(300)))
    records.write_record(tmp_path / "v", records.encode_video(about, FRAMES))
    assert records.read_about(tmp_path / "v")[0] == about


def test_every_damaged_byte_is_found(tmp_path):
    path = tmp_path / "v.tfrecord"
    records.write_record(path, records.encode_video(ABOUT, FRAMES))
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(InputError, match=r"v\.tfrecord is damaged: delete it and run"):
            records.read_record(path)
    for length in (0, 5, 20, len(content) - 1):
        path.write_bytes(content[:length])
        for read in (records.read_record, records.read_about):
            with pytest.raises(InputError, match=r"v\.tfrecord is damaged.*: delete it and run"):
                read(path)
    with pytest.raises(InputError, match="No such file or directory; delete it and run"):
        records.read_record(tmp_path / "none")


def test_garbage_is_no_record(tmp_path):
    random = np.random.RandomState(0)
    content, refused = records.encode_video(ABOUT, FRAMES), 0
    for _ in range(300):
        garbled = bytearray(content)
        for position in random.randint(0, len(content), 3):
            garbled[position] = random.randint(256)
        records.write_record(tmp_path / "v", bytes(garbled))
        try:
            about, checksum = records.read_about(tmp_path / "v")
        except InputError:  # and nothing else is raised
            refused += 1
        else:
            assert (type(about.video_id), type(about.length), type(checksum)) == (str, int, str)
    assert refused > 50


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
