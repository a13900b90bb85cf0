"""Renders the sample clips: `python samples/render.py`. A person who is not in the demo data set, in its test view."""

from __future__ import annotations

from pathlib import Path

import cv2

from data_prep.synthetic.demo_skeletons import demo_skeletons
from data_prep.synthetic.rendering.clip import render, stage

SIZE = 80  # pixels, as of the demo data set
RATE = 30.0  # frames per second
CLIPS = {"sit_down": "a05_s09_e00_v03", "throw": "a11_s09_e00_v03", "walk_around": "a04_s09_e00_v03"}


def main() -> None:
    """Writes <clip>_rgb.avi and <clip>_depth.avi beside this file."""
    for name, clip_id in CLIPS.items():
        writers = {}
        for modality, colour in (("rgb", True), ("depth", False)):
            path = Path(__file__).with_name(f"{name}_{modality}.avi")
            code = cv2.VideoWriter_fourcc(*"MJPG")
            writers[modality] = cv2.VideoWriter(str(path), code, RATE, (SIZE, SIZE), isColor=colour)
            writers[modality].set(cv2.VIDEOWRITER_PROP_QUALITY, 95)
        for picture, depth in render(stage(demo_skeletons(clip_id), SIZE, clip_id)):
            writers["rgb"].write(picture[..., ::-1])
            writers["depth"].write(depth)
        for writer in writers.values():
            writer.release()


if __name__ == "__main__":
    main()
