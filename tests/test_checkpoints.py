"""Checkpoints: what was saved comes back, and damage is named."""

import numpy as np
import pytest
import tensorflow as tf
from tiny import linear_networks

from dmcl_tf import methods as objectives
from dmcl_tf.config import Config, resolve
from dmcl_tf.errors import InputError
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.networks.ensemble import ModalityEnsemble
from dmcl_tf.runs.checkpoints import Checkpoints


def make_ensemble(optimizer="sgd", classes=3, compiled=True):
    ensemble = ModalityEnsemble(linear_networks(("rgb", "depth"), classes), objectives.dmcl)
    if compiled:
        config = resolve("authors", "paper", {"optimizer": optimizer, "learning_rate": 0.1, "warmup_epochs": 0})
        ensemble.compile(optimizer=make_optimizer(config, 10, ensemble.trainable_variables), jit_compile=False)
    return ensemble


def step(ensemble, value):
    variables = ensemble.trainable_variables
    ensemble.optimizer.apply_gradients([(tf.fill(variable.shape, value), variable) for variable in variables])


@pytest.mark.parametrize("optimizer", Config.__dataclass_fields__["optimizer"].metadata["choices"])
def test_a_restored_run_takes_the_same_steps(optimizer, tmp_path):
    original = make_ensemble(optimizer)
    for value in (1.0, -0.5):
        step(original, value)
    Checkpoints(tmp_path, original).save_last(4)
    restored = make_ensemble(optimizer)
    assert Checkpoints(tmp_path, restored).restore("last") == 4
    for ensemble in (original, restored):
        step(ensemble, 0.25)  # depends on the momenta and on the number of steps so far
    for one, other in zip(original.get_weights(), restored.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_best_and_last_are_kept_apart(tmp_path):
    ensemble = make_ensemble()
    checkpoints = Checkpoints(tmp_path, ensemble)
    assert checkpoints.restore("last") is None
    assert checkpoints.restore("best") is None
    assert checkpoints.best_accuracy() == -1.0
    checkpoints.save_best(2, 62.5)
    best = ensemble.get_weights()
    step(ensemble, 1.0)
    checkpoints.save_last(3)
    last = ensemble.get_weights()
    other = make_ensemble(compiled=False)
    loaded = Checkpoints(tmp_path, other)
    assert loaded.best_accuracy() == 62.5
    for name, epoch, weights in (("best", 2, best), ("last", 3, last)):
        assert loaded.restore(name) == epoch
        for one, expected in zip(other.get_weights(), weights):
            np.testing.assert_array_equal(one, expected)


def test_only_the_newest_of_each_is_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, make_ensemble())
    for epoch in range(3):
        checkpoints.save_last(epoch)
    assert sorted(path.name for path in (tmp_path / "last").glob("*.index")) == ["ckpt-2.index"]


def test_a_half_written_checkpoint_is_never_found(tmp_path):
    checkpoints = Checkpoints(tmp_path, make_ensemble())
    checkpoints.save_last(0)
    (tmp_path / "last" / "ckpt-1.data-00000-of-00001").write_bytes(b"half")
    (tmp_path / "last" / "ckpt-1.index").write_bytes(b"")
    assert Checkpoints(tmp_path, make_ensemble()).restore("last") == 0


def test_a_damaged_checkpoint_and_one_of_other_networks_are_named(tmp_path):
    Checkpoints(tmp_path, make_ensemble()).save_last(7)
    with pytest.raises(InputError, match=r"ckpt-7 cannot be restored.*remove .*last to start afresh") as caught:
        Checkpoints(tmp_path, make_ensemble(classes=5)).restore("last")
    assert "\n" not in str(caught.value)
    (tmp_path / "last" / "ckpt-7.index").write_bytes(b"damaged")
    with pytest.raises(InputError, match="ckpt-7 cannot be restored"):
        Checkpoints(tmp_path, make_ensemble()).restore("last")
