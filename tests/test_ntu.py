"""NTU RGB+D: names, folders, and protocols whose counts are the published ones."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from raw import depth_frame, write_image, write_video

from data_prep.raw.ntu import HOW_TO_GET, list_videos, match_names
from dmcl_tf.data.table import Description, Records, Video
from dmcl_tf.datasets import DATASETS
from dmcl_tf.datasets.ntu import TRAIN_SUBJECTS_60, TRAIN_SUBJECTS_120, draw_subset
from dmcl_tf.datasets.ntu_actions import ACTIONS
from dmcl_tf.datasets.splits import make_splits
from dmcl_tf.errors import InputError

PROTOCOLS = [
    ("ntu60", "cross_subject", 40320, 16560),
    ("ntu60", "cross_view", 37920, 18960),
    ("ntu120", "cross_subject", 63360, 51120),
    ("ntu120", "cross_setup", 54720, 59760),
]


def pairs(subjects, setups, count):
    """`count` different (setup, subject), dealt out evenly."""
    rounds = range(len(setups))
    every = [(setups[(i + turn) % len(setups)], subject) for turn in rounds for i, subject in enumerate(subjects)]
    assert len(set(every[:count])) == count
    return every[:count]


def generate_names():
    """Names of all 114,480 samples by the naming rule.

    Every (setup, subject) that exists has 3 cameras × 2 repetitions × 60 actions: A1 – A60 in setups 1 – 17, A61 – A120
    in setups 18 – 32. Which pairs exist is not published as a list; what is published fixes how many there are of
    training and of test subjects (40,320 / 360 = 112 and 46, then 64 and 96) and in setups of even number (152 of 318).
    The pairs here are made up to these numbers, with subjects 1 – 40 in the first setups and 41 – 106 in the others.
    """
    others_60 = [subject for subject in range(1, 41) if subject not in TRAIN_SUBJECTS_60]
    train_120 = TRAIN_SUBJECTS_120[20:]
    others_120 = [subject for subject in range(41, 107) if subject not in train_120]
    even_60, odd_60, even_120, odd_120 = range(2, 18, 2), range(1, 18, 2), range(18, 33, 2), range(19, 33, 2)
    names = []
    for first_action, groups in (
        (1, [(TRAIN_SUBJECTS_60, even_60, 52), (TRAIN_SUBJECTS_60, odd_60, 60)]),
        (1, [(others_60, even_60, 20), (others_60, odd_60, 26)]),
        (61, [(train_120, even_120, 32), (train_120, odd_120, 32)]),
        (61, [(others_120, even_120, 48), (others_120, odd_120, 48)]),
    ):
        for subjects, setups, count in groups:
            names += [
                f"S{setup:03d}C{camera:03d}P{subject:03d}R{repetition:03d}A{action:03d}"
                for setup, subject in pairs(subjects, setups, count)
                for camera in (1, 2, 3)
                for repetition in (1, 2)
                for action in range(first_action, first_action + 60)
            ]
    return names


@pytest.fixture(scope="module")
def every_name():
    names = set(generate_names())
    assert len(names) == 114480
    return names


def records_of(names):
    """A table of videos as the preparation makes it of these names, without records."""
    names = set(names)
    listing = match_names(Path("nturgb+d_rgb"), names, Path("nturgb+d_depth_masked"), names)
    assert not listing.skipped
    videos = tuple(Video(v.video_id, v.label, 9, 9, 1, "", "", attributes=v.attributes) for v in listing.videos)
    return Records(Path(), Description("ntu", "NTU RGB+D", "", ACTIONS, ("rgb", "depth"), 256, 95), videos)


@pytest.fixture(scope="module")
def every_record(every_name):
    return records_of(every_name)


def split(name, records, **changes):
    return make_splits(DATASETS[name], records, DATASETS[name].protocol(changes))


def missing_skeletons():
    """The names of the 535 samples without usable skeletons: real ones, of most setups and subjects."""
    names = set()
    for line in (Path(__file__).parent / "golden/ntu_missing_skeletons.txt").read_text().splitlines():
        if line.startswith("S"):
            prefix, *actions = line.split()
            for first, _, last in (text.partition("-") for text in actions):
                names |= {f"{prefix}A{action:03d}" for action in range(int(first), int(last or first) + 1)}
    return names


@pytest.mark.parametrize(
    ("name", "protocol", "train", "test"),
    [
        # published counts with all samples, less those without these: 40,320 - 40,091 and so on
        ("ntu60", "cross_subject", 229, 73),
        ("ntu60", "cross_view", 274, 28),
        ("ntu120", "cross_subject", 334, 201),
        ("ntu120", "cross_setup", 252, 283),
    ],
)
def test_published_counts_of_real_names(name, protocol, train, test):
    names = missing_skeletons()
    assert len(names) == 535
    dataset = DATASETS[name]
    videos = [video for video in records_of(names).videos if video.label in dataset.class_names]
    sides = Counter(dataset.side(video, dataset.protocol({"protocol": protocol})) for video in videos)
    assert sides == {"train": train, "test": test}


@pytest.mark.parametrize(("name", "protocol", "train", "test"), PROTOCOLS)
def test_published_counts(every_record, name, protocol, train, test):
    dataset = DATASETS[name]
    splits = split(name, every_record, protocol=protocol)
    trained = splits.train + splits.validation
    assert (len(trained), len(splits.test)) == (train, test)
    assert dataset.expected["videos"] == train + test
    assert Counter(video.label for video in splits.validation) == dict.fromkeys(dataset.class_names, 26)
    assert len({video.video_id for video in trained + splits.test}) == train + test
    letter = {"cross_subject": "P", "cross_view": "C", "cross_setup": "S"}[protocol]
    sides = [{re.search(rf"{letter}(\d+)", video.video_id)[1] for video in side} for side in (trained, splits.test)]
    assert not sides[0] & sides[1]
    assert splits.warnings == ()


def test_expected_numbers(every_record):
    for name in ("ntu60", "ntu120", "ntu120mini"):
        dataset = DATASETS[name]
        videos = [video for video in every_record.videos if video.label in dataset.class_names]
        per_class = Counter(video.label for video in videos)
        assert {key: dataset.expected[key] for key in per_class} == per_class
        assert {f"view {view}": count for view, count in Counter(v.attributes["view"] for v in videos).items()} == {
            key: value for key, value in dataset.expected.items() if key.startswith("view ")
        }


def test_mini_is_a_balanced_half_in_three_versions(every_record):
    whole = split("ntu120", every_record)
    subsets = [split("ntu120mini", every_record, subset=subset) for subset in range(3)]
    names = [{video.video_id for video in splits.train} for splits in subsets]
    for splits, chosen in zip(subsets, names):
        # int(60,240 / 2 / 120) of each class
        assert Counter(video.label for video in splits.train) == dict.fromkeys(ACTIONS, 251)
        assert chosen <= {video.video_id for video in whole.train}
        assert (splits.validation, splits.test) == (whole.validation, whole.test)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert names[one] != names[other]
    with pytest.raises(InputError, match="--subset=3: expected 0, 1 or 2"):
        split("ntu120mini", every_record, subset=3)


def test_the_authors_subset():
    videos = [Video(f"{label}-{k:03d}", label, 9, 9, 1, "", "") for label in ("a", "b") for k in range(500)]
    chosen = {video.video_id for video in draw_subset(videos, ("a", "b"), {"subset": 0})}
    authors = np.random.RandomState(2).choice(500, 250, replace=False)  # classes count from 1
    assert {f"b-{index:03d}" for index in authors} == {name for name in chosen if name.startswith("b")}


def test_a_part_of_the_data_keeps_training_videos():
    names = {f"S001C001P{p:03d}R001A{a:03d}" for p in (1, 2, 3, 4) for a in range(1, 61)}
    assert split("ntu60", records_of(names)).counts() == {"train": 120, "validation": 60, "test": 60}


def test_lists_of_subjects_and_actions():
    assert (len(set(TRAIN_SUBJECTS_60)), len(set(TRAIN_SUBJECTS_120))) == (20, 53)
    assert set(TRAIN_SUBJECTS_60) < set(TRAIN_SUBJECTS_120) < set(range(1, 107))
    assert len(set(ACTIONS)) == 120
    named = {1: "drink water", 43: "falling", 60: "walking apart from each other", 112: "high-five"}
    assert {number: ACTIONS[number - 1] for number in named} == named


def write_sample(root, name, depth="nturgb+d_depth_masked", prefix="MDepth", frames=3):
    write_video(root / "nturgb+d_rgb" / f"{name}_rgb.avi", frames)
    for index in range(frames):
        write_image(root / depth / name / f"{prefix}-{index + 1:08d}.png", depth_frame(index))


@pytest.mark.parametrize(("depth", "prefix"), [("nturgb+d_depth_masked", "MDepth"), ("nturgb+d_depth", "Depth")])
def test_folders_are_read(tmp_path, depth, prefix):
    write_sample(tmp_path, "S018C002P042R001A061", depth, prefix)
    write_sample(tmp_path, "S001C001P001R001A001", depth, prefix)
    first, second = list_videos(tmp_path).videos
    assert (first.label, first.attributes) == ("drink water", {"subject": "1", "view": "1", "setup": "1"})
    assert (second.label, second.attributes) == ("put on headphone", {"subject": "42", "view": "2", "setup": "18"})
    for source in first.sources.values():
        assert len(list(source.frames())) == 3
    np.testing.assert_array_equal(list(first.sources["depth"].frames())[2].image, depth_frame(2))


def test_masked_depth_goes_before_full(tmp_path):
    write_sample(tmp_path, "S001C001P001R001A001")
    write_sample(tmp_path, "S001C001P001R001A001", "nturgb+d_depth", "Depth")
    (video,) = list_videos(tmp_path).videos
    assert video.sources["depth"].path.parent.name == "nturgb+d_depth_masked"


def test_halves_and_other_names_are_skipped_with_the_reason(tmp_path):
    write_sample(tmp_path, "S001C001P001R001A001")
    write_video(tmp_path / "nturgb+d_rgb/S001C001P001R001A002_rgb.avi", 1)
    (tmp_path / "nturgb+d_depth_masked/S001C001P001R001A003").mkdir()
    write_sample(tmp_path, "S001C001P001R001A121")
    write_video(tmp_path / "nturgb+d_rgb/mine_rgb.avi", 1)
    listing = list_videos(tmp_path)
    assert [video.video_id for video in listing.videos] == ["S001C001P001R001A001"]
    reasons = {entry.video_id: entry.reason for entry in listing.skipped}
    assert "there is no" in reasons["S001C001P001R001A002"]
    assert reasons["S001C001P001R001A002"].endswith("nturgb+d_depth_masked/S001C001P001R001A002; unpack it")
    assert reasons["S001C001P001R001A003"].endswith("S001C001P001R001A003_rgb.avi; unpack it")
    assert "expected actions 1 … 120" in reasons["S001C001P001R001A121"]
    assert "not of the form SsssCcccPpppRrrrAaaa" in reasons["mine"]


def test_what_is_missing_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"expected the folder nturgb\+d_rgb there; ask for the data set at"):
        list_videos(tmp_path)
    (tmp_path / "nturgb+d_rgb").mkdir()
    with pytest.raises(
        InputError, match=r"expected the folder nturgb\+d_depth_masked or nturgb\+d_depth there"
    ) as error:
        list_videos(tmp_path)
    assert HOW_TO_GET in str(error.value)
    assert "\n" not in str(error.value)
