"""NTU RGB+D: names, folders, and protocols whose counts are the published ones."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from raw import depth_frame, write_image, write_video

from data_prep.raw import DATASETS
from data_prep.raw.ntu import HOW_TO_GET, TRAIN_SUBJECTS_60, TRAIN_SUBJECTS_120, list_videos, match_names
from dmcl_tf.datasets.ntu_actions import ACTIONS
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


def videos_of(names, actions):
    listing = match_names(Path("nturgb+d_rgb"), names, Path("nturgb+d_depth_masked"), names, actions=actions)
    assert not listing.skipped
    return listing.videos


@pytest.fixture(scope="module")
def every_video(every_name):
    return {actions: videos_of(every_name, actions) for actions in (60, 120)}


def defaults(dataset, **changes):
    return {**{name: setting.default for name, setting in dataset.protocol.items()}, **changes}


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
    splits = dataset.split_videos(videos_of(names, len(dataset.class_names)), protocol=protocol)
    assert (len(splits["train"]) + len(splits["validation"]), len(splits["test"])) == (train, test)


@pytest.mark.parametrize(("name", "protocol", "train", "test"), PROTOCOLS)
def test_published_counts(every_video, name, protocol, train, test):
    dataset = DATASETS[name]
    classes = len(dataset.class_names)
    videos = every_video[classes]
    assert len(videos) == dataset.expected["videos"] == train + test
    splits = dataset.split_videos(videos, **defaults(dataset, protocol=protocol))
    assert len(splits["train"]) + len(splits["validation"]) == train
    assert len(splits["test"]) == test
    assert Counter(video.label for video in splits["validation"]) == dict.fromkeys(range(classes), 26)
    ids = [video.video_id for members in splits.values() for video in members]
    assert len(set(ids)) == train + test
    trained = {
        kind: {re.search(rf"{kind}(\d+)", video.video_id)[1] for video in splits["train"] + splits["validation"]}
        for kind in "SCP"
    }
    tested = {kind: {re.search(rf"{kind}(\d+)", video.video_id)[1] for video in splits["test"]} for kind in "SCP"}
    assert (
        not trained[{"cross_subject": "P", "cross_view": "C", "cross_setup": "S"}[protocol]]
        & (tested[{"cross_subject": "P", "cross_view": "C", "cross_setup": "S"}[protocol]])
    )


def test_expected_numbers(every_video):
    for name in ("ntu60", "ntu120", "ntu120mini"):
        dataset = DATASETS[name]
        videos = every_video[len(dataset.class_names)]
        per_class = Counter(dataset.class_names[video.label] for video in videos)
        assert {key: dataset.expected[key] for key in per_class} == per_class
        assert {f"view {view}": count for view, count in Counter(video.view for video in videos).items()} == {
            key: value for key, value in dataset.expected.items() if key.startswith("view ")
        }


def test_mini_is_a_balanced_half_in_three_versions(every_video):
    mini, full = DATASETS["ntu120mini"], DATASETS["ntu120"]
    whole = full.split_videos(every_video[120], protocol="cross_subject")
    subsets = [mini.split_videos(every_video[120], protocol="cross_subject", subset=subset) for subset in range(3)]
    names = [{video.video_id for video in splits["train"]} for splits in subsets]
    for splits, chosen in zip(subsets, names):
        # int(60,240 / 2 / 120) of each class
        assert Counter(video.label for video in splits["train"]) == dict.fromkeys(range(120), 251)
        assert chosen <= {video.video_id for video in whole["train"]}
        assert (splits["validation"], splits["test"]) == (whole["validation"], whole["test"])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert names[one] != names[other]
    members = [video for video in whole["train"] if video.label == 5]
    authors = np.random.RandomState(5).choice(len(members), 251, replace=False)
    assert {members[index].video_id for index in authors} == {v.video_id for v in subsets[0]["train"] if v.label == 5}
    with pytest.raises(InputError, match="--subset=3: expected 0, 1 or 2"):
        mini.split_videos(every_video[120], protocol="cross_subject", subset=3)


def test_a_part_of_the_data_keeps_training_videos():
    names = {f"S001C001P{p:03d}R001A{a:03d}" for p in (1, 2, 3, 4) for a in range(1, 61)}
    splits = DATASETS["ntu60"].split_videos(videos_of(names, 60), protocol="cross_subject")
    assert {split: len(videos) for split, videos in splits.items()} == {"train": 120, "validation": 60, "test": 60}


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
    assert [video.video_id for video in list_videos(tmp_path, actions=60).videos] == ["S001C001P001R001A001"]
    first, second = list_videos(tmp_path, actions=120).videos
    assert (first.label, first.subject, first.view) == (0, 1, 1)
    assert (second.label, second.subject, second.view) == (60, 42, 2)
    for source in first.sources.values():
        assert len(list(source.frames())) == 3
    np.testing.assert_array_equal(list(first.sources["depth"].frames())[2].image, depth_frame(2))


def test_masked_depth_goes_before_full(tmp_path):
    write_sample(tmp_path, "S001C001P001R001A001")
    write_sample(tmp_path, "S001C001P001R001A001", "nturgb+d_depth", "Depth")
    (video,) = list_videos(tmp_path, actions=60).videos
    assert video.sources["depth"].path.parent.name == "nturgb+d_depth_masked"


def test_halves_and_other_names_are_skipped_with_the_reason(tmp_path):
    write_sample(tmp_path, "S001C001P001R001A001")
    write_video(tmp_path / "nturgb+d_rgb/S001C001P001R001A002_rgb.avi", 1)
    (tmp_path / "nturgb+d_depth_masked/S001C001P001R001A003").mkdir()
    write_video(tmp_path / "nturgb+d_rgb/mine_rgb.avi", 1)
    listing = list_videos(tmp_path, actions=60)
    assert [video.video_id for video in listing.videos] == ["S001C001P001R001A001"]
    reasons = {entry.video_id: entry.reason for entry in listing.skipped}
    assert "there is no" in reasons["S001C001P001R001A002"]
    assert reasons["S001C001P001R001A002"].endswith("nturgb+d_depth_masked/S001C001P001R001A002; unpack it")
    assert reasons["S001C001P001R001A003"].endswith("S001C001P001R001A003_rgb.avi; unpack it")
    assert "not of the form SsssCcccPpppRrrrAaaa" in reasons["mine"]


def test_what_is_missing_says_how_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"expected the folder nturgb\+d_rgb there; ask for the data set at"):
        list_videos(tmp_path, actions=60)
    (tmp_path / "nturgb+d_rgb").mkdir()
    with pytest.raises(
        InputError, match=r"expected the folder nturgb\+d_depth_masked or nturgb\+d_depth there"
    ) as error:
        list_videos(tmp_path, actions=60)
    assert HOW_TO_GET in str(error.value)
    assert "\n" not in str(error.value)
