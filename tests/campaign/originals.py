"""Sound inputs of every kind, made once, of which damaged copies are tried."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np

TESTS = Path(__file__).resolve().parents[1]
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

import raw  # noqa: E402

from data_prep.synthetic.demo_skeletons import demo_clip_ids, demo_skeletons  # noqa: E402

IMAGES = (".jpg", ".png", ".tif", ".bmp", ".webp", ".pgm", ".npy")
GREY = ("tif", "pgm", "npy")  # of distances
VIDEOS = ("land.mp4", "rot90.mp4", "trim.mov", "vfr.mkv", "gray16.mkv", "gap.avi")
MODALITIES = ("rgb", "depth")
FRAMES = 5
EPOCHS = 8


def make(root: Path) -> None:
    """Makes the sound inputs below `root`/sound, and beside them files that nothing may touch."""
    sound = root / "sound"
    if (sound / "complete").exists():
        return
    for folder in ("victims", "cwd", "cases"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("victims/secret.txt", "victims/ckpt-7.index", "evil", "cwd/evil"):
        (root / name).write_text("nobody may change this\n")
    _write_media(sound / "raw")
    _write_own(sound / "own")
    _write_run(sound)
    (sound / "complete").touch()


def _write_media(folder: Path) -> None:
    for ending in IMAGES:
        for index in range(FRAMES):
            image = raw.depth_frame(index) if ending[1:] in GREY else raw.colour_frame(index)
            path = folder / "images" / ending[1:] / f"{index:03}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if ending == ".npy":
                np.save(path, image)
            else:
                raw.write_image(path, image)
    (folder / "videos").mkdir()
    for name in VIDEOS:
        shutil.copy(TESTS / "odd_inputs" / name, folder / "videos" / name)
    raw.write_video(folder / "videos" / "own.avi", 9)
    volume = np.stack([raw.depth_frame(index) for index in range(FRAMES)], axis=2)
    for version in ("5", "7.3"):
        raw.write_volume(folder / "volumes" / f"v{version}.mat", volume, version=version)
    np.save(folder / "volumes" / "v.npy", np.moveaxis(volume, 2, 0))
    clip_id = demo_clip_ids()[0]
    skeletons = demo_skeletons(clip_id)[:4].round(3).tolist()
    (folder / "skeletons").mkdir()
    (folder / "skeletons" / f"{clip_id}.json").write_text(json.dumps({"skeletons": skeletons}))


def _write_own(folder: Path) -> None:
    """A CSV file of own videos, and what it lists."""
    lines = ["video_id,label,split,subject,rgb,depth"]
    for index in range(6):
        split = ("train", "train", "test")[index % 3]
        lines.append(f"v{index},{('wave', 'sit')[index % 2]},{split},p{index},{index}.avi,{index}")
        raw.write_video(folder / f"{index}.avi", 9, seed=index)
        for frame in range(9):
            image = (raw.depth_frame(frame, index) // 10).clip(0, 255).astype(np.uint8)
            path = folder / str(index) / f"{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    (folder / "videos.csv").write_text("\n".join(lines) + "\n")


def _write_run(sound: Path) -> None:
    """Records, a run on them with history, checkpoints and results, and its export."""
    import pandas as pd
    import tiny_run

    from dmcl_tf.evaluate import EvaluateSettings, evaluate
    from dmcl_tf.export import ExportSettings, export
    from dmcl_tf.learning.loop import history_columns

    records = tiny_run.write_noisy_records(sound / "records", modalities=MODALITIES, lengths=(9, 12))
    config = tiny_run.make_config(modalities=MODALITIES, epochs=EPOCHS, batch_size=4)
    folder = tiny_run.make_run(sound / "runs" / "run", records, config)
    values = {name: 50.0 if name.startswith("validation_") else 1.0 for name in history_columns(config)}
    folder.write_history(pd.DataFrame({**values, "epoch": range(EPOCHS)}))
    evaluate(EvaluateSettings(folder.directory))
    export(ExportSettings(folder.directory, sound / "exported"))
