"""Training samples per second: from records, against the authors' procedure from original-size JPEG files.

    python benchmarks/input_pipeline.py

Both turn the same 640×480 source frames into the same output: batches of three modalities, 8×224×224×3 float32, with
full training augmentation. The authors' procedure (parsers.py, plainly rewritten) decodes 24 whole files per sample,
resizes them to 256², crops, flips and distorts. A third contestant only decodes the 24 stored JPEGs of a sample, which
bounds what any pipeline from these records could do.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cv2
import tensorflow as tf
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.turns import machine, print_rates, rates, ratio
from data_prep import frames as frame_tools
from data_prep.demo_skeletons import demo_clips
from data_prep.rendering.clip import render, stage
from dmcl_tf import augmentation, input_pipeline, records
from dmcl_tf.config import Config
from dmcl_tf.errors import run_script

_SOURCE = (640, 480)
_CONFIG = Config()
OURS, AUTHORS, DECODING = "ours, from records", "authors' procedure", "decoding alone"


def write_sources(folder: Path, videos: int, frames: int) -> list[dict[str, list[str]]]:
    """Renders clips as 640×480 JPEG files; the three modalities share RGB's, so that their cost is equal."""
    clips = list(demo_clips(subjects=2))
    sources = []
    for index in range(videos):
        clip_id, skeletons = clips[index * len(clips) // videos]
        rendered = [colour for colour, _ in render(stage(skeletons, 256, clip_id))]
        video = []
        for number in range(frames):
            image = cv2.resize(rendered[number % len(rendered)][..., ::-1], _SOURCE, interpolation=cv2.INTER_CUBIC)
            path = folder / f"{index}_{number}.jpg"
            path.write_bytes(frame_tools.encode_jpeg(image, 95))
            video.append(str(path))
        sources.append(dict.fromkeys(_CONFIG.modalities, video))
    return sources


def write_records(folder: Path, sources: list[dict[str, list[str]]]) -> records.DatasetInfo:
    """The same frames as records at 256²."""
    name = records.shard_name("train", 0, 1)
    with tf.io.TFRecordWriter(str(folder / name)) as writer:
        for index, video in enumerate(sources):
            stored = {
                path: frame_tools.encode_jpeg(frame_tools.resize(frame_tools.read_image(path), 256), 95)
                for path in set().union(*video.values())
            }
            frames = {modality: [stored[path] for path in paths] for modality, paths in video.items()}
            writer.write(records.encode_video(f"video{index}", index % 10, 256, 256, frames))
    shard = records.Shard(name, len(sources), (folder / name).stat().st_size)
    return records.DatasetInfo(
        dataset="benchmark",
        title="benchmark",
        origin="rendered",
        protocol={},
        class_names=tuple(map(str, range(10))),
        modalities=_CONFIG.modalities,
        frame_size=256,
        jpeg_quality=95,
        flow=None,
        counts={},
        shards={"train": (shard,)},
        clips={},
        versions={},
        directory=folder,
    )


def authors_dataset(sources: list[dict[str, list[str]]]) -> tf.data.Dataset:
    """The authors' procedure: everything from the original files, at every step."""
    paths = {m: tf.constant([video[m] for video in sources]) for m in _CONFIG.modalities}
    length = len(sources[0]["rgb"])

    def sample(index):
        seed = tf.stack([index, tf.constant(0, tf.int64)])
        drawn = augmentation.draw(_CONFIG, tf.constant(length), seed)

        def clip(modality):
            files = tf.gather(paths[modality][index % len(sources)], drawn.frames)
            content = tf.map_fn(tf.io.read_file, files)
            images = tf.map_fn(
                lambda x: tf.image.decode_jpeg(x, channels=3),
                content,
                fn_output_signature=tf.TensorSpec(None, tf.uint8),
            )
            images = tf.image.resize(tf.ensure_shape(images, [8, None, None, 3]), [256, 256])
            images = tf.slice(images, tf.stack([0, drawn.top, drawn.left, 0]), [8, 224, 224, 3])
            images = tf.cond(drawn.flip, lambda: tf.map_fn(tf.image.flip_left_right, images), lambda: images)
            if modality == "rgb":
                distorted = augmentation.distort_colors
                images = tf.cond(drawn.color, lambda: distorted(images, drawn.color_seed), lambda: images)
            return images

        return {m: clip(m) for m in _CONFIG.modalities}

    dataset = tf.data.Dataset.range(10**9).map(sample, num_parallel_calls=8)
    return dataset.batch(_CONFIG.batch_size, drop_remainder=True).prefetch(10)


def decoding_dataset(info: records.DatasetInfo) -> tf.data.Dataset:
    """Nothing but decoding: 8 whole stored frames of each modality."""

    def sample(serialized):
        _, frames = records.parse_video(serialized, _CONFIG.modalities)
        return {
            m: tf.stack([tf.image.decode_jpeg(x, channels=3) for x in tf.unstack(frames[m][:8], 8)])
            for m in _CONFIG.modalities
        }

    dataset = tf.data.TFRecordDataset([str(path) for path in info.shard_paths("train")]).repeat()
    return dataset.map(sample, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("videos", 24, "Source videos.", 8, flag_values=flag_values)
    flags.DEFINE_integer("frames", 24, "Frames of each.", 9, flag_values=flag_values)
    flags.DEFINE_integer("rounds", 5, "Turns of each contestant.", 1, flag_values=flag_values)


def main() -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = write_sources(folder, flags.FLAGS.videos, flags.FLAGS.frames)
        info = write_records(folder, sources)

        def contestant(make_dataset, batches, samples):
            # a fresh iterator each turn: nothing is left over from, or works ahead during, another's turn
            def run():
                for _ in make_dataset().take(batches):
                    pass
                return batches * samples

            return run

        batch = _CONFIG.batch_size
        contestants = {
            OURS: contestant(lambda: input_pipeline.training_dataset(info, _CONFIG), 60, batch),
            AUTHORS: contestant(lambda: authors_dataset(sources), 12, batch),
            DECODING: contestant(lambda: decoding_dataset(info), 480, 1),
        }
        measured = rates(contestants, flags.FLAGS.rounds)
    print(machine())
    print_rates(measured, "samples/s (3 modalities × 8 frames)")
    print(f"ours / authors' procedure: {ratio(measured, OURS, AUTHORS):.2f}")
    print(f"ours / decoding alone:     {ratio(measured, OURS, DECODING):.2f}")


if __name__ == "__main__":
    define_flags()
    run_script(main)
