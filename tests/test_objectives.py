"""The objectives: equal to the authors' values and to independent formulas, for any number of networks."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from objective_formulas import CASES, by_samples, gradient_by_samples, log_softmax

from dmcl_tf import methods as objectives
from dmcl_tf.config import Config

GOLDEN = np.load(Path(__file__).parent / "golden" / "loss.npz")
GOLDEN_CASES = sorted({name.split("/")[0] for name in GOLDEN.files})


def random_case(networks, batch, classes, seed=0):
    random = np.random.RandomState(seed)
    logits = random.normal(scale=3.0, size=(networks, batch, classes)).astype(np.float32)
    return tf.constant(logits), tf.constant(random.randint(classes, size=batch), tf.int64)


def step_inputs(name, batch, classes, seed=7):
    """What a training step would give the objective beside logits and labels."""
    inputs = {
        "seed": tf.constant([seed, 3], tf.int64),
        "teacher_logits": 3.0 * tf.random.stateless_normal((batch, classes), (seed, 3)),
    }
    return {key: inputs[key] for key in objectives.step_inputs(objectives.OBJECTIVES[name])}


def given_by_sample(name, logits, inputs, result):
    """What the formula of an objective needs beside the logits and the label of each sample."""
    if CASES[name].drawn:
        return CASES[name].drawn(logits, result)
    return [{key: value[b].numpy() for key, value in inputs.items()} for b in range(logits.shape[1])]


SHAPES = [(2, 3, 4), (3, 5, 10), (5, 6, 4), (3, 10, 10), (3, 4, 4), (2, 2, 2), (5, 5, 5), (3, 1, 7)]


def test_every_objective_has_a_case():
    assert set(CASES) == set(objectives.OBJECTIVES)
    assert all(name == function.__name__ for name, function in objectives.OBJECTIVES.items())


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
@pytest.mark.parametrize("shape", SHAPES)
def test_objective_equals_its_formula_for_any_number_of_networks(name, shape):
    """Includes batches of as many samples as classes or networks, where a rank-1 condition broadcasts wrongly."""
    logits, labels = random_case(*shape)
    inputs = step_inputs(name, *shape[1:])
    result = objectives.OBJECTIVES[name](logits, labels, **inputs)
    losses, teachers = by_samples(CASES[name], logits, labels, given_by_sample(name, logits, inputs, result))
    assert result.loss.shape == shape[:2]
    assert result.loss.dtype == tf.float32
    np.testing.assert_allclose(result.loss, losses, rtol=1e-5, atol=2e-6)
    np.testing.assert_array_equal(result.teacher, teachers)
    assert result.teacher.dtype == tf.int32


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 4, 4)])
def test_gradient_flows_where_the_formula_lets_it(name, shape):
    logits, labels = random_case(*shape, seed=4)
    inputs = step_inputs(name, *shape[1:])
    with tf.GradientTape() as tape:
        tape.watch([logits, *inputs.values()])
        result = objectives.OBJECTIVES[name](logits, labels, **inputs)
        loss = tf.reduce_sum(result.loss)
    gradient, *others = tape.gradient(loss, [logits, *inputs.values()])
    expected = gradient_by_samples(CASES[name], logits, labels, given_by_sample(name, logits, inputs, result))
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)
    assert others == [None] * len(inputs)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.chooses])
def test_ties_go_to_the_lowest_index(name):
    logits, labels = random_case(1, 5, 4)
    inputs, objective = step_inputs(name, 5, 4), objectives.OBJECTIVES[name]
    for networks in (2, 3, 5):
        tied = tf.repeat(logits, networks, axis=0)
        np.testing.assert_array_equal(objective(tied, labels, **inputs).teacher, np.zeros(5))
        # a first network that is never the best: sure of the wrong class
        wrong = -30.0 * tf.one_hot(labels, 4)[None]
        np.testing.assert_array_equal(objective(tf.concat([wrong, tied], axis=0), labels, **inputs).teacher, np.ones(5))


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
def test_objectives_run_in_graphs_of_unknown_shape(name):
    specification = [tf.TensorSpec((None, None, None)), tf.TensorSpec((None,), tf.int64)]
    inputs = step_inputs(name, 3, 4)
    specification.append({key: tf.TensorSpec([None] * value.ndim, value.dtype) for key, value in inputs.items()})

    @tf.function(input_signature=specification)
    def traced(logits, labels, inputs):
        return objectives.OBJECTIVES[name](logits, labels, **inputs)

    for shape in ((2, 3, 4), (5, 10, 10)):
        logits, labels = random_case(*shape)
        inputs = step_inputs(name, *shape[1:])
        expected = objectives.OBJECTIVES[name](logits, labels, **inputs)
        result = traced(logits, labels, inputs)
        np.testing.assert_allclose(result.loss, expected.loss, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(result.teacher, expected.teacher)


def test_settings_of_objectives_are_settings_of_a_run():
    for objective in objectives.OBJECTIVES.values():
        assert objectives.settings_of(objective) <= {field.name for field in dataclasses.fields(Config)}
        assert objectives.step_inputs(objective) <= {"seed", "teacher_logits"}
    assert objectives.step_inputs(objectives.random_teacher) == {"seed"}
    assert objectives.settings_of(objectives.cmcl) == {"beta"}


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_dmcl_equals_the_authors_values(case):
    golden = {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}
    logits, labels = tf.constant(golden["logits"]), tf.constant(golden["labels"])
    settings = {
        "temperature": float(golden["temperature"]),
        "loser_ground_truth_weight": float(golden["a_loser_gt"]),
        "distillation_weight": float(golden["a_distill"]),
    }
    with tf.GradientTape() as tape:
        tape.watch(logits)
        objective = objectives.dmcl(logits, labels, **settings)
        loss = tf.reduce_sum(tf.reduce_mean(objective.loss, axis=1))
    entropies = objectives.cross_entropy(logits, labels)
    np.testing.assert_allclose(entropies, golden["cross_entropy"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(objective.teacher, golden["winner"])
    ground_truth = objectives.dmcl(logits, labels, **{**settings, "distillation_weight": 0.0}).loss
    np.testing.assert_allclose(tf.reduce_sum(ground_truth) / len(labels), golden["loss_ground_truth"], rtol=1e-5)
    distillation = tf.reduce_sum(objective.loss - ground_truth) / len(labels)
    np.testing.assert_allclose(distillation, golden["loss_distillation"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(loss, golden["loss_ground_truth"] + golden["loss_distillation"], rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, logits), golden["grad_logits"], rtol=1e-5, atol=1e-6)


def test_golden_cases_include_a_batch_of_as_many_samples_as_classes():
    assert any(GOLDEN[f"{case}/logits"].shape[1] == GOLDEN[f"{case}/logits"].shape[2] for case in GOLDEN_CASES)
    assert len(GOLDEN_CASES) == 5


@pytest.mark.parametrize("weight", [0.5, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_equation_3_of_the_paper(weight, temperature):
    logits, labels = random_case(3, 7, 10, seed=1)
    objective = objectives.dmcl(
        logits,
        labels,
        temperature=temperature,
        loser_ground_truth_weight=1 - weight,
        distillation_weight=weight,
        scale_by_temperature_squared=False,
    )
    expected, _ = by_samples(
        CASES["dmcl"],
        logits,
        labels,
        [{}] * 7,
        temperature=temperature,
        label_weight=1 - weight,
        teacher_weight=weight,
        scale=1.0,
    )
    np.testing.assert_allclose(objective.loss, expected, rtol=1e-5, atol=1e-6)


def test_no_gradient_flows_into_the_teacher():
    logits, labels = random_case(3, 6, 5, seed=2)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        objective = objectives.dmcl(logits, labels)
        is_teacher = tf.equal(tf.range(3)[:, None], objective.teacher)
        losers = tf.reduce_sum(tf.where(is_teacher, 0.0, objective.loss))
    gradient = tape.gradient(losers, logits).numpy()
    np.testing.assert_array_equal(gradient[is_teacher.numpy()], 0.0)
    assert (np.abs(gradient[~is_teacher.numpy()]).sum(axis=1) > 0.01).all()


def test_gradient_of_the_distillation_is_the_difference_of_the_softened_predictions():
    logits, labels = random_case(3, 6, 5, seed=3)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        objective = objectives.dmcl(logits, labels, temperature=5.0, loser_ground_truth_weight=0.0)
        loss = tf.reduce_sum(objective.loss)
    soft = np.exp(log_softmax(logits.numpy() / 5.0))
    hard = np.exp(log_softmax(logits.numpy()))
    gradient = tape.gradient(loss, logits).numpy()
    for sample, teacher in enumerate(objective.teacher.numpy()):
        expected = 5.0 * (soft[:, sample] - soft[teacher, sample])  # T² / T
        expected[teacher] = hard[teacher, sample] - np.eye(5)[labels[sample]]
        np.testing.assert_allclose(gradient[:, sample], expected, rtol=1e-4, atol=1e-5)
