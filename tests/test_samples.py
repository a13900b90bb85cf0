"""What comes along to be tried at once: clips that the renderer makes, and what the README says of them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import cv2
import numpy as np

from data_prep.synthetic.demo_skeletons import demo_skeletons
from data_prep.synthetic.rendering.clip import render, stage
from data_prep.video.sources import open_source
from workflow import __main__ as workflow

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "samples"


def test_predict_without_flags_says_what_the_readme_says(capsys):
    assert workflow.main(["predict"]) == 0
    said = capsys.readouterr().out.strip().splitlines()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    expected = re.search(r"```\n( +video_id .*?)\n```", text, re.DOTALL)[1].strip().splitlines()
    assert len(said) == len(expected) == 4
    for line, printed in zip(said[1:], expected[1:]):
        words, numbers = line.split(), printed.split()
        shares = [float(row.pop(-2)) for row in (words, numbers)]
        assert words == numbers
        assert abs(shares[0] - shares[1]) < 0.5  # machines decode and add in different orders


def test_all_of_it_is_small():
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 8e6


def test_the_clips_are_those_of_the_renderer():
    spec = importlib.util.spec_from_file_location("render_samples", SAMPLES / "render.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    name, clip_id = next(iter(script.CLIPS.items()))
    colour, depth = next(render(stage(demo_skeletons(clip_id), script.SIZE, clip_id)))
    for modality, picture in (("rgb", colour[..., ::-1]), ("depth", depth)):
        source = open_source(SAMPLES / f"{name}_{modality}.avi")
        image = next(source.frames()).image
        if image.ndim > picture.ndim:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        assert image.shape == picture.shape
        assert np.abs(image.astype(int) - picture).mean() < 6  # but for compression
        assert source.frame_rate() == script.RATE
