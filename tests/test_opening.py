"""Raw files that would hang, fill memory, lead elsewhere or break a library: each is refused in one line."""

from __future__ import annotations

import os
import re
import resource
import struct
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from raw import colour_frame, depth_frame, write_image, write_video, write_volume
from scipy import sparse
from scipy.io import savemat

from data_prep.raw.custom import configure
from data_prep.synthetic.rendering.dataset import load_skeletons
from data_prep.video.frames import decode_image, read_image
from data_prep.video.opening import Limits, open_file, read_file, shown
from data_prep.video.sources import ImageFolder, ImageSequence, MatVolume, NumpyVolume, VideoFile, open_source
from dmcl_tf.errors import InputError
from dmcl_tf.files import read_bytes

KINDS = (VideoFile, MatVolume, NumpyVolume)


def refused(source, match, limits=None):
    """What is wrong with a source: raised, or in place of its first frame; in one line."""
    try:
        error = next(source.frames(limits) if limits else source.frames())
    except InputError as raised:
        error = raised
    assert isinstance(error, InputError)
    assert re.search(match, str(error))
    assert "\n" not in str(error)
    assert str(error).encode()
    return str(error)


# ---- what is no regular file


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("ending", [".mp4", ".mat", ".npy", ".png"])
def test_named_pipes_are_never_waited_for(tmp_path, ending, linked):
    path = tmp_path / f"clip{ending}"
    os.mkfifo(tmp_path / "pipe" if linked else path)
    if linked:
        path.symlink_to(tmp_path / "pipe")
    sources = [ImageSequence((path,)), *(kind(path) for kind in KINDS)]
    for source in sources:
        refused(source, rf"clip\{ending}: it is a named pipe; expected a file")
        assert len(list(source.problems())) == 1
    with pytest.raises(InputError, match="neither a file nor a folder"):
        open_source(path)


@pytest.mark.parametrize("kind", KINDS)
def test_devices_are_never_read(kind):
    refused(kind(Path("/dev/zero")), "/dev/zero: it is a device; expected a file")


def test_a_pipe_as_a_file_of_skeletons(tmp_path):
    os.mkfifo(tmp_path / "a01_s01_e00_v01.json")
    with pytest.raises(InputError, match="it is a named pipe; expected a file"):
        load_skeletons(tmp_path / "a01_s01_e00_v01.json")


def test_a_pipe_as_the_csv_file(tmp_path):
    os.mkfifo(tmp_path / "videos.csv")
    with pytest.raises(InputError, match=r"--videos=.*videos\.csv: it is a named pipe; expected a file"):
        configure(videos=str(tmp_path / "videos.csv"))
    with pytest.raises(InputError, match="--videos=/dev/zero: it is a device"):
        configure(videos="/dev/zero")


# ---- sizes


@pytest.fixture
def _little_memory():
    with little_memory(2**30):
        yield


@contextmanager
def little_memory(more):
    """Only so many bytes more than there are now: whoever takes more fails."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def sparse_file(path, head=b"", size=8 * 2**30):
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("_little_memory")
def test_sparse_files_of_gigabytes(tmp_path):
    refused(ImageSequence((sparse_file(tmp_path / "0.png"),)), "the file takes 8,192 MiB; expected at most 1,024")
    with pytest.raises(InputError, match="the file takes 8,192 MiB"):
        configure(videos=str(sparse_file(tmp_path / "videos.csv")))
    refused(VideoFile(sparse_file(tmp_path / "a.mp4")), r"a\.mp4: not a video that can be decoded")
    for name, head in (
        ("5.mat", b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"),
        ("7.mat", b"\x89HDF\r\n\x1a\n"),
        ("0.mat", b""),
    ):
        refused(MatVolume(sparse_file(tmp_path / name, head)), name)
    refused(NumpyVolume(sparse_file(tmp_path / "a.npy")), r"a\.npy: not a readable NumPy file")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_small_file_takes_little_memory_whatever_the_limit(tmp_path):
    path = write_image(tmp_path / "0.png", colour_frame(0))
    with little_memory(2**27):
        assert read_file(path) == read_bytes(path) == path.read_bytes()


def huge(kind):
    """A few hundred bytes that claim to be a huge image."""
    if kind == "PNG":
        header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b""))
        parts = (struct.pack(">I", len(data)) + name + data for name, data in chunks)
        return b"\x89PNG\r\n\x1a\n" + b"".join(part + struct.pack(">I", zlib.crc32(part[4:])) for part in parts)
    ending = {"JPEG": ".jpg", "WebP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}[kind]
    content = bytearray(cv2.imencode(ending, colour_frame(0))[1].tobytes())
    if kind == "JPEG":
        struct.pack_into(">HH", content, content.find(b"\xff\xc0") + 5, 60000, 60000)
    elif kind == "WebP":  # fourteen bits each
        struct.pack_into("<I", content, 21, 2**28 - 1)
    elif kind == "BMP":
        struct.pack_into("<ii", content, 18, 60000, 60000)
    else:
        for tag in (256, 257):
            place = content.find(struct.pack("<HH", tag, 3), struct.unpack_from("<I", content, 4)[0])
            struct.pack_into("<H", content, place + 8, 60000)
    return bytes(content)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("_little_memory")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP", "TIFF", "BMP"])
def test_small_images_that_claim_to_be_huge(tmp_path, kind):
    path = tmp_path / "0.png"
    path.write_bytes(huge(kind))
    message = refused(ImageSequence((path,)), "megapixels, which --max_pixels raises|is cut off or damaged")
    assert ("megapixels" in message) == (kind != "BMP")  # its size follows from its header
    with pytest.raises(InputError, match=r"megapixels|cut off"):
        decode_image(huge(kind))


def test_the_limit_of_pixels_is_a_setting(tmp_path):
    path = write_image(tmp_path / "0.png", colour_frame(0))
    refused(ImageSequence((path,)), "it is of 32×24 pixels; expected at most 0.0005 megapixels", Limits(pixels=500))
    video = write_video(tmp_path / "clip.avi", 3)
    refused(VideoFile(video), r"clip\.avi: it is of 32×24 pixels", Limits(pixels=500))
    for version in ("5", "7.3"):
        volume = write_volume(tmp_path / "v.mat", np.zeros((24, 32, 3)), version=version)
        refused(MatVolume(volume), "it is of 32×24 pixels", Limits(pixels=500))
    np.save(tmp_path / "v.npy", np.zeros((3, 24, 32)))
    refused(NumpyVolume(tmp_path / "v.npy"), "it is of 32×24 pixels", Limits(pixels=500))


def test_the_limit_of_frames_is_a_setting(tmp_path):
    for index in range(5):
        write_image(tmp_path / "folder" / f"{index}.png", colour_frame(index))
    np.save(tmp_path / "v.npy", np.zeros((5, 4, 4)))
    sources = [
        ImageFolder(tmp_path / "folder"),
        VideoFile(write_video(tmp_path / "clip.avi", 5)),
        MatVolume(write_volume(tmp_path / "v.mat", np.zeros((4, 4, 5)), version="7.3")),
        NumpyVolume(tmp_path / "v.npy"),
    ]
    for source in sources:
        assert len(list(source.frames(Limits(frames=5)))) == 5
        with pytest.raises(InputError, match="more than 4 frames: cut it into several videos, or raise --max_frames"):
            list(source.frames(Limits(frames=4)))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("_little_memory")
@pytest.mark.parametrize(
    ("shape", "chunks"),
    [((10**9, 4, 4), (1, 4, 4)), ((9, 10**5, 10**5), (1, 100, 100)), ((9, 8000, 8000), (9, 8000, 8000))],
)
def test_hdf5_that_declares_more_than_it_has(tmp_path, shape, chunks):
    with h5py.File(tmp_path / "v.mat", "w") as file:
        file.create_dataset("d", shape, np.uint16, chunks=chunks)
    refused(MatVolume(tmp_path / "v.mat"), "more than 100,000 frames|megapixels|a part of the volume takes 1,099 MiB")


# ---- what libraries cannot read


VARIABLES = {
    "sparse": sparse.eye(20, format="csc"),
    "cell": np.array([[np.ones((4, 4)), "text"]], dtype=object),
    "struct": {"depth": np.ones((4, 4, 3))},
    "text": "no volume",
    "complex": np.ones((4, 4, 3)) * 1j,
}


@pytest.mark.parametrize("kind", VARIABLES)
def test_variables_of_format_5_that_are_no_volume(tmp_path, kind):
    savemat(tmp_path / "v.mat", {"x": VARIABLES[kind]})
    if kind != "complex":
        refused(MatVolume(tmp_path / "v.mat"), r"v\.mat: has no volume of numbers, but x")
    refused(MatVolume(tmp_path / "v.mat", "x"), r"v\.mat: ")


def test_variables_of_format_7_that_are_no_volume(tmp_path):
    with h5py.File(tmp_path / "v.mat", "w") as file:
        file.create_group("s").create_dataset("data", data=[1.0])
        file.create_dataset("cell", (2,), h5py.ref_dtype)
        file.create_dataset("complex", data=np.ones((3, 4, 4), complex))
    for name in (None, "s", "cell", "complex"):
        refused(MatVolume(tmp_path / "v.mat", name), r"v\.mat: ")


@pytest.mark.parametrize("error", [cv2.error("boom"), MemoryError(), ValueError("boom\nsecond line")])
def test_errors_of_the_decoders_name_the_file(tmp_path, monkeypatch, error):
    image, video = write_image(tmp_path / "0.png", colour_frame(0)), write_video(tmp_path / "a.avi", 3)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(cv2, "imdecode", fail)
    refused(ImageSequence((image,)), r"0\.png: ")
    monkeypatch.setattr(cv2, "VideoCapture", fail)
    refused(VideoFile(video), r"a\.avi: ")


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"a\nb.png", b"\x1b[31m.png"])
def test_names_that_are_no_text(tmp_path, name):
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    path.write_bytes(cv2.imencode(".png", colour_frame(0))[1].tobytes())
    (frame,) = ImageFolder(tmp_path).frames()
    assert "\\x" in frame.where
    path.write_bytes(b"")
    refused(ImageFolder(tmp_path), r"\\x.*: the file is empty")
    video = Path(f"{path}.avi")
    video.write_bytes(write_video(tmp_path / "a.avi", 2).read_bytes())
    refused(VideoFile(video), "OpenCV opens no file of such a name; rename it")


def test_a_nul_in_a_path(tmp_path):
    for kind in (*KINDS, ImageFolder):
        refused(kind(tmp_path / "a\0b"), r"a\\x00b: ")
    with pytest.raises(InputError, match=r"a\\x00b: "):
        open_source(tmp_path / "a\0b")


@pytest.mark.parametrize(
    "text",
    ["#EXTM3U\n/etc/passwd\n", "ffconcat version 1.0\nfile /etc/passwd\n", "v=0\r\n", "<?xml version='1.0'?><MPD/>"],
)
def test_playlists_open_no_other_file(tmp_path, text):
    (tmp_path / "clip.mp4").write_text(text)
    refused(VideoFile(tmp_path / "clip.mp4"), r"clip\.mp4: a playlist, which names other files; expected a video file")


def test_no_playlist_hides_behind_a_tag(tmp_path):
    other = write_video(tmp_path / "other.avi", 9)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\n{other}\n#EXT-X-ENDLIST\n"
    (tmp_path / "clip.avi").write_bytes(b"ID3\x04\0\0\0\0\0\0" + playlist.encode())
    refused(VideoFile(tmp_path / "clip.avi"), r"clip\.avi: it begins with the tag of a piece of music")


# ---- links and data that lie elsewhere


@pytest.fixture
def outside(tmp_path):
    """A folder for the CSV file, and a video and an image beside it."""
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "out.avi", 9)
    write_image(tmp_path / "out.png", colour_frame(0))
    write_video(tmp_path / "in" / "a.avi", 9)
    return tmp_path / "in"


def read(folder, rgb, **options):
    rows = [("a", "left", "train", "a.avi"), ("b", "right", "train", "a.avi"), ("c", "left", "test", rgb)]
    lines = [",".join(row) for row in (("video_id", "label", "split", "rgb"), *rows)]
    (folder / "videos.csv").write_text("\n".join(lines))
    return configure(videos=str(folder / "videos.csv"), **options).list_videos(folder)


def test_links_are_followed_before_they_are_judged(outside):
    (outside / "link.avi").symlink_to("../out.avi")
    (outside / "folder").symlink_to("..")
    (outside / "inner.avi").symlink_to("a.avi")
    for path in ("link.avi", "folder/out.avi", "../out.avi", "folder/in/../out.avi"):
        (skipped,) = read(outside, path).skipped
        assert f"{path} leaves the folder of the CSV file; --allow_outside permits it" in skipped.reason
        assert read(outside, path, allow_outside=True).skipped == ()
    for path in ("inner.avi", "folder/in/a.avi"):
        assert read(outside, path).skipped == ()


def test_a_link_that_leads_to_itself(outside):
    (outside / "loop.avi").symlink_to("loop.avi")
    (skipped,) = read(outside, "loop.avi").skipped
    assert "loop.avi" in skipped.reason
    assert "\n" not in skipped.reason


def test_links_among_the_images_of_a_folder(outside):
    (outside / "frames").mkdir()
    write_image(outside / "frames" / "0.png", colour_frame(0))
    (outside / "frames" / "1.png").symlink_to("0.png")
    (outside / "frames" / "2.png").symlink_to("../../out.png")
    (video,) = (video for video in read(outside, "frames").videos if video.video_id == "c")
    refused(video.sources["rgb"], r"2\.png is a link that leaves .*; --allow_outside permits it")
    (video,) = (video for video in read(outside, "frames", allow_outside=True).videos if video.video_id == "c")
    assert len(list(video.sources["rgb"].frames())) == 3


def test_hdf5_data_in_other_files(tmp_path):
    volume = np.stack([depth_frame(index) for index in range(3)])
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["d"] = volume
    volume.tofile(tmp_path / "raw.bin")
    layout = h5py.VirtualLayout(volume.shape, volume.dtype)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "d", volume.shape)
    for kind in ("link", "external", "virtual"):
        with h5py.File(tmp_path / f"{kind}.mat", "w") as file:
            if kind == "link":
                file["d"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "d")
            elif kind == "external":
                external = [(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)]
                file.create_dataset("d", volume.shape, volume.dtype, external=external)
            else:
                file.create_virtual_dataset("d", layout)
        refused(MatVolume(tmp_path / f"{kind}.mat"), "d is (a link to another file|stored in other files)")


# ---- the opener itself


def test_what_the_opener_says(tmp_path):
    with pytest.raises(InputError, match="none: No such file or directory; copy or download it again"):
        open_file(tmp_path / "none")
    with pytest.raises(InputError, match="it is a folder; expected a file"):
        read_file(tmp_path)
    (tmp_path / "file").write_bytes(b"12345")
    assert read_file(tmp_path / "file", Limits(bytes=5)) == b"12345"
    with pytest.raises(InputError, match="the file takes"):
        read_file(tmp_path / "file", Limits(bytes=4))
    assert shown("a\nb\udcff") == "a\\x0ab\\xff"
    assert read_image(write_image(tmp_path / "0.png", colour_frame(1)))[0, 0, 0] == colour_frame(1)[0, 0, 0]
