"""The runs that a method needs: their settings, and what is found before the first of them is trained."""

from __future__ import annotations

import pytest
from tiny_run import TRAINING, parse_flags, write_noisy_records

from dmcl_tf import train
from dmcl_tf.config import Config
from dmcl_tf.errors import InputError
from workflow import experiments
from workflow import stages as workflow_stages


def settings_of(folder, method, **changes):
    places = {"records": write_noisy_records(folder / "records").directory, "checkpoints": folder / "new"}
    settings = {**TRAINING, "method": method, "modalities": "rgb,depth", **places, **changes}
    return train.settings_from_flags(parse_flags(train, **settings))


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("hallucination", {"middle_layer": "stage9"}, "--middle_layer=stage9: the network of .* has no such part"),
        ("admd", {"freeze": "stage9"}, "--freeze=stage9: the network of .* has no such part"),
        (
            "admd",
            {"networks": "rgb:testing/8,depth:testing/16"},
            "--method=admd compares features: hallucination is testing/64, but depth of .*depth is testing/16; choose",
        ),
        (
            "hallucination",
            {"networks": "rgb:testing/8"},
            "independent starts networks from others: depth is testing/64, but rgb of .*-rgb is testing/8; choose",
        ),
        (
            "modality_distillation",
            {"connection": True},
            "--connection: the networks of rgb and depth must be of one kind",
        ),
    ],
)
def test_what_a_later_stage_cannot_use_is_found_before_the_first_is_trained(tmp_path, method, changes, message):
    with pytest.raises(InputError, match=message):
        train.train(settings_of(tmp_path, method, **changes))
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_settings_of_a_loss_are_those_of_the_stages_that_have_it(tmp_path):
    settings = settings_of(tmp_path, "modality_distillation", weighting="admd_code", middle_layer="stage1")
    usual = Config()
    of_stages = [(stage.config.method, stage.config.weighting, stage.config.middle_layer) for stage in settings.stages]
    assert of_stages[:2] == [
        ("independent", usual.weighting, ""),
        ("modality_distillation_teacher", usual.weighting, ""),
    ]
    assert of_stages[2] == ("modality_distillation_student", "admd_code", "stage1")
    assert (settings.config.weighting, settings.config.middle_layer) == (usual.weighting, "")


def test_what_a_method_prescribes_goes_before_the_data_set_and_the_recipe():
    def config(*arguments):
        given = ["--methods=admd,modality_distillation", "--seeds=0", "--train_fractions=1", *arguments]
        plan = experiments.make_plan(experiments.parse(["--dataset=demo", *given]))
        return {run.config.method: run.config for run in plan.experiments}

    admd = config()["admd"]
    assert (admd.optimizer, admd.learning_rate, admd.epochs) == ("adam", 1e-3, 60)  # the demo has 0.01 for others
    assert config("--learning_rate=0.5")["admd"].learning_rate == 0.5
    command = ["--method=admd", "--scale=compact"]
    assert workflow_stages.make_pipeline(workflow_stages.parse("demo", command)).train.config.learning_rate == 1e-3
    student = config("--weighting=admd_code")["modality_distillation_student"]
    assert student.recipe == "paper"
    assert student.loss_weights() == {"temperature": 10, "label_weight": 1, "soft_weight": 100, "middle_weight": 0.01}
