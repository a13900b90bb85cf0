"""Which record is at fault when TensorFlow says that it cannot read."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import tensorflow as tf

from dmcl_tf.data.pipeline import grey_modalities
from dmcl_tf.data.records import decode_video, read_record
from dmcl_tf.data.table import Records, Video
from dmcl_tf.errors import InputError, is_disk_full


def explain(records: Records, videos: Sequence[Video], error: tf.errors.OpError) -> Exception:
    """What TensorFlow's error while reading some videos means: an `InputError` that names the first bad record.

    Where the records are sound, the error has another cause, and is returned as it is.
    """
    if is_disk_full(error):
        return error
    damage = records.find_damage(videos)
    if damage:
        return damage
    grey = grey_modalities(records, records.description.modalities)
    for video in videos:
        fault = _find_fault(records, video, grey)
        if fault:
            return InputError(
                f"{records.path(video)}: {fault}; delete it and run data_prep/make_tfrecords.py again from sound files"
            )
    return error


def _find_fault(records: Records, video: Video, grey: Collection[str]) -> str:
    """What cannot be used in a record that is what its table says; "" for nothing."""
    try:
        about, frames = decode_video(read_record(records.path(video)))
    except ValueError as error:
        return f"it is no record ({error})"
    if about.video_id != video.video_id:
        return f"it is the record of {about.video_id}"
    size = records.description.frame_size
    for modality in records.description.modalities:
        images = frames.get(modality, ())
        if len(images) != video.length:
            return f"it has {len(images)} frames of {modality} instead of {video.length}"
        for index, image in enumerate(images):
            try:
                tf.io.extract_jpeg_shape(image)  # other formats are decoded below, but not in training
                shape = tf.io.decode_jpeg(image).shape
            except tf.errors.OpError:
                return f"frame {index} of {modality} is no sound JPEG"
            if modality in grey and shape[2] > 1:
                return f"frame {index} of {modality} has colours, those of other videos are grey"
            if tuple(shape[:2]) != (size, size):
                return f"frame {index} of {modality} has {shape[1]}×{shape[0]} pixels instead of {size}×{size}"
    return ""
