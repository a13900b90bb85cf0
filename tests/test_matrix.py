"""Which runs a matrix has, in which order, under which names, and with which settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmcl_tf.config import parse_start
from dmcl_tf.errors import InputError
from dmcl_tf.registry import METHODS
from workflow import experiments, matrix, stages


def make(*arguments, dataset="nwucla"):
    return experiments.make_plan(experiments.parse([f"--dataset={dataset}", *arguments])).experiments


@pytest.fixture(autouse=True)
def default_data_root(monkeypatch):
    monkeypatch.delenv("DATA_ROOT", raising=False)


def test_all_methods_of_a_seed_come_before_the_next_seed():
    runs = make("--methods=independent,dmcl,dmcl:paper", "--seeds=0,2", "--train_fractions=1")
    assert [run.label for run in runs] == [
        "independent seed 0",
        "dmcl seed 0",
        "dmcl:paper seed 0",
        "independent seed 2",
        "dmcl seed 2",
        "dmcl:paper seed 2",
    ]
    assert [(run.config.method, run.config.recipe, run.config.seed) for run in runs[:3]] == [
        ("independent", "authors", 0),
        ("dmcl", "authors", 0),
        ("dmcl", "paper", 0),
    ]
    assert {run.config.scale for run in runs} == {"compact"}


def test_the_default_matrix_has_every_method_once_and_the_published_ones_with_every_seed():
    runs = make("--train_fractions=1")
    assert {run.config.method for run in runs if run.config.seed == 0} == set(METHODS)
    entries = [entry for entry in matrix.PUBLISHED.split(",") if entry.partition(":")[0] in METHODS]
    for seed in (1, 2):
        assert sorted(r.label for r in runs if r.config.seed == seed) == sorted(f"{e} seed {seed}" for e in entries)
    assert runs[0].config.method == "independent"


def test_modalities_and_settings_are_those_that_the_data_set_brings():
    runs = make("--methods=dmcl,mutual", "--seeds=5", "--train_fractions=1", dataset="utd_mhad")
    assert [run.config.modalities for run in runs] == [("depth", "flow", "skeleton")] * 2
    assert {run.config.flip_probability for run in runs} == {0}
    assert runs[0].folder.directory == Path("checkpoints/utd_mhad/dmcl/authors-compact-seed5")


def test_some_methods_run_with_every_seed():
    runs = make("--methods=independent,dmcl", "--all_seeds=dmcl", "--seeds=5,6", "--train_fractions=1")
    assert [run.label for run in runs] == ["independent seed 5", "dmcl seed 5", "dmcl seed 6"]


def test_shares_of_the_training_videos():
    runs = make("--methods=independent,dmcl", "--all_seeds=dmcl", "--seeds=0,1", "--all_fractions=dmcl")
    assert [(run.label, run.config.train_fraction) for run in runs] == [
        ("independent seed 0", 1),
        ("dmcl seed 0", 1),
        ("dmcl seed 0 50 %", 0.5),
        ("dmcl seed 0 25 %", 0.25),
        ("dmcl seed 1", 1),
        ("dmcl seed 1 50 %", 0.5),
        ("dmcl seed 1 25 %", 0.25),
    ]
    assert runs[2].folder.directory.name == "authors-compact-seed0-train_fraction_0.5"


@pytest.mark.parametrize("methods", ["generalized_distillation", "generalized_distillation,independent"])
def test_the_teacher_is_the_independent_run_of_the_same_seed_and_goes_first(methods):
    teacher, student, *_ = make(f"--methods={methods}", "--seeds=4", "--teacher_modalities=depth,flow")
    assert (teacher.label, student.label) == ("independent seed 4", "generalized_distillation seed 4")
    assert student.sources == (teacher,)
    assert student.config.teacher_run == str(teacher.folder.directory)
    assert (student.config.teacher_modalities, student.config.modalities) == (("depth", "flow"), ("rgb",))
    assert student.config.distillation_weight == 0.5  # the method's own
    expected = "authors-compact-seed4-modalities_rgb-teacher_modalities_depth+flow"
    assert student.folder.directory.name == expected


def test_comparators_start_from_the_baseline_of_their_seed():
    runs = make("--methods=hallucination,modality_distillation,admd,mars", "--seeds=4", "--train_fractions=1")
    assert [run.label for run in runs] == [
        "independent seed 4",
        "independent depth from rgb seed 4",
        "hallucination seed 4",
        "modality_distillation_teacher seed 4",
        "modality_distillation_student seed 4",
        "modality_distillation seed 4",
        "admd seed 4",
        "mars seed 4",
    ]
    by_label = {run.label.removesuffix(" seed 4"): run for run in runs}
    baseline, student = by_label["independent"], by_label["modality_distillation_student"]
    assert baseline.config.modalities == ("rgb", "depth", "flow")
    folder = baseline.folder.directory
    assert by_label["independent depth from rgb"].config.initial_weights == (f"depth={folder}:rgb",)
    assert by_label["admd"].config.initial_weights == (f"rgb={folder}:rgb", f"hallucination={folder}:depth")
    assert by_label["mars"].config.teacher_modalities == ("flow",)
    assert by_label["modality_distillation"].sources == (
        baseline,
        by_label["modality_distillation_teacher"],
        student,
    )
    assert student.config.teacher_run == str(by_label["modality_distillation_teacher"].folder.directory)
    assert len({run.folder.directory for run in runs}) == len(runs)
    epochs = baseline.config.epochs
    assert (baseline.work(), baseline.work(epochs - 1)) == (3 * epochs, 3)
    assert by_label["mars"].work() == pytest.approx(4 / 3 * epochs)  # a teacher takes the forward pass alone


def test_settings_go_to_the_runs_that_they_concern():
    flags = ["--select_by=rgb", "--freeze=flow:stem", "--connection", "--networks=hallucination:authors/8"]
    runs = make("--methods=modality_distillation,dmcl", "--seeds=4", "--train_fractions=1", *flags)
    of = {run.label.removesuffix(" seed 4"): run.config for run in runs}
    assert (of["dmcl"].select_by, of["dmcl"].freeze, of["dmcl"].connection) == ("rgb", ("flow:stem",), False)
    assert of["independent"].networks == of["dmcl"].networks == ()
    teacher, student, last = (of[f"modality_distillation{stage}"] for stage in ("_teacher", "_student", ""))
    assert (teacher.select_by, teacher.freeze, teacher.connection) == ("sum", (), True)  # its own
    assert student.networks == last.networks == ("hallucination:authors/8",)
    assert (last.select_by, last.freeze, last.connection) == ("rgb", (), True)


@pytest.mark.parametrize(
    ("flag", "entry"),
    [
        ("--networks=rbg:authors/8", "--networks=rbg:authors/8"),
        ("--freeze=depth:stem,thermal:stem", "--freeze=thermal:stem"),
        ("--select_by=rbg", "--select_by=rbg"),
        ("--connection", "--connection=True"),
    ],
)
def test_a_setting_that_concerns_no_run_is_a_mistake(flag, entry):
    with pytest.raises(InputError, match=f"{entry}: it concerns none of the runs, whose networks are depth, flow, rgb"):
        make("--methods=dmcl", "--seeds=0", "--train_fractions=1", flag)


def test_methods_about_what_the_videos_do_not_have_are_named(capsys):
    """UTD-MHAD's records have no RGB unless it is asked for."""
    message = "--methods=independent,admd: leave out admd: about modalities that .* not have, which are depth, flow"
    with pytest.raises(InputError, match=message):
        make("--dataset=utd_mhad", "--methods=independent,admd")
    methods = {run.config.method for run in make("--dataset=utd_mhad", "--seeds=0", "--train_fractions=1")}
    assert methods == {"independent", "smcl", "cmcl", "cmcl_stochastic", "mutual", "random_teacher", "dmcl"}
    assert "left out: generalized_distillation, mars, hallucination, " in capsys.readouterr().out
    taught = ["--student=depth", "--teacher_modalities=flow"]
    runs = make("--dataset=utd_mhad", "--methods=admd", "--seeds=0", "--train_fractions=1", *taught)
    assert [run.config.modalities for run in runs] == [("depth", "flow", "skeleton"), ("depth", "hallucination")]


def test_runs_that_start_from_others_are_folders_of_their_own():
    def folders(*arguments):
        return {run.label: run.folder.directory for run in make("--seeds=4", "--train_fractions=1", *arguments)}

    staged = folders("--methods=hallucination,modality_distillation")
    assert (
        staged["independent depth from rgb seed 4"]
        != (folders("--methods=independent", "--modalities=depth")["independent seed 4"])
    )
    taught = folders("--methods=modality_distillation", "--teacher_modalities=flow")["modality_distillation seed 4"]
    assert taught != staged["modality_distillation seed 4"]
    named = folders("--methods=modality_distillation", "--select_by=rgb")["modality_distillation seed 4"]
    assert "-select_by_rgb-from_rgb+hallucination" in named.name
    assert named not in staged.values()


@pytest.mark.parametrize("flag", ["--select_by=rgb", "--networks=flow:authors/8", "--freeze=flow:stem"])
def test_runs_that_start_from_other_ones_are_other_runs(flag):
    """A setting of the baseline alone changes what the stages start from."""
    methods = "--methods=hallucination,modality_distillation,admd,mars"

    def runs(*more):
        return {run.label: run for run in make(methods, "--seeds=4", "--train_fractions=1", *more)}

    plain, changed = runs(), runs(flag)
    assert plain.keys() == changed.keys()
    for label, run in plain.items():
        assert run.config != changed[label].config
        assert run.folder.directory != changed[label].folder.directory


def test_a_selection_that_does_not_fit_leaves_the_methods_own():
    methods = "--methods=dmcl,admd,hallucination,modality_distillation"
    runs = make(methods, "--seeds=4", "--train_fractions=1", "--select_by=flow")
    of = {run.config.method: run.config.select_by for run in runs}
    assert of == {
        "independent": "oracle",  # of depth, the last one: it has no flow
        "dmcl": "flow",
        "admd": "hallucination",
        "hallucination": "rgb+hallucination",
        "modality_distillation_teacher": "sum",
        "modality_distillation_student": "hallucination",
        "modality_distillation": "sum",
    }


def test_a_fresh_run_is_not_said_to_start_from_another():
    labels = [run.label for run in make("--methods=mars", "--modalities=rgb", "--seeds=0", "--train_fractions=1")]
    assert labels == ["independent flow seed 0", "mars seed 0"]


def test_a_name_is_one_folder_that_entries_of_initial_weights_can_name():
    (run,) = make("--methods=independent", "--seeds=0", "--train_fractions=1", "--networks=rgb:authors/8")
    name = "authors-compact-seed0-networks_rgb_authors_8"
    assert run.folder.directory == Path("checkpoints/nwucla/independent") / name
    assert parse_start(str(run.folder.directory)) == ("", str(run.folder.directory), "")


def test_the_teacher_has_the_recipe_of_the_student():
    teacher, student = make("--methods=generalized_distillation:paper", "--seeds=0", "--train_fractions=1")
    assert (teacher.label, teacher.config.recipe, student.config.recipe) == (
        "independent:paper seed 0",
        "paper",
        "paper",
    )


def test_settings_are_those_of_the_stages():
    (run,) = make("--methods=dmcl:paper", "--seeds=3", "--train_fractions=1", "--epochs=7", "--checkpoint=last")
    arguments = ["--method=dmcl", "--recipe=paper", "--scale=compact", "--seed=3", "--epochs=7", "--checkpoint=last"]
    pipeline = stages.make_pipeline(stages.parse("nwucla", [*arguments, "--run_name=paper-compact-seed3-epochs_7"]))
    assert (run.train, run.evaluate) == (pipeline.train, pipeline.evaluate)
    assert run.folder.directory == Path("checkpoints/nwucla/dmcl/paper-compact-seed3-epochs_7")
    assert (run.evaluate.checkpoint, run.train.records) == ("last", Path("data/nwucla/records/80"))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "authors-compact-seed0"),
        (["--scale=full"], "authors-full-seed0"),
        (["--recipe=paper"], "paper-compact-seed0"),
        (["--epochs=60"], "authors-compact-seed0"),  # as it is
        (["--lambda=0.5"], "authors-compact-seed0-loser_ground_truth_weight_0.5-distillation_weight_0.5"),
        (["--temperature=5", "--precision=bfloat16"], "authors-compact-seed0-temperature_5-precision_bfloat16"),
        (["--modalities=rgb,flow"], "authors-compact-seed0-modalities_rgb+flow"),
    ],
)
def test_names_tell_what_was_changed(arguments, name):
    (run,) = make("--methods=dmcl", "--seeds=0", "--train_fractions=1", *arguments)
    assert run.folder.directory.name == name


def test_long_names_become_checksums_that_differ():
    changes = ["--width=4", "--epochs=3", "--warmup_epochs=0", "--validate_every=1", "--crop_jitter_probability=0.25"]
    changes += ["--flip_probability=0.25"]
    names = [
        make("--methods=dmcl", "--seeds=0", "--train_fractions=1", *changes, change)[0].folder.directory.name
        for change in ("--color_probability=0.25", "--color_probability=0.75")
    ]
    assert len(set(names)) == 2
    assert all(name.startswith("authors-compact-seed0-") and len(name) == 30 for name in names)


def test_the_settings_of_a_data_set_are_its_usual_ones():
    (run,) = make("--methods=dmcl", "--seeds=0", "--train_fractions=1", dataset="demo")
    assert run.folder.directory.name == "paper-compact-seed0"
    assert run.config.frame_size == 56


def test_the_same_run_is_there_once():
    runs = make("--methods=dmcl:authors,dmcl", "--seeds=0,0", "--train_fractions=1,1.0")
    assert [run.label for run in runs] == ["dmcl:authors seed 0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods=dmlc"], "--methods: 'dmlc': expected one of .*; did you mean dmcl"),
        (["--methods=dmcl:papre"], "--methods: 'dmcl:papre': expected one of authors, paper; did you mean paper"),
        (["--methods=dmcl:paper:2"], "expected a method or method:recipe"),
        (["--all_seeds=dmlc"], "--all_seeds: 'dmlc'"),
        (["--all_fractions=dmlc"], "--all_fractions: 'dmlc'"),
        (["--seeds=0,one"], "--seeds=0,one: expected numbers"),
        (["--train_fractions=half"], "--train_fractions=half: expected numbers"),
        (["--seed=1"], "--seed: the matrix sets it for each run; see --methods, --seeds"),
        (["--method=dmcl"], "--method: the matrix sets it for each run"),
        (["--run_name=mine"], "--run_name: the matrix sets it for each run"),
        (["--split=validation"], "--split: the matrix sets it for each run"),
        (["--methds=dmcl"], "Unknown command line flag 'methds'. Did you mean: method"),
        (["--dry_rum"], "Unknown command line flag 'dry_rum'. Did you mean: dry_run"),
        (["--temperature=-1"], "--temperature=-1.0: expected a positive number"),
        (["--dataset=nwcla"], "'nwcla': expected a data set.*did you mean nwucla"),
        (["train"], "unexpected argument 'train'"),
        (["--seeds="], "no run is left: give --methods and --seeds"),
        (["--methods=mutual", "--train_fractions=0.5"], "there are only the methods of --all_fractions"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        make(*arguments)


def test_methods_are_those_of_the_configuration():
    assert matrix.BASELINE in METHODS
    assert set(matrix.default_methods()) - {"dmcl:paper"} == set(METHODS)


def test_modalities_of_own_videos_are_the_usual_ones(tmp_path):
    (tmp_path / "videos.csv").write_text("video_id,label,split,ir\na,x,train,a.avi\nb,y,train,a.avi\n")
    (run,) = make(
        "--methods=independent", "--seeds=0", "--train_fractions=1", f"--videos={tmp_path}/videos.csv", dataset="custom"
    )
    assert (run.config.modalities, run.folder.directory.name) == (("ir",), "authors-compact-seed0")
