"""Protocols: which videos of a table are trained on, validated on and tested on, and what is said of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dmcl_tf.data.table import Description, Records, Video
from dmcl_tf.datasets import DATASETS
from dmcl_tf.datasets.splits import Splits, draw_apart, draw_fraction, draw_per_class, make_splits
from dmcl_tf.datasets.uwa3dii import ACTIONS, UNPAIRED
from dmcl_tf.errors import InputError


def video(video_id, label, **attributes):
    return Video(video_id, label, 9, 9, 1, "", "", attributes={k: str(v) for k, v in attributes.items()})


def split(name, videos, **changes):
    names = tuple(dict.fromkeys(each.label for each in videos))
    description = Description(DATASETS[name].folder, "x", "", names, ("rgb",), 80, 95)
    records = Records(Path("there"), description, tuple(videos))
    return make_splits(DATASETS[name], records, DATASETS[name].protocol(changes))


def nwucla(per_class=40):
    return [
        video(f"a{label:02d}_s01_e{episode:02d}_v{view:02d}", name, subject=1, view=view)
        for label, name in enumerate(DATASETS["nwucla"].class_names)
        for view in (1, 2, 3)
        for episode in range(per_class)
    ]


def uwa3dii():
    return [
        video(f"a{action:02d}_s{subject:02d}_v{view:02d}", ACTIONS[action - 1], subject=subject, view=view)
        for action in range(1, 31)
        for subject in range(1, 11)
        for view in (1, 2, 3, 4)
        if f"a{action:02d}_s{subject:02d}_v{view:02d}" not in UNPAIRED
    ]


def views(videos):
    return {each.attributes["view"] for each in videos}


def test_cross_view_protocol_of_nwucla():
    videos = nwucla()
    splits = split("nwucla", videos)
    assert splits.counts() == {"train": 760, "validation": 40, "test": 400}
    # int(800 videos / 10 classes * 5 %) = 4 of each class
    assert Counter(each.label for each in splits.validation) == dict.fromkeys(splits.class_names, 4)
    assert views(splits.train + splits.validation) == {"1", "2"}
    assert views(splits.test) == {"3"}
    ids = [each.video_id for members in splits[:3] for each in members]
    assert len(set(ids)) == len(videos)
    assert split("nwucla", videos[::-1]) == splits  # the order found does not matter
    assert splits.warnings == ()


def test_other_views_can_be_chosen():
    splits = split("nwucla", nwucla(5), train_views=(3,), test_view=1)
    assert (views(splits.train), views(splits.test)) == ({"3"}, {"1"})
    of_demo = split("demo", nwucla(5), train_views=(3,), test_view=1)
    assert (views(of_demo.train), views(of_demo.test)) == ({"3"}, {"1"})


@pytest.mark.parametrize(
    ("train_views", "test_view", "message"),
    [
        ((1, 3), 3, "--train_views=1,3 overlaps --test_view=3"),
        ((1, 4), 3, "view 4 in --train_views or --test_view: expected some of 1, 2, 3"),
        ((1, 2), 0, "view 0 in"),
        ((), 3, "--train_views is empty"),
    ],
)
def test_impossible_views_of_nwucla(train_views, test_view, message):
    with pytest.raises(InputError, match=message):
        DATASETS["nwucla"].protocol({"train_views": train_views, "test_view": test_view})


@pytest.mark.parametrize("train", [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4), (1, 2, 3)])
def test_pairs_of_views_of_uwa3dii(train):
    splits = split("uwa3dii", uwa3dii(), train_views=train)
    assert views(splits.train) == views(splits.validation) == set(map(str, train))
    assert views(splits.test) == set("1234") - set(map(str, train))
    assert Counter(each.label for each in splits.validation) == dict.fromkeys(ACTIONS, 1)
    assert sum(splits.counts().values()) == 1200 - 5


@pytest.mark.parametrize("train_views", [(), (1, 2, 3, 4), (5,), (0, 1)])
def test_impossible_views_of_uwa3dii(train_views):
    with pytest.raises(InputError, match=r"--train_views=.*: expected one to three of 1, 2, 3, 4"):
        DATASETS["uwa3dii"].protocol({"train_views": train_views})


def test_validation_per_class_as_asked_for():
    splits = split("nwucla", nwucla(), validation_per_class=7)
    assert Counter(each.label for each in splits.validation) == dict.fromkeys(splits.class_names, 7)


def test_the_authors_draw():
    """Sort, shuffle with seed 0, then choose of each class with the label as seed (make_list_dset_nwucla.py)."""
    videos = nwucla()
    train = sorted((each for each in videos if each.attributes["view"] != "3"), key=lambda each: each.video_id)
    np.random.RandomState(0).shuffle(train)
    expected = set()
    for label, name in enumerate(DATASETS["nwucla"].class_names):
        members = [each.video_id for each in train if each.label == name]
        expected |= {members[i] for i in np.random.RandomState(label).choice(len(members), 4, replace=False)}
    assert {each.video_id for each in split("nwucla", videos).validation} == expected


def test_a_view_without_videos_is_named():
    videos = [each for each in nwucla() if each.attributes["view"] != "2"]
    named = "there are no videos of view 2, which --train_views names: complete the raw data"
    assert named in split("nwucla", videos).warnings
    assert split("nwucla", nwucla()).warnings == ()
    videos = [each for each in uwa3dii() if each.attributes["view"] != "1"]
    assert any("no videos of view 1" in warning for warning in split("uwa3dii", videos).warnings)


def test_settings_of_validation_that_have_no_effect_are_named():
    rows = [("x", "train", {}), ("y", "train", {}), ("x", "validation", {}), ("y", "test", {})]
    warnings = split("custom", own(rows), validation_per_class=2, validation="per_class").warnings
    assert "--validation and --validation_per_class: no effect, as the table names the validation videos" in warnings
    subjects = [(label, "train", {"subject": s}) for label in "xy" for s in range(4)]
    rows = [*subjects, ("x", "test", {"subject": 9}), ("y", "test", {"subject": 9})]
    warnings = split("custom", own(rows), validation_per_class=2).warnings
    assert "--validation_per_class: no effect, as each subject is kept whole" in warnings
    assert not any("no effect" in warning for warning in split("custom", own(rows)).warnings)


def test_a_fixed_number_is_a_tenth_at_most_of_incomplete_classes():
    videos = [video(f"{n}-{k:03d}", str(n)) for n, count in enumerate((500, 50, 1)) for k in range(count)]
    train, validation = draw_per_class(videos, "012", 26)
    assert [sum(each.label == label for each in validation) for label in "012"] == [26, 5, 0]
    assert len(train) + len(validation) == 551


def own(rows):
    return [video(f"v{k:02d}", label, split=split, **more) for k, (label, split, more) in enumerate(rows)]


def test_own_splits_are_those_of_the_table():
    videos = own([("x", "train", {}), ("y", "train", {}), ("x", "validation", {}), ("y", "test", {})])
    splits = split("custom", videos)
    assert [[each.video_id for each in members] for members in splits[:3]] == [["v00", "v01"], ["v02"], ["v03"]]
    assert splits.class_names == ("x", "y")
    assert splits.labels(splits.test[:1]).tolist() == [1]
    assert splits.labels(splits.train).tolist() == [0, 1]
    assert splits.warnings == (
        "the validation split (no protocol) has no video of class 'y'",
        "the test split (no protocol) has no video of class 'x'",
    )


def test_own_validation_videos_are_whole_subjects_where_they_are_known():
    rows = [(label, "train", {"subject": subject}) for subject in "abcd" for label in "xy" for _ in range(3)]
    splits = split("custom", own([*rows, ("x", "test", {"subject": "e"}), ("y", "test", {"subject": "e"})]))
    subjects = [{each.attributes["subject"] for each in members} for members in splits[:3]]
    assert [len(names) for names in subjects] == [3, 1, 1]
    assert not subjects[0] & subjects[1]
    assert splits.warnings == ()
    per_class = split("custom", own(rows), validation="per_class")
    assert {each.attributes["subject"] for each in per_class.validation} <= set("abcd")
    assert "subject" in per_class.warnings[-1]


def test_a_subject_that_cannot_be_spared_is_said():
    rows = [("x", "train", {"subject": "a"}), ("y", "train", {"subject": "b"})] * 4
    splits = split("custom", own(rows))
    assert splits.warnings[0] == (
        "validation videos share their subject with training videos, since no subject can be spared"
    )
    assert draw_apart(own(rows), "subject") is None


@pytest.mark.parametrize("other", ["validation", "test"])
def test_a_subject_in_two_splits_is_named(other):
    rows = [(label, where, {"subject": "ann"}) for label in "xy" for where in ("train", other)]
    (warning,) = [line for line in split("custom", own(rows)).warnings if "ann" in line and "train" in line]
    assert warning == f"subject ann is in the train split and in the {other} split"


def test_apart_without_anything_to_keep_apart():
    with pytest.raises(InputError, match="--validation=apart: neither the protocol nor the videos"):
        split("custom", own([("x", "train", {}), ("y", "train", {})]), validation="apart")


def test_whole_views_for_validation():
    splits = split("uwa3dii", uwa3dii(), validation="apart")
    assert (len(views(splits.train)), len(views(splits.validation))) == (1, 1)


def test_no_test_videos_are_a_warning_and_a_lacking_class_is_an_error():
    splits = split("custom", own([("x", "train", {}), ("y", "train", {}), ("x", "train", {})]))
    assert "there are no test videos (no protocol): there is nothing to evaluate" in splits.warnings
    videos = [each for each in nwucla(2) if not (each.label == "carry" and each.attributes["view"] != "3")]
    with pytest.raises(InputError, match=r"the train split \(train_views 1,2, test_view 3\) has no video of class 'ca"):
        split("nwucla", videos)


def test_records_of_another_data_set():
    records = Records(Path("there"), Description("nwucla", "x", "", ("a",), ("rgb",), 80, 95), ())
    with pytest.raises(InputError, match="there holds records of nwucla, not of demo"):
        make_splits(DATASETS["demo"], records, DATASETS["demo"].protocol({}))


def test_settings_that_a_data_set_does_not_have():
    with pytest.raises(InputError, match="--subset: nwucla has no such setting, only"):
        DATASETS["nwucla"].protocol({"subset": 1})
    with pytest.raises(InputError, match="--protocol=cross_setup: ntu60 has only cross_subject, cross_view"):
        DATASETS["ntu60"].protocol({"protocol": "cross_setup"})


def test_fractions_hold_smaller_ones():
    splits = split("nwucla", nwucla(50))
    assert draw_fraction(splits, 1, 0) == splits.train
    shares = [{each.video_id for each in draw_fraction(splits, fraction, 3)} for fraction in (0.07, 0.25, 0.5)]
    assert shares[0] < shares[1] < shares[2]
    # of 95 videos of each class: the fraction as it is written, rounded up
    assert [len(share) for share in shares] == [10 * 7, 10 * 24, 10 * 48]
    assert draw_fraction(splits, 0.25, 4) != draw_fraction(splits, 0.25, 3)


def test_checksums_tell_splits_apart():
    splits = split("nwucla", nwucla(5))
    assert splits.checksum() == split("nwucla", nwucla(5)[::-1]).checksum()
    assert splits.checksum() != split("nwucla", nwucla(5), train_views=(1, 3), test_view=2).checksum()
    assert splits.checksum() != Splits(*splits[:3], splits.class_names[::-1]).checksum()
