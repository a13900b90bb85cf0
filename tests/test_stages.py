"""One command for all stages: every flag reaches the stages that know it, and nothing else passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.raw import DATASETS
from dmcl_tf.errors import InputError
from workflow import stages

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("prepare", "train", "evaluate", "export")


@pytest.fixture(autouse=True)
def default_data_root(monkeypatch):
    monkeypatch.delenv("DATA_ROOT", raising=False)


def commands(dataset, *arguments, only=STAGES):
    """The flags of each stage's command line."""
    lines = stages.commands(dataset, list(only), list(arguments))
    assert len(lines) == len(only)
    for stage, line in zip(only, lines):
        script = stages.STAGES[stage][1]
        assert line[: 1 + len(script)] == [sys.executable, *script]
    return {stage: line[1 + len(stages.STAGES[stage][1]) :] for stage, line in zip(only, lines)}


def values(stage, arguments):
    """What a stage's script makes of its command line, which it must know to the last flag."""
    parsed, rest = stages.parse(stage, arguments)
    assert rest == []
    return {name: parsed[name].value for name in parsed}


def test_every_stage_is_a_script_that_is_there():
    assert tuple(stages.STAGES) == STAGES
    for module, script in stages.STAGES.values():
        assert Path(module.__file__) == ROOT / (script[0] if len(script) == 1 else script[1].replace(".", "/") + ".py")


def test_folders_are_handed_from_stage_to_stage():
    given = commands("nwucla")
    assert given["prepare"] == ["--dataset=nwucla", "--data_dir=data/nwucla", "--size=256"]
    assert given["train"] == ["--records=data/nwucla/records/256"]
    run = "--run_dir=checkpoints/nwucla/dmcl/authors-paper-seed0"
    assert given["evaluate"] == [run, "--records=data/nwucla/records/256"]
    assert given["export"] == [run]


def test_the_data_root_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("DATA_ROOT", "/elsewhere")
    given = commands("nwucla", "--scale=compact")
    assert "--data_dir=/elsewhere/nwucla" in given["prepare"]
    assert "--records=/elsewhere/nwucla/records/80" in given["train"]


def test_flags_reach_the_stages_that_know_them():
    arguments = ["--method=independent", "--scale=compact", "--seed=3", "--workers=1", "--flow_bound=10"]
    arguments += ["--train_views=1,3", "--test_view=2", "--checkpoint=last", "--split=validation", "--lambda=0.5"]
    given = {stage: values(stage, line) for stage, line in commands("nwucla", *arguments).items()}
    assert (given["prepare"]["workers"], given["prepare"]["flow_bound"]) == (1, 10)
    assert (given["prepare"]["train_views"], given["prepare"]["test_view"]) == (["1", "3"], 2)
    assert (given["prepare"]["size"], given["prepare"]["scale"]) == (80, "compact")
    assert (given["train"]["method"], given["train"]["scale"], given["train"]["seed"]) == ("independent", "compact", 3)
    assert given["train"]["lambda"] == 0.5
    assert (given["evaluate"]["checkpoint"], given["evaluate"]["split"]) == ("last", "validation")
    assert given["export"]["checkpoint"] == "last"
    for stage in ("evaluate", "export"):
        assert given[stage]["run_dir"] == "checkpoints/nwucla/independent/authors-compact-seed3"
    assert "split" not in given["export"]


def test_modalities_are_those_of_records_and_of_training():
    given = {stage: values(stage, line) for stage, line in commands("nwucla", "--modalities=rgb,depth").items()}
    assert given["prepare"]["modalities"] == given["train"]["modalities"] == ["rgb", "depth"]


def test_modalities_of_own_videos_reach_training(tmp_path):
    csv = tmp_path / "videos.csv"
    csv.write_text("video_id,label,split,thermal,ir\na,x,train,a.avi,b.avi\nb,y,train,a.avi,b.avi\n")
    given = {stage: values(stage, line) for stage, line in commands("custom", f"--videos={csv}").items()}
    assert given["prepare"]["videos"] == str(csv)
    assert given["train"]["modalities"] == ["thermal", "ir"]
    assert given["train"]["records"] == given["evaluate"]["records"] == "data/custom/records/256"
    flow = {
        stage: values(stage, line) for stage, line in commands("custom", f"--videos={csv}", "--flow_from=ir").items()
    }
    assert flow["train"]["modalities"] == ["thermal", "ir", "flow"]
    one = commands("custom", f"--videos={csv}", "--modalities=ir", "--method=independent", "--select_by=ir")
    assert values("train", one["train"])["modalities"] == ["ir"]
    with pytest.raises(InputError, match=r"--videos is missing"):
        commands("custom")


@pytest.mark.parametrize(
    ("dataset", "arguments", "records"),
    [
        ("uwa3dii", ["--train_views=1,3"], "data/uwa3dii/records/256"),
        ("ntu60", ["--protocol=cross_view"], "data/ntu/records/ntu60-256"),
        ("ntu120", ["--protocol=cross_setup"], "data/ntu/records/ntu120-256"),
        ("ntu120mini", ["--subset=2"], "data/ntu/records/ntu120mini-256"),
    ],
)
def test_every_data_set_of_the_paper(dataset, arguments, records):
    given = commands(dataset, *arguments)
    assert set(arguments) <= set(given["prepare"])
    assert given["train"] == [f"--records={records}"]
    assert given["evaluate"][0] == f"--run_dir=checkpoints/{dataset}/dmcl/authors-paper-seed0"


@pytest.mark.parametrize("sign", ["=", " "])
def test_both_ways_of_writing_a_flag(sign):
    """Also where a stage does not know the flag, and its value looks like an argument to it."""
    written = [("--learning_rate", "0.1"), ("--frame_size", "320"), ("--test_view", "1"), ("--train_views", "2,3")]
    written += [("--epochs", "2"), ("--checkpoint", "last"), ("--run_name", "mine")]
    arguments = [text for name, value in written for text in f"{name}{sign}{value}".split()]
    given = {stage: values(stage, line) for stage, line in commands("nwucla", "--deterministic", *arguments).items()}
    train = given["train"]
    assert (train["learning_rate"], train["frame_size"], train["epochs"], train["deterministic"]) == (0.1, 320, 2, True)
    assert (given["prepare"]["size"], given["prepare"]["test_view"]) == (320, 1)
    assert given["prepare"]["train_views"] == ["2", "3"]
    assert given["train"]["records"] == given["evaluate"]["records"] == "data/nwucla/records/320"
    assert given["export"]["checkpoint"] == "last"
    assert given["export"]["run_dir"] == "checkpoints/nwucla/dmcl/mine"


def test_switches_can_be_turned_off():
    assert values("train", commands("nwucla", "--nodeterministic")["train"])["deterministic"] is False


def test_folders_can_be_chosen():
    arguments = ["--output=there/records", "--checkpoints=runs", "--run_name=mine", "--export_dir=served"]
    given = {stage: values(stage, line) for stage, line in commands("nwucla", *arguments).items()}
    assert given["prepare"]["output"] == given["train"]["records"] == given["evaluate"]["records"] == "there/records"
    assert given["evaluate"]["run_dir"] == given["export"]["run_dir"] == "runs/nwucla/dmcl/mine"
    assert given["export"]["export_dir"] == "served"


def test_a_run_that_is_named_is_evaluated_on_its_own_records():
    given = commands("nwucla", "--run_dir=checkpoints/mine", only=("evaluate",))["evaluate"]
    assert values("evaluate", given)["run_dir"] == "checkpoints/mine"
    assert values("evaluate", given)["records"] is None


def test_the_demo_is_short_and_its_settings_can_be_overridden():
    given = values("train", commands("demo")["train"])
    assert (given["scale"], given["frame_size"]) == ("compact", 64)
    assert given["epochs"] * 150 / given["batch_size"] < 1000  # steps, of its 150 training videos
    assert values("prepare", commands("demo")["prepare"])["size"] == 64
    overridden = commands("demo", "--epochs=2", "--scale=paper", "--frame_size=256")
    given = values("train", overridden["train"])
    assert (given["scale"], given["frame_size"], given["epochs"]) == ("paper", 256, 2)
    assert values("prepare", overridden["prepare"])["size"] == 256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temprature=5"], "unknown argument '--temprature=5'; did you mean --temperature?"),
        (["--epochs=3", "--checkpont", "last"], "unknown argument '--checkpont'; did you mean --checkpoint?"),
        (["--zzz"], "unknown argument '--zzz'; python -m dmcl_tf.train --help lists the settings"),
        (["--epochs=3", "train"], "unknown argument 'train': a stage goes right after the data set"),
        (["--epochs=many"], "--epochs=many"),
        (["--epochs"], "Missing value for flag --epochs"),
        (["--recipe=paprika"], "--recipe=paprika: expected one of authors, paper"),
        (["--lambda=2"], "--lambda=2.0: expected a value from 0 to 1"),
        (["--crop_size=300"], "--crop_size=300 exceeds --frame_size=256"),
        (["--split=training"], "--split=training: value should be one of <test|validation>"),
        (["--size=96"], "--size=96: training expects frames of --frame_size=256; give --frame_size=96 instead"),
    ],
)
def test_a_wrong_flag_is_named_before_anything_runs(arguments, message, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    with pytest.raises(InputError) as error:
        stages.main(["nwucla", *arguments])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_records_of_a_size_of_their_own_can_be_prepared_alone():
    assert values("prepare", commands("nwucla", "--size=96", only=("prepare",))["prepare"])["size"] == 96


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a data set, one of demo, nwucla"),
        (["nwuclaa"], "'nwuclaa'.*expected a data set, one of demo, nwucla.*did you mean nwucla"),
        (["nwucla", "prepair"], "unknown stage 'prepair': expected one of prepare, train, evaluate, export"),
    ],
)
def test_unknown_data_sets_and_stages(arguments, message):
    with pytest.raises(InputError, match=message):
        stages.main(arguments)
    assert set(DATASETS) >= {"demo", "nwucla"}


def run_with(statuses, monkeypatch):
    """Lets each command end with the next status; returns the list that the commands are added to."""
    ran, left = [], list(statuses)

    def run(command, check):
        assert not check
        ran.append(command)
        return subprocess.CompletedProcess(command, left.pop(0))

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def test_stages_run_in_turn_or_alone(monkeypatch, capsys):
    ran = run_with([0] * 5, monkeypatch)
    assert stages.main(["nwucla", "--scale=compact"]) == 0
    assert ran == stages.commands("nwucla", list(STAGES), ["--scale=compact"])
    assert [line for line in capsys.readouterr().out.splitlines() if line] == [f"== nwucla: {s} ==" for s in STAGES]
    assert stages.main(["demo", "evaluate"]) == 0
    assert ran[4:] == stages.commands("demo", ["evaluate"], [])


@pytest.mark.parametrize(("status", "handed_on"), [(2, 2), (130, 130), (-9, 137)])
def test_the_first_failure_ends_the_command_with_its_status(monkeypatch, status, handed_on):
    ran = run_with([0, status], monkeypatch)
    assert stages.main(["nwucla"]) == handed_on
    assert len(ran) == 2


def test_as_a_script(tmp_path):
    """The real thing, up to the first stage that cannot go on."""
    command = [sys.executable, "-m", "workflow.stages", "nwucla", "evaluate", f"--checkpoints={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stdout.strip() == "== nwucla: evaluate =="
    run = tmp_path / "nwucla/dmcl/authors-paper-seed0"
    assert f"error: {run}/config.json does not exist: expected a run" in done.stderr.splitlines()[-1]
