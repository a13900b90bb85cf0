"""Training samples per second: from records, against the authors' procedure from original-size JPEG files.

    python -m benchmarks.input_pipeline

Both turn the same 640×480 frames into batches of three modalities, 8×224×224. The authors' procedure (parsers.py,
plainly rewritten) decodes 24 whole files per sample, resizes them to 256², crops, flips and distorts into float32. Ours
hands out the bytes of the crops and the drawn numbers; what is left to do, mirroring, colours and floats, is the first
part of the training step. "Ours, augmented" does it as well, on the processor, so that both give the same. Two more
contestants show what is left to gain from these records: "decoding alone" reads a record, decodes 24 of its JPEG
strings whole and keeps one pixel of each; "decoding into batches" does what every pipeline with this output must: it
decodes a crop and copies it into a batch.

The frames are rendered clips of the demo data set: colour with the renderer's sensor noise, one-channel depth, and true
optical flow, encoded as `data_prep` does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf
from absl import flags
from tqdm import tqdm

from benchmarks.turns import Ratios, Step, machine, print_ratio, print_turns, take_turns, turn_flags
from data_prep.flow.encoding import bound_in_pixels, encode_flow
from data_prep.flow.settings import FlowSettings
from data_prep.synthetic.demo_skeletons import demo_clip_ids, demo_skeletons
from data_prep.synthetic.rendering.clip import render, stage, true_flow
from data_prep.video import frames as frame_tools
from dmcl_tf.config import Config
from dmcl_tf.data import augmentation, pipeline, table
from dmcl_tf.data.records import About, encode_video, record_path, write_record
from dmcl_tf.datasets.splits import Splits
from dmcl_tf.errors import run_script

_SOURCE = (640, 480)
_RENDERED = 480  # pixels: fine enough for the sensor noise to be that of the source
_REPETITIONS = 64  # of the videos in an epoch: one of a few videos would be over before it began
_CONFIG = Config()
OURS, AUGMENTED, AUTHORS = "ours", "ours, augmented", "authors' procedure"
DECODING, BATCHES = "decoding alone", "decoding into batches"

Video = dict[str, list[str]]  # modality → paths of its frames


def _render_frames(clip_id: str, frames: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields modality → image of the first `frames` frames of a clip, repeated from its start where it is shorter."""
    skeletons = demo_skeletons(clip_id)
    skeletons = skeletons[np.arange(frames) % (len(skeletons) - 1)]
    bound = bound_in_pixels(FlowSettings.bound, _RENDERED, _RENDERED)
    for i, (colour, depth) in enumerate(render(stage(skeletons, _RENDERED, clip_id))):
        flow = true_flow(skeletons, min(i, frames - 2), _RENDERED, clip_id)
        yield {"rgb": colour[..., ::-1], "depth": depth, "flow": encode_flow(flow, bound)[..., ::-1]}


def write_sources(folder: Path, videos: int, frames: int) -> list[Video]:
    """Renders clips as 640×480 JPEG files of each modality."""
    available = demo_clip_ids(subjects=2)
    sources = []
    for index in tqdm(range(videos), desc="render", unit="video", dynamic_ncols=True):
        video: Video = {modality: [] for modality in _CONFIG.modalities}
        for number, images in enumerate(_render_frames(available[index * len(available) // videos], frames)):
            for modality, image in images.items():
                path = folder / f"{index}_{number}_{modality}.jpg"
                path.write_bytes(_encode(cv2.resize(image, _SOURCE, interpolation=cv2.INTER_LINEAR), modality))
                video[modality].append(str(path))
        sources.append(video)
    return sources


def _encode(image: np.ndarray, modality: str) -> bytes:
    return frame_tools.encode_jpeg(np.ascontiguousarray(image), FlowSettings.quality, full_chroma=modality == "flow")


def write_records(folder: Path, sources: list[Video], size: int = _CONFIG.frame_size) -> tuple[table.Records, Splits]:
    """The same frames as records of frames of `size` pixels, and an epoch of them."""
    class_names, videos = tuple(map(str, range(10))), []
    for index, video in enumerate(sources):
        frames = {
            modality: [
                _encode(frame_tools.resize(frame_tools.read_image(Path(path)), size), modality) for path in paths
            ]
            for modality, paths in video.items()
        }
        length, video_id = len(video["rgb"]), f"video{index}"
        serialized = encode_video(About(video_id, length, length, size, size, grey=("depth",)), frames)
        path = record_path(folder, video_id)
        write_record(path, serialized)
        entry = (length, length, path.stat().st_size, table.checksum(serialized), "", "depth")
        videos.append(table.Video(video_id, class_names[index % 10], *entry))
    description = table.Description("benchmark", "benchmark", "rendered", class_names, _CONFIG.modalities, size, 95)
    records = table.Records(folder, description, tuple(videos))
    return records, Splits(records.videos * _REPETITIONS, (), (), class_names)


def authors_dataset(sources: list[Video]) -> tf.data.Dataset:
    """The authors' procedure: everything from the original files, at every step."""
    paths = {m: tf.constant([video[m] for video in sources]) for m in _CONFIG.modalities}
    length = len(sources[0]["rgb"])

    def sample(index):
        drawn = augmentation.draw(_CONFIG, tf.constant(length), tf.stack([index, tf.constant(0, tf.int64)]))

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
            return _authors_colors(images, drawn) if modality == "rgb" else images

        return {m: clip(m) for m in _CONFIG.modalities}

    dataset = tf.data.Dataset.range(10**9).map(sample, num_parallel_calls=8)
    return dataset.batch(_CONFIG.batch_size, drop_remainder=True).prefetch(10)


def _authors_colors(clip: tf.Tensor, drawn: augmentation.Augmentation) -> tf.Tensor:
    """`augmentation.distort_colors` as the authors have it, with TensorFlow's image operations."""
    strengths = drawn.color_strengths
    distortions = {
        "b": lambda x: tf.image.adjust_brightness(x, 64.0 * strengths[0] - 32.0),
        "s": lambda x: tf.image.adjust_saturation(x, 0.5 + strengths[1]),
        "h": lambda x: tf.image.adjust_hue(x, 0.4 * strengths[2] - 0.2),
        "c": lambda x: tf.image.adjust_contrast(x, 0.5 + strengths[3]),
    }

    def apply(order):
        x = clip
        for name in order:
            x = distortions[name](x)
        return tf.clip_by_value(x, 0.0, 255.0)

    branches = [lambda order=order: apply(order) for order in augmentation.COLOR_ORDERS]
    return tf.switch_case(drawn.color_order, branches)


def decoding_dataset(paths: list[str]) -> tf.data.Dataset:
    """Nothing but decoding: 8 whole stored frames of each modality, of which one pixel is kept."""

    def sample(path):
        frames = pipeline.read_frames(path, _CONFIG.modalities)
        images = [tf.image.decode_jpeg(x, channels=3) for m in _CONFIG.modalities for x in tf.unstack(frames[m][:8], 8)]
        return tf.stack([image[0, 0] for image in images])

    dataset = tf.data.Dataset.from_tensor_slices(paths).repeat()
    dataset = dataset.map(sample, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(_CONFIG.batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def batches_dataset(paths: list[str]) -> tf.data.Dataset:
    """Decoding into batches of the training output, without augmentation, mixing or labels."""
    margin = (_CONFIG.frame_size - _CONFIG.crop_size) // 2
    window = [margin, margin, _CONFIG.crop_size, _CONFIG.crop_size]

    def sample(path):
        frames = pipeline.read_frames(path, _CONFIG.modalities)
        return {
            m: tf.stack([tf.image.decode_and_crop_jpeg(x, window) for x in tf.unstack(frames[m][:8], 8)])
            for m in _CONFIG.modalities
        }

    dataset = tf.data.Dataset.from_tensor_slices(paths).repeat()
    dataset = dataset.map(sample, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(_CONFIG.batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _contestant(make_dataset: Callable[[], tf.data.Dataset]) -> Callable[[], Step]:
    def make_step():
        iterator = iter(make_dataset())

        def step():
            next(iterator)
            return _CONFIG.batch_size

        return step

    return make_step


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("videos", 8, "Source videos.", 1, flag_values=flag_values)
    flags.DEFINE_integer("frames", 24, "Frames of each.", 9, flag_values=flag_values)
    turn_flags(flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns its ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = write_sources(folder, values.videos, values.frames)
        records, splits = write_records(folder, sources)
        paths = [str(records.path(video)) for video in splits.train]

        def ours():
            return pipeline.training_dataset(records, splits, _CONFIG)

        def augmented():
            return ours().map(partial(pipeline.training_input, config=_CONFIG)).prefetch(1)

        contestants = {
            OURS: _contestant(ours),
            AUGMENTED: _contestant(augmented),
            AUTHORS: _contestant(lambda: authors_dataset(sources)),
            DECODING: _contestant(lambda: decoding_dataset(paths)),
            BATCHES: _contestant(lambda: batches_dataset(paths)),
        }
        turns = take_turns(contestants, rounds=values.rounds, seconds=values.seconds)
    print(machine())
    print("a sample is 8 frames of 3 modalities")
    print_turns(turns)
    pairs = [*((OURS, other) for other in (AUTHORS, DECODING, BATCHES)), (AUGMENTED, AUTHORS)]
    return {key: value for pair in pairs for key, value in print_ratio(turns, *pair).items()}


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
