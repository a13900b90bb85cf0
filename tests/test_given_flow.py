"""Flow that comes with a data set: taken as it is, counted, checked and recorded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from preparing import prepare

from data_prep.flow.encoding import decode_flow, encode_flow
from data_prep.flow.settings import GivenFlowSettings
from data_prep.raw.base import RawVideo
from data_prep.video.frames import decode_image, encode_jpeg
from data_prep.video.given_flow import accept_given_flow
from data_prep.video.record import VideoSettings, make_frames
from data_prep.video.sources import ImageFolder
from data_prep.video.videos import VideoFile
from dmcl_tf.data.records import decode_video, read_record
from dmcl_tf.errors import InputError

SIZE = 24
SETTINGS = VideoSettings(("rgb", "flow"), SIZE, flow=GivenFlowSettings())


def flow_image(index):
    flow = np.zeros((SIZE, SIZE, 2), np.float32)
    flow[4:20, 4:20] = (1 + 0.25 * index, -1)
    return encode_flow(flow, 5)[..., ::-1].copy()


def write_images(folder, images):
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        (folder / f"{index}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return ImageFolder(folder)


def make_video(root, frames=12, flows=12, edit=None):
    random = np.random.RandomState(0)
    images = [flow_image(index) for index in range(flows)]
    if edit:
        images[3] = edit(images[3])
    rgb = write_images(root / "rgb", [random.randint(0, 256, (SIZE, SIZE, 3), np.uint8) for _ in range(frames)])
    return RawVideo("clip", "wave", {"rgb": rgb, "flow": write_images(root / "flow", images)})


@pytest.mark.parametrize("flows", [12, 11])
def test_as_many_images_as_frames_or_one_fewer(tmp_path, flows):
    frames, warnings, _ = make_frames(make_video(tmp_path, flows=flows), SETTINGS)
    assert warnings == []
    expected = [encode_jpeg(flow_image(min(index, flows - 1)), 95, full_chroma=True) for index in range(12)]
    assert frames["flow"] == expected
    flow = decode_flow(decode_image(frames["flow"][4])[..., ::-1], 5)
    np.testing.assert_allclose(np.median(flow[6:18, 6:18], axis=(0, 1)), [2, -1], atol=0.05)


def test_the_length_that_a_container_estimates_refuses_nothing(tmp_path):
    """A file of 70 frames, of which its container's rate and duration make 65."""
    video = VideoFile(Path(__file__).parent / "odd_inputs/vfr.mkv")
    flow = write_images(tmp_path / "flow", [flow_image(index % 12) for index in range(70)])
    assert video.declared_length() == 65
    frames, warnings, _ = make_frames(RawVideo("clip", "wave", {"rgb": video, "flow": flow}), SETTINGS)
    assert (len(frames["flow"]), len(frames["rgb"]), warnings) == (70, 70, [])


@pytest.mark.parametrize("flows", [10, 13])
def test_another_number_is_refused(tmp_path, flows):
    message = f"{tmp_path}/flow: {flows} flow images for 12 frames of rgb; expected as many, or one fewer"
    with pytest.raises(InputError, match=message):
        make_frames(make_video(tmp_path, flows=flows), SETTINGS)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda image: image[..., 0], "3.png: a grey image; flow images have three channels"),
        (lambda image: image[:20], "3.png: of 24×20 pixels, but the first flow image is of 24×24"),
    ],
)
def test_images_that_are_no_flow_are_left_out_and_named(tmp_path, edit, reason):
    frames, warnings, _ = make_frames(make_video(tmp_path, edit=edit), SETTINGS)
    assert len(frames["flow"]) == 11
    assert reason in warnings[0]


def test_videos_without_flow_stay_as_they_are(tmp_path):
    sources = {"rgb": make_video(tmp_path).sources["rgb"]}
    assert accept_given_flow(sources) == sources


def test_it_goes_into_the_records_and_is_said_to_be_given(tmp_path):
    lines = ["video_id,label,split,rgb,flow"]
    for label in ("wave", "clap"):
        for split in ("train", "test"):
            make_video(tmp_path / f"{label}_{split}", flows=11)
            lines.append(f"{label}_{split},{label},{split},{label}_{split}/rgb,{label}_{split}/flow")
    (tmp_path / "videos.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    common = ("--dataset=custom", f"--videos={tmp_path / 'videos.csv'}", f"--data_dir={tmp_path}", f"--size={SIZE}")
    records = prepare(*common)
    assert records.description.modalities == ("rgb", "flow")
    assert records.description.flow == {"algorithm": "given", "encoding": None}
    frames = decode_video(read_record(records.path(records.by_id["wave_test"])))[1]
    assert len(frames["flow"]) == 12
    assert frames["flow"][0] == encode_jpeg(flow_image(0), 95, full_chroma=True)
    with pytest.raises(InputError, match=r"holds records made with flow\.encoding=.*, but flow\.encoding=.*uv"):
        prepare(*common, "--flow_encoding=uv")
    named = prepare(*common, "--flow_encoding=uv", f"--records={tmp_path / 'named'}")
    assert named.description.flow == {"algorithm": "given", "encoding": "uv"}
