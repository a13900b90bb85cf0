"""One command for all stages: every flag is parsed once and reaches the stages that know it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dmcl_tf import random_features, report
from dmcl_tf.datasets import DATASETS
from dmcl_tf.errors import InputError
from dmcl_tf.runs.folder import Run, RunFolder
from workflow import __main__ as workflow
from workflow import command_line, stages
from workflow.processes import Failure

STAGES = ("prepare", "train", "evaluate", "export")


@pytest.fixture(autouse=True)
def default_folders(monkeypatch):
    for name in ("DATA_ROOT", "CALLED_FROM"):
        monkeypatch.delenv(name, raising=False)


def pipeline(dataset, *arguments):
    return stages.make_pipeline(stages.parse(dataset, arguments))


def test_folders_are_handed_from_stage_to_stage():
    chosen = pipeline("nwucla")
    records, run = Path("data/nwucla/records/256"), Path("checkpoints/nwucla/dmcl/authors-full-seed0")
    assert (chosen.prepare.raw.dataset, chosen.prepare.raw.data_dir) == ("nwucla", Path("data/nwucla"))
    assert chosen.prepare.records == chosen.train.records == chosen.evaluate.records == records
    assert chosen.train.directory == chosen.evaluate.run_dir == chosen.export.run_dir == run
    assert chosen.train.protocol == DATASETS["nwucla"].protocol()


def test_the_data_root_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("DATA_ROOT", "/elsewhere")
    chosen = pipeline("nwucla", "--scale=compact")
    assert chosen.prepare.raw.data_dir == Path("/elsewhere/nwucla")
    assert chosen.prepare.records == chosen.train.records == Path("/elsewhere/nwucla/records/80")


def test_flags_reach_the_stages_that_know_them():
    arguments = ["--method=independent", "--scale=compact", "--seed=3", "--workers=1", "--flow_bound=10"]
    arguments += ["--train_views=3,1", "--test_view=2", "--checkpoint=last", "--split=validation", "--lambda=0.5"]
    chosen = pipeline("nwucla", *arguments, "--nodeterministic")
    assert (chosen.prepare.raw.workers, chosen.prepare.raw.videos.flow.bound, chosen.prepare.raw.videos.size) == (
        1,
        10,
        80,
    )
    config = chosen.train.config
    assert (config.method, config.scale, config.seed, config.distillation_weight) == ("independent", "compact", 3, 0.5)
    assert config.deterministic is False
    protocol = chosen.train.protocol
    assert (protocol["train_views"], protocol["test_view"]) == ([1, 3], 2)
    assert (chosen.evaluate.checkpoint, chosen.evaluate.split, chosen.export.checkpoint) == (
        "last",
        "validation",
        "last",
    )


def test_modalities_are_those_of_records_and_of_training():
    chosen = pipeline("nwucla", "--modalities=rgb,depth")
    assert chosen.prepare.modalities == chosen.train.config.modalities == ("rgb", "depth")


def test_modalities_of_own_videos_reach_training(tmp_path):
    csv = tmp_path / "videos.csv"
    csv.write_text("video_id,label,split,thermal,ir\na,x,train,a.avi,b.avi\nb,y,train,a.avi,b.avi\n")
    chosen = pipeline("custom", f"--videos={csv}")
    assert chosen.train.config.modalities == ("thermal", "ir")
    assert chosen.train.records == chosen.evaluate.records == Path("data/custom/records/256")
    assert pipeline("custom", f"--videos={csv}", "--flow_from=ir").train.config.modalities == ("thermal", "ir", "flow")
    one = pipeline("custom", f"--videos={csv}", "--modalities=ir", "--method=independent", "--select_by=ir")
    assert one.train.config.modalities == ("ir",)
    with pytest.raises(InputError, match=r"--videos is missing"):
        pipeline("custom")


@pytest.mark.parametrize(
    ("dataset", "arguments", "protocol", "records"),
    [
        ("uwa3dii", ["--train_views=1,3"], {"train_views": [1, 3]}, "data/uwa3dii/records/256"),
        ("ntu60", ["--protocol=cross_view"], {"protocol": "cross_view"}, "data/ntu/records/256"),
        ("ntu120", ["--protocol=cross_setup"], {"protocol": "cross_setup"}, "data/ntu/records/256"),
        ("ntu120mini", ["--subset=2"], {"subset": 2, "validation_per_class": 26}, "data/ntu/records/256"),
    ],
)
def test_every_data_set_of_the_paper(dataset, arguments, protocol, records):
    chosen = pipeline(dataset, *arguments)
    assert chosen.train.protocol.items() >= protocol.items()
    assert chosen.prepare.records == chosen.train.records == Path(records)  # of all protocols and of the family
    assert chosen.evaluate.run_dir == Path(f"checkpoints/{dataset}/dmcl/authors-full-seed0")


@pytest.mark.parametrize("sign", ["=", " "])
def test_both_ways_of_writing_a_flag(sign):
    written = [("--learning_rate", "0.1"), ("--frame_size", "320"), ("--test_view", "1"), ("--train_views", "2,3")]
    written += [("--epochs", "2"), ("--checkpoint", "last"), ("--run_name", "mine")]
    chosen = pipeline(
        "nwucla", "--deterministic", *[t for name, value in written for t in f"{name}{sign}{value}".split()]
    )
    config = chosen.train.config
    assert (config.learning_rate, config.frame_size, config.epochs, config.deterministic) == (0.1, 320, 2, True)
    assert chosen.prepare.raw.videos.size == 320
    assert chosen.export.run_dir == Path("checkpoints/nwucla/dmcl/mine")


def test_folders_can_be_chosen():
    arguments = ["--output=there/records", "--checkpoints=runs", "--run_name=mine", "--export_dir=served"]
    chosen = pipeline("nwucla", *arguments)
    assert chosen.prepare.records == chosen.train.records == chosen.evaluate.records == Path("there/records")
    assert chosen.evaluate.run_dir == chosen.export.run_dir == Path("runs/nwucla/dmcl/mine")
    assert chosen.export.export_dir == Path("served")
    assert pipeline("nwucla", "--size=96", "--crop_size=64").train.config.frame_size == 96


def test_a_run_that_is_named_is_evaluated_on_its_own_records():
    chosen = pipeline("nwucla", "--run_dir=checkpoints/mine").evaluate
    assert (chosen.run_dir, chosen.records) == (Path("checkpoints/mine"), None)


def test_a_run_that_is_named_needs_no_table_of_videos(monkeypatch):
    """Neither to be evaluated nor to be exported; preparing own videos does."""
    asked = []
    monkeypatch.setattr(stages, "call", lambda function, settings: asked.append((function, settings.run_dir)))
    for stage in ("evaluate", "export"):
        assert stages.main("custom", [stage, "--run_dir=checkpoints/mine"]) == 0
        assert asked.pop() == (stages.STAGES[stage], Path("checkpoints/mine"))
    with pytest.raises(InputError, match="--videos"):
        stages.main("custom", ["evaluate"])


@pytest.mark.parametrize("arguments", [["nwucla"], ["nwucla", "train"], ["demo"]])
def test_a_run_is_not_named_by_its_folder_where_one_is_trained(arguments):
    with pytest.raises(InputError, match="--run_dir=checkpoints/mine: it names the run that is evaluated or exported"):
        workflow.main([*arguments, "--run_dir=checkpoints/mine"])


def test_the_demo_is_short_and_its_settings_can_be_overridden():
    config = pipeline("demo").train.config
    assert (config.scale, config.frame_size) == ("compact", 56)
    assert config.epochs * 90 / config.batch_size < 1000  # steps, of its 90 training videos
    assert pipeline("demo").prepare.raw.videos.size == 56
    overridden = pipeline("demo", "--epochs=2", "--scale=full", "--frame_size=256")
    config = overridden.train.config
    assert (config.scale, config.frame_size, config.epochs) == ("full", 256, 2)
    assert overridden.prepare.raw.videos.size == 256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temprature=5"], "Unknown command line flag 'temprature'. Did you mean: temperature ?"),
        (["--epochs=3", "--checkpont", "last"], "Unknown command line flag 'checkpont'. Did you mean: checkpoint"),
        (["--zzz"], "Unknown command line flag 'zzz'"),
        (["--epochs=3", "train"], "unexpected argument 'train': every setting is a flag, --name=value, and a stage"),
        (["--epochs=many"], "--epochs=many"),
        (["--epochs"], "Missing value for flag --epochs"),
        (["--recipe=paprika"], "--recipe=paprika: expected one of authors, paper"),
        (["--scale=paper"], "--scale=paper: expected one of full, compact"),
        (["--lambda=2"], "--lambda=2.0: expected a value from 0 to 1"),
        (["--crop_size=300"], "--crop_size=300 exceeds --frame_size=256"),
        (["--frame_size=5000"], "--frame_size=5000: expected from 16 to 4096 pixels"),
        (["--split=training"], "--split=training: value should be one of <test|validation>"),
        (["--train_views=1,3"], "--train_views=1,3 overlaps --test_view=3"),
        (["--subset=1"], "--subset: nwucla has no such setting, only ntu120mini"),
        (["--run_name=../../evil"], "--run_name '../../evil' cannot name a folder"),
        (["--run_name=" + 201 * "x"], f"--run_name '{20 * 'x'}'… is too long to name a folder"),
    ],
)
def test_a_wrong_flag_is_named_before_anything_runs(arguments, message, monkeypatch):
    monkeypatch.setattr(stages, "call", None)
    with pytest.raises(InputError) as error:
        workflow.main(["nwucla", *arguments])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a data set or a command, one of demo, nwucla"),
        (["nwuclaa"], "'nwuclaa'.*expected a data set.*did you mean nwucla"),
        (["experimnts"], "did you mean experiments"),
        (["nwucla", "prepair"], "unknown stage 'prepair': expected one of prepare, train, evaluate, export"),
        (["check", "everything"], "check everything: expected a data set, one of demo, nwucla.*, or records"),
    ],
)
def test_unknown_data_sets_commands_and_stages(arguments, message):
    with pytest.raises(InputError, match=message):
        workflow.main(arguments)


def run_with(failures, monkeypatch):
    """Lets each stage end with the next failure; returns the list that their settings are added to."""
    ran, left = [], list(failures)

    def call(function, settings):
        ran.append(settings)
        return left.pop(0)

    monkeypatch.setattr(stages, "call", call)
    return ran


def test_stages_run_in_turn_or_alone(monkeypatch, capsys):
    ran = run_with([None] * 5, monkeypatch)
    assert workflow.main(["nwucla", "--scale=compact"]) == 0
    chosen = pipeline("nwucla", "--scale=compact")
    assert ran == [getattr(chosen, stage) for stage in STAGES]
    assert [line for line in capsys.readouterr().out.splitlines() if line] == [f"== nwucla: {s} ==" for s in STAGES]
    assert workflow.main(["demo", "evaluate"]) == 0
    assert ran[4:] == [pipeline("demo").evaluate]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--train_views=1", "--train_views: .* was trained with 1,2, not 1; leave"),
        ("--learning_rate=0.5", "--learning_rate: .* was trained with 0.02, not 0.5; leave"),
        ("--lambda=0.3", r"--lambda \(loser_ground_truth_weight\): .* was trained with 1.0, not 0.7; leave"),
        ("--train_views=2,1", None),
        ("--epochs=60", None),
    ],
)
def test_a_stage_alone_takes_no_run_of_other_settings(flag, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained = pipeline("nwucla", "--scale=compact", "--precision=bfloat16").train
    run = Run("nwucla", "records", "none", ("a", "b"), trained.protocol, {"test": 1}, "0", trained.config)
    RunFolder(trained.directory).create_or_match(run)
    ran = run_with([None, None], monkeypatch)
    for stage in ("evaluate", "export"):
        if message:
            with pytest.raises(InputError, match=message):
                workflow.main(["nwucla", stage, "--scale=compact", flag])
        else:
            assert workflow.main(["nwucla", stage, "--scale=compact", flag]) == 0
    assert len(ran) == (0 if message else 2)


@pytest.mark.parametrize("status", [2, 130, 137])
def test_the_first_failure_ends_the_command_with_its_status(monkeypatch, status):
    ran = run_with([None, Failure("why", status)], monkeypatch)
    assert workflow.main(["nwucla"]) == status
    assert len(ran) == 2


def test_every_flag_of_a_stage_is_explained(capsys):
    assert workflow.main(["nwucla", "train", "--help"]) == 0
    output = capsys.readouterr().out
    for text in ("train: Trains an ensemble", "--temperature", "--train_views", "generalized_distillation", "--part"):
        assert text in output


@pytest.mark.parametrize(
    "command", [["check"], ["check", "ntu60"], ["check", "records"], ["report"], ["random_features"], ["predict"]]
)
def test_every_command_explains_itself(command, capsys):
    assert workflow.main([*command, "--help"]) == 0
    assert "--" in capsys.readouterr().out


def test_commands_get_their_flags_and_end_with_status_0(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    settings = []
    monkeypatch.setattr(report, "report", settings.append)
    monkeypatch.setattr(random_features, "show", settings.append)
    assert workflow.main(["report", "--runs=checkpoints/demo", f"--output={tmp_path}"]) == 0
    assert workflow.main(["random_features", "--dataset=nwucla", "--scale=compact"]) == 0
    assert settings[0].output == tmp_path
    assert settings[1].records == tmp_path / "nwucla/records/80"
    for command in (["check", "records", "--dataset=nwucla"], ["check", "nwucla"]):
        with pytest.raises(InputError, match=str(tmp_path / "nwucla")):
            workflow.main(command)


def test_paths_are_meant_from_where_the_command_was_given(monkeypatch, tmp_path):
    monkeypatch.setenv("CALLED_FROM", str(tmp_path))
    assert command_line.user_path("videos.csv") == str(tmp_path / "videos.csv")
    assert command_line.user_path("~/videos.csv") == str(Path.home() / "videos.csv")
    assert command_line.user_path("/videos.csv") == "/videos.csv"
    chosen = pipeline("nwucla", "--output=there", "--checkpoints=runs", "--export_dir=served")
    assert chosen.prepare.records == chosen.train.records == tmp_path / "there"
    assert chosen.evaluate.run_dir.parent == tmp_path / "runs/nwucla/dmcl"
    assert chosen.export.export_dir == tmp_path / "served"
    assert pipeline("nwucla").prepare.records == Path("data/nwucla/records/256")  # what is not given is the project's
    monkeypatch.setenv("CALLED_FROM", str(Path.cwd()))
    assert command_line.user_path("checkpoints/nwucla") == "checkpoints/nwucla"
