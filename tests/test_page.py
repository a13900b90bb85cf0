"""The page of the server, in a real browser."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, DRIVER, Browser
from server_process import Server

from dmcl_tf.export import read_exported

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("starlette") is None, reason="the extra serve is not installed"),
    pytest.mark.skipif(not (DRIVER and CHROMIUM), reason="there is no Chromium with chromedriver"),
]
SAMPLES = Path(__file__).parents[1] / "samples"
KEEP = os.environ.get("KEEP_PICTURES")  # a folder, to look at what the page looks like


@pytest.fixture(scope="module")
def server(tmp_path_factory, tiny_model):
    started = Server(tmp_path_factory.mktemp("temporary"), f"--model={tiny_model}", "--max_upload=1")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def page(server, browser, request):
    """Opens the page in a window; a picture of it is kept afterwards, where one wants to look at it."""

    def open_page(**window):
        browser.open(f"http://127.0.0.1:{server.port}/", **window)
        browser.wait("document.querySelectorAll('input[type=file]').length == 3")
        return browser

    yield open_page
    if KEEP:
        browser.picture(Path(KEEP) / f"{request.node.name}.png")


def predict(page, **files):
    for modality, path in files.items():
        page.type(f"#file-{modality}", path)
    page.click("#send")
    page.wait("!document.querySelector('#send').disabled && document.querySelector('#status').textContent == ''")


def test_two_videos_and_a_modality_switched_off(page, server, tiny_model):
    page = page()
    videos = {name: SAMPLES / f"throw_{name}.avi" for name in ("rgb", "depth")}
    predict(page, **videos)
    assert page.run("document.querySelector('#error').hidden")
    answer = page.run("document.querySelector('#answer').textContent")
    likeliest = np.argmax(server.upload(**videos)[1]["sum"]["probabilities"])
    assert answer.startswith(f"{read_exported(tiny_model).class_names[likeliest]}, ")
    assert answer.endswith("by rgb + depth + flow")
    assert page.run("document.activeElement.id") == "answer"  # screen readers go on there
    assert page.run("document.querySelectorAll('#strips img').length") == 24
    assert page.run("[...document.images].every(image => image.naturalWidth > 0)")
    captions = "[...document.querySelectorAll('caption')].map(caption => caption.textContent)"
    assert page.run(captions) == ["sum of rgb + depth + flow", "rgb", "depth", "flow"]
    alone = page.run("document.querySelectorAll('table')[2].querySelector('.best').textContent")
    page.type("#use-rgb", " ")  # by keyboard
    page.type("#use-flow", " ")
    answer = page.run("document.querySelector('#answer').textContent")
    assert answer.endswith("by depth")
    assert alone.startswith(answer.partition(",")[0])
    page.click("#use-depth")
    assert "switch one on" in page.run("document.querySelector('#answer').textContent")
    for name in ("rgb", "depth", "flow"):
        page.click(f"#use-{name}")


@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_window(page, dark):
    page = page(width=360, height=1400, dark=dark)
    predict(page, rgb=SAMPLES / "sit_down_rgb.avi")
    assert page.run("!document.querySelector('#result').hidden")
    assert page.run("document.documentElement.scrollWidth") <= 360
    black = page.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 30)"
    assert black == dark


def test_what_is_wrong_is_said(page, tmp_path):
    (tmp_path / "notes.mp4").write_text("no video")
    page = page()
    predict(page, rgb=tmp_path / "notes.mp4")
    assert page.run("document.querySelector('#error').textContent").startswith("rgb: not a video that can be decoded")
    assert page.run("document.querySelector('#result').hidden")
    (tmp_path / "large.mp4").write_bytes(bytes(2_000_000))
    predict(page, rgb=tmp_path / "large.mp4")
    assert "1 MB at most" in page.run("document.querySelector('#error').textContent")


def test_the_webcam(page):
    page = page(height=1900)
    page.click("#record")
    page.wait("document.querySelector('#status').textContent.includes('seconds left')")
    page.wait("!document.querySelector('#result').hidden || !document.querySelector('#error').hidden")
    assert page.run("document.querySelector('#error').textContent") == ""
    assert "webcam" in page.run("document.querySelector('#name-rgb').textContent")
    assert page.run("!document.querySelector('#timeline').hidden")
    assert "from 0.0 s" in page.run("document.querySelector('canvas').getAttribute('aria-label')")
