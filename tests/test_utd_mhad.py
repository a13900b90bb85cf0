"""UTD-MHAD: the reader, the protocol, and every stage with skeletons and frames that are cut to the person."""

from __future__ import annotations

import json
import shutil

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from kinect import person, write_utd_clip
from preparing import settings

from data_prep.make_tfrecords import choose_videos
from data_prep.raw.utd_mhad import list_videos
from data_prep.video.skeletons import SKELETON, draw, own_frame
from dmcl_tf.data.records import decode_video, read_record
from dmcl_tf.data.table import Description, Records, Video
from dmcl_tf.datasets import DATASETS
from dmcl_tf.datasets.splits import make_splits
from dmcl_tf.datasets.utd_mhad import ACTIONS
from dmcl_tf.errors import InputError
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.scoring.accuracy import softmax
from workflow import __main__ as workflow
from workflow import predict, stages

NAME = "a{}_s{}_t{}"


@pytest.mark.parametrize("root", ["", "UTD-MHAD", "utd_mhad"])
@pytest.mark.parametrize("lower", [False, True])
def test_a_clip_is_found(tmp_path, root, lower):
    write_utd_clip(tmp_path / root, "a10_s3_t4")
    if lower:
        for name in ("Depth", "Skeleton"):
            (tmp_path / root / name).rename(tmp_path / root / f"{name}.x").rename(tmp_path / root / name.lower())
    (video,) = list_videos(tmp_path).videos
    assert (video.video_id, video.label, video.attributes) == (
        "a10_s3_t4",
        "draw circle counter-clockwise",
        {"subject": "3"},
    )
    assert {name: source.declared_length() for name, source in video.sources.items()} == {"depth": 12, SKELETON: 12}


def test_missing_and_foreign_files_have_a_line_each(tmp_path):
    write_utd_clip(tmp_path, "a1_s1_t1")
    write_utd_clip(tmp_path, "a1_s2_t1", skeleton=False)
    write_utd_clip(tmp_path, "a28_s1_t1", skeleton=False)
    write_utd_clip(tmp_path, "a2_s9_t1", skeleton=False)
    shutil.copy(tmp_path / "Skeleton/a1_s1_t1_skeleton.mat", tmp_path / "Skeleton/a3_s1_t1_skeleton.mat")
    shutil.copy(tmp_path / "Skeleton/a1_s1_t1_skeleton.mat", tmp_path / "Depth/a4_s1_t1_skeleton.mat")
    (tmp_path / "Skeleton/Skeleton_joint_order.txt").write_text("1. head;\n")
    (tmp_path / "Depth/notes.txt").touch()
    listing = list_videos(tmp_path)
    assert [video.video_id for video in listing.videos] == ["a1_s1_t1"]
    reasons = {entry.video_id: entry.reason for entry in listing.skipped}
    depth, skeleton = tmp_path / "Depth", tmp_path / "Skeleton"
    assert reasons == {
        "a1_s2_t1": f"{depth}/a1_s2_t1_depth.mat: there is no {skeleton}/a1_s2_t1_skeleton.mat; unpack it again",
        "a3_s1_t1": f"{skeleton}/a3_s1_t1_skeleton.mat: there is no {depth}/a3_s1_t1_depth.mat; unpack it again",
        "a28_s1_t1_depth.mat": f"{depth}/a28_s1_t1_depth.mat: expected actions 1 … 27 and people 1 … 8",
        "a2_s9_t1_depth.mat": f"{depth}/a2_s9_t1_depth.mat: expected actions 1 … 27 and people 1 … 8",
        "a4_s1_t1_skeleton.mat": f"{depth}/a4_s1_t1_skeleton.mat: the name is not of the form aA_sS_tT_depth.mat",
        "notes.txt": f"{depth}/notes.txt: the name is not of the form aA_sS_tT_depth.mat",
    }


@pytest.mark.parametrize("missing", ["Depth", "Skeleton"])
def test_a_missing_folder_says_how_to_get_it(tmp_path, missing):
    write_utd_clip(tmp_path, "a1_s1_t1")
    shutil.rmtree(tmp_path / missing)
    with pytest.raises(InputError, match=rf"expected the folder {missing} there; download Depth\.zip") as error:
        list_videos(tmp_path)
    assert "\n" not in str(error.value)


def test_people_of_odd_numbers_train_and_one_of_them_validates():
    videos = tuple(
        Video(
            NAME.format(action, subject, trial), ACTIONS[action - 1], 9, 9, 1, "", "", attributes={"subject": subject}
        )
        for action in range(1, 28)
        for subject in "12345678"
        for trial in range(1, 5)
    )
    dataset = DATASETS["utd_mhad"]
    description = Description("utd_mhad", "x", "", ACTIONS, ("depth",), 80, 95)
    splits = make_splits(dataset, Records("x", description, videos), dataset.protocol())
    people = [{video.attributes["subject"] for video in getattr(splits, name)} for name in splits.counts()]
    assert splits.counts() == {"train": 324, "validation": 108, "test": 432}
    assert people[0] | people[1] == set("1357")
    assert people[0].isdisjoint(people[1])
    assert people[2] == set("2468")
    assert splits.warnings == ()
    per_class = make_splits(dataset, Records("x", description, videos), dataset.protocol({"validation": "per_class"}))
    assert per_class.counts() == {"train": 432 - 27, "validation": 27, "test": 432}


def test_a_quick_try_has_both_sides(tmp_path):
    for subject in (1, 2, 3, 4):
        write_utd_clip(tmp_path, NAME.format(1, subject, 1), frames=2)
    chosen = settings("--dataset=utd_mhad", "--limit=1")
    assert [video.video_id for video in choose_videos(chosen, list_videos(tmp_path).videos)] == ["a1_s1_t1", "a1_s2_t1"]


def test_what_the_data_set_brings():
    chosen = settings("--dataset=utd_mhad", "--scale=compact", "--crop=person").raw.videos
    assert chosen.modalities == ("depth", "flow", SKELETON)
    assert (chosen.flow.source, chosen.flow.preset, chosen.depth_modalities) == ("depth", "fast", ("depth",))
    assert (chosen.depth.mode, chosen.depth.near, chosen.depth.far) == ("clip_mm", 1500, 4000)
    pipeline = stages.make_pipeline(stages.parse("utd_mhad", ["--scale=compact"]))
    assert pipeline.train.config.flip_probability == 0  # left and right are what some classes differ in
    assert pipeline.train.config.modalities == chosen.modalities
    assert pipeline.train.protocol["validation"] == "apart"


TINY = ["--frame_size=40", "--crop_size=32", "--variant=testing", "--batch_size=9", "--epochs=1", "--warmup_epochs=0"]
TINY += ["--validate_every=1", "--flow_algorithm=dis", "--crop=person", "--workers=1", "--run_name=mini"]
TINY += ["--flip_probability=0.5", "--formats=savedmodel,weights"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder of a finished command on clips of three people."""
    root = tmp_path_factory.mktemp("utd")
    for action in range(1, 28):
        for subject in (1, 2, 3):
            name = NAME.format(action, subject, 1)
            write_utd_clip(root / "data/utd_mhad", name, frames=10, seed=subject, speed=0.02 * action)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ROOT", str(root / "data"))
        folders = [f"--checkpoints={root}/checkpoints", f"--export_dir={root}/exported"]
        pipeline = stages.make_pipeline(stages.parse("utd_mhad", [*TINY, *folders]))
        for name, stage in stages.STAGES.items():
            stage(getattr(pipeline, name))
        yield root
    keras.mixed_precision.set_global_policy("float32")


def test_records_hold_the_three_views(root):
    records = Records.load(root / "data/utd_mhad/records/40")
    assert records.description.crop == {"found_in": "depth", "margin": 0.125, "to": "person"}
    assert records.grey_modalities == {"depth"}
    assert len(records.videos) == 81
    _, frames = decode_video(read_record(records.path(records.by_id["a27_s1_t1"])))
    expected = own_frame(person(10, speed=0.54)[:, None])
    for content, people in zip(frames[SKELETON], expected):
        image = tf.io.decode_jpeg(content, dct_method="INTEGER_ACCURATE").numpy()[..., ::-1].astype(int)
        drawn = cv2.resize(draw(people), (40, 40), interpolation=cv2.INTER_AREA)
        assert np.abs(image - drawn).mean() < 4  # each channel of its own: chroma is not halved
        assert all(np.corrcoef(image[..., c].ravel(), drawn[..., c].ravel())[0, 1] > 0.98 for c in range(3))


def test_the_run_and_the_model_know_the_cut(root):
    run = RunFolder(root / "checkpoints/utd_mhad/dmcl/mini").load()
    assert run.crop["found_in"] == "depth"
    assert run.videos == {"train": 27, "validation": 27, "test": 27}
    assert predict.find_model(root / "exported")[1].crop == run.crop
    card = (root / "exported/1/model_card.md").read_text()
    assert "The cut was made with these settings: found_in depth, margin 0.125, to person." in card


def test_predictions_are_those_of_the_evaluation(root, tmp_path, capsys):
    """Of raw files, cut and drawn as the records were, by any subset of the modalities."""
    names = [NAME.format(action, 2, 1) for action in (1, 9, 27)]
    raw = root / "data/utd_mhad"
    lines = [f"{name},{raw}/Depth/{name}_depth.mat,{raw}/Skeleton/{name}_skeleton.mat" for name in names]
    (tmp_path / "list.csv").write_text("\n".join(["video_id,depth,skeleton", *lines]) + "\n")
    logits = pd.read_csv(root / "checkpoints/utd_mhad/dmcl/mini/predictions.csv", index_col="video_id")
    for subset in ("depth+flow+skeleton", "flow", "skeleton"):
        arguments = [f"--model={root}/exported", f"--videos={tmp_path}/list.csv", f"--with={subset}"]
        assert workflow.main(["predict", *arguments, "--json", f"--output={tmp_path}"]) == 0
        said = {row["video_id"]: row for row in json.loads(capsys.readouterr().out)}
        for name in names:
            expected = np.mean(
                [[logits.loc[name, f"{m}:{label}"] for label in ACTIONS] for m in subset.split("+")], axis=0
            )
            np.testing.assert_allclose(
                [said[name][f"probability:{label}"] for label in ACTIONS], softmax(expected), atol=0.02
            )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("flow",), "the model knows frames that are cut to the person, who is found in depth: give --depth as well"),
        (
            ("flow", "depth"),
            "the model knows flow of frames that are cut to the person, which images of flow cannot be",
        ),
    ],
)
def test_what_cannot_be_cut_as_the_records_were_is_refused(root, tmp_path, given, message):
    (tmp_path / "flow").mkdir()
    cv2.imwrite(str(tmp_path / "flow/0.png"), np.zeros((8, 8, 3), np.uint8))
    paths = {"flow": tmp_path / "flow", "depth": root / "data/utd_mhad/Depth/a1_s2_t1_depth.mat"}
    arguments = [f"--{modality}={paths[modality]}" for modality in given]
    with pytest.raises(InputError) as error:
        workflow.main(["predict", f"--model={root}/exported", *arguments])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_skeleton_alone_is_predicted(root, capsys):
    path = root / "data/utd_mhad/Skeleton/a1_s2_t1_skeleton.mat"
    assert workflow.main(["predict", f"--model={root}/exported", f"--skeleton={path}", "--clips=2"]) == 0
    assert "10 frames, 2 clips; by skeleton" in capsys.readouterr().out
