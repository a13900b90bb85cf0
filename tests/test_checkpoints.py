"""Checkpoints: what was saved comes back, and damage is named."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny import linear_networks

from dmcl_tf.config import Config, resolve
from dmcl_tf.errors import InputError
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.networks.ensemble import ModalityEnsemble
from dmcl_tf.runs.checkpoints import Checkpoints
from dmcl_tf.runs.progress import remove_others


def make_ensemble(optimizer="sgd", classes=3, compiled=True, modalities=("rgb", "depth")):
    ensemble = ModalityEnsemble(linear_networks(modalities, classes), None)
    if compiled:
        config = resolve("authors", "full", {"optimizer": optimizer, "learning_rate": 0.1, "warmup_epochs": 0})
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
    checkpoints.save_best(2)
    best = ensemble.get_weights()
    step(ensemble, 1.0)
    checkpoints.save_last(3)
    last = ensemble.get_weights()
    other = make_ensemble(compiled=False)
    loaded = Checkpoints(tmp_path, other)
    for name, epoch, weights in (("best", 2, best), ("last", 3, last)):
        assert loaded.restore(name) == epoch
        for one, expected in zip(other.get_weights(), weights):
            np.testing.assert_array_equal(one, expected)


def test_only_the_newest_of_each_is_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, make_ensemble())
    for epoch in range(3):
        checkpoints.save_last(epoch)
    Checkpoints(tmp_path, make_ensemble()).save_last(3)  # of a run that continues
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last"]
    assert sorted(path.name for path in (tmp_path / "last").glob("*.index")) == ["ckpt-3.index"]


def test_a_half_written_checkpoint_is_never_found(tmp_path):
    checkpoints = Checkpoints(tmp_path, make_ensemble())
    checkpoints.save_last(0)
    (tmp_path / "last" / "ckpt-1.data-00000-of-00001").write_bytes(b"half")
    (tmp_path / "last" / "ckpt-1.index").write_bytes(b"")
    assert Checkpoints(tmp_path, make_ensemble()).restore("last") == 0


def test_the_same_weights_are_the_same_bytes_however_often_they_were_saved(tmp_path):
    ensemble = make_ensemble()
    for name, times in (("once", 1), ("again", 3)):
        for _ in range(times):  # as a run that was killed, and repeats an epoch
            Checkpoints(tmp_path / name, ensemble).save_best(5)
        checkpoints = Checkpoints(tmp_path / name, ensemble)
        checkpoints.restore("best")
        checkpoints.save_last(5)
    for file in ("best/ckpt-5.index", "last/ckpt-5.index", "last/ckpt-5.data-00000-of-00001"):
        assert (tmp_path / "once" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_what_is_not_of_the_newest_checkpoint_is_removed(tmp_path):
    Checkpoints(tmp_path, make_ensemble()).save_last(1)
    whole = sorted((tmp_path / "last").iterdir())
    (tmp_path / "last" / "ckpt-2_temp").mkdir()
    for name in ("ckpt-2.data-00000-of-00001", "ckpt-12.index", "ckpt-10.index"):
        (tmp_path / "last" / name).touch()
    remove_others(tmp_path / "last")
    assert sorted((tmp_path / "last").iterdir()) == whole
    remove_others(tmp_path / "best")  # none is there


@pytest.mark.parametrize("first", [True, False])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, monkeypatch, first):
    if not first:
        Checkpoints(tmp_path, make_ensemble()).save_last(1)
    before = sorted(path.name for path in tmp_path.rglob("*"))

    def save(self, checkpoint_number):
        (Path(self.directory) / f"ckpt-{checkpoint_number}_temp").mkdir(parents=True)
        (Path(self.directory) / f"ckpt-{checkpoint_number}.index").write_bytes(b"half")
        raise tf.errors.ResourceExhaustedError(None, None, "ckpt-10.index; No space left on device")

    monkeypatch.setattr(tf.train.CheckpointManager, "save", save)
    with pytest.raises(tf.errors.ResourceExhaustedError, match="No space left"):
        Checkpoints(tmp_path, make_ensemble()).save_last(10)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert Checkpoints(tmp_path, make_ensemble()).restore("last") == (None if first else 1)


def test_an_interruption_after_saving_keeps_what_was_saved(tmp_path, monkeypatch):
    checkpoints, real = Checkpoints(tmp_path, make_ensemble()), tf.train.CheckpointManager.save
    checkpoints.save_last(0)

    def save(self, checkpoint_number):
        real(self, checkpoint_number=checkpoint_number)
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.train.CheckpointManager, "save", save)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save_last(1)
    assert Checkpoints(tmp_path, make_ensemble()).restore("last") == 1


@pytest.mark.parametrize(
    "changes",
    [{"classes": 5}, {"modalities": ("rgb", "flow")}, {"modalities": ("rgb",)}],
    ids=["classes", "other", "fewer"],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_checkpoint_of_other_networks_is_named(tmp_path, changes, compiled):
    Checkpoints(tmp_path, make_ensemble()).save_last(7)
    Checkpoints(tmp_path, make_ensemble()).save_best(7)
    for name in ("last", "best"):
        with pytest.raises(InputError, match=rf"{name}/ckpt-7 cannot be restored.*bring back .*/{name}, or") as caught:
            Checkpoints(tmp_path, make_ensemble(compiled=compiled, **changes)).restore(name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pattern", ["ckpt-7.index", "ckpt-7.data-*"])
def test_a_damaged_checkpoint_is_named(tmp_path, pattern):
    Checkpoints(tmp_path, make_ensemble()).save_last(7)
    (file,) = (tmp_path / "last").glob(pattern)
    for content in (b"damaged", file.read_bytes()[: file.stat().st_size // 2], b""):
        file.write_bytes(content)
        with pytest.raises(InputError, match="ckpt-7 cannot be restored"):
            Checkpoints(tmp_path, make_ensemble()).restore("last")
    file.unlink()
    with pytest.raises(InputError, match=f"last/checkpoint is damaged .*there is no {pattern.replace('*', '.')}"):
        Checkpoints(tmp_path, make_ensemble()).restore("last")


def test_a_crafted_state_deletes_nothing_elsewhere(tmp_path):
    """TensorFlow's manager deletes the checkpoints that its state calls old."""
    Checkpoints(tmp_path / "run", make_ensemble()).save_last(7)
    Checkpoints(tmp_path / "victim", make_ensemble()).save_last(1)
    state = tmp_path / "run" / "last" / "checkpoint"
    sound = state.read_text()
    for path in (tmp_path / "victim" / "last" / "ckpt-1", "../../victim/last/ckpt-1"):
        state.write_text(f'{sound}all_model_checkpoint_paths: "{path}"\n')
        for act in (lambda run: run.save_last(8), lambda run: run.restore("last")):
            with pytest.raises(InputError, match="last/checkpoint is damaged"):
                act(Checkpoints(tmp_path / "run", make_ensemble()))
    assert (tmp_path / "victim" / "last" / "ckpt-1.index").exists()
