"""The ensemble: one network per modality, trained together, usable in any subset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter

import keras
import tensorflow as tf

from dmcl_tf.config import Config
from dmcl_tf.data.pipeline import training_input
from dmcl_tf.errors import InputError
from dmcl_tf.learning.loss_scale import LossScale
from dmcl_tf.learning.optimizers import clip_together, decays_itself, is_decayed
from dmcl_tf.methods import LEARNED, LOSSES, Outputs, Step, cross_entropy, winner
from dmcl_tf.networks import NETWORKS, parts
from dmcl_tf.networks.connection import Connected
from dmcl_tf.networks.recompute import Recomputed
from dmcl_tf.registry import METHODS

NOT_FINITE = "the loss is not finite"  # how the message of the error begins


class ModalityEnsemble(keras.Model):
    """Networks of several modalities with a joint training step.

    A batch is a dict with the `label`, (B,) integers, and what `prepare` makes clips of: modality → (B, T, H, W, 3)
    float32. Clips of other modalities are the teacher's, if there is one. A network is called after the modality that
    it sees, but for those of `sees`.

    Args:
        networks: name → Keras model from clips to `logits` (B, C) and `features` (B, F), and perhaps `middle`
            activations; the order breaks ties.
        method: `method(outputs, labels, step)` → (M, B) losses, one of `methods.LOSSES` with its weights.
        weight_decay: w in w·Σv²/2, added to the loss over all kernels.
        seed: of what the method draws.
        sees: the modality of each network that is not called after it.
        teacher: function from clips by modality to the outputs of frozen networks, which are no part of this model.
        learned: weights of the method itself.
        middle: the part whose activations the method is given; None: it is not.
        prepare: function from a batch to its clips by modality, such as augmentation; None: they are there as `clips`.
        connected: whether the second network multiplies into the first, see `Connected`.
        recompute: whether training computes the inside of residual blocks twice instead of keeping it.
        loss_scale: of training in float16.
        clip_norm: largest norm of the gradients of all variables together; 0: any.
        name: of the model.

    Raises:
        InputError: a network has no residual blocks to recompute, or two cannot be connected.
    """

    def __init__(
        self,
        networks: Mapping[str, keras.Model],
        method: Callable[[Outputs, tf.Tensor, Step], tf.Tensor],
        *,
        weight_decay: float = 0.0,
        seed: int = 0,
        sees: Mapping[str, str] | None = None,
        teacher: Callable[[Mapping[str, tf.Tensor]], Outputs] | None = None,
        learned: Learned | None = None,
        middle: str | None = None,
        prepare: Callable[[Mapping], Mapping[str, tf.Tensor]] | None = None,
        connected: bool = False,
        recompute: bool = False,
        loss_scale: LossScale | None = None,
        clip_norm: float = 0.0,
        name: str = "modality_ensemble",
    ):
        # Keras would scale the loss of a float16 model once more
        super().__init__(name=name, dtype="float32" if loss_scale else None)
        self.networks = dict(networks)
        self.modalities = tuple(networks)
        self.sees = {name: name for name in networks} | dict(sees or {})
        self.method = method
        self.weight_decay = weight_decay
        self.seed = seed
        self.teacher = teacher
        self.prepare = prepare or itemgetter("clips")
        self.loss_scale = loss_scale
        self.clip_norm = clip_norm
        self.learned = learned
        self._trained = (
            self.networks
            if middle is None
            else {name: parts.with_middle(network, middle) for name, network in networks.items()}
        )
        self._connected = Connected(*list(networks.values())[:2]) if connected else None
        self._recomputed = [Recomputed(network) for network in self._trained.values()] if recompute else []
        names = ["loss", *(f"{m}_{kind}" for kind in ("loss", "cross_entropy", "accuracy", "wins") for m in networks)]
        self.means = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True  # by its networks

    def call(self, inputs, training=False):
        """Clips of any subset of the modalities → logits (B, C) of the networks that see them, by name."""
        seen = tuple(dict.fromkeys(self.sees.values()))
        if not inputs or set(inputs) - set(seen):
            raise ValueError(f"modalities {sorted(inputs)}: expected one or more of {', '.join(seen)}")
        return {name: outputs["logits"] for name, outputs in self._outputs(self.networks, inputs, training).items()}

    def served(self, name: str) -> Callable[[tf.Tensor], Mapping[str, tf.Tensor]]:
        """One network as a function from clips of its modality to its outputs, in inference mode.

        Raises:
            InputError: it needs clips of another modality as well.
        """
        if not self._connected or name != self.modalities[0]:
            return self.networks[name]
        giver, connected = self.modalities[1], self._connected
        if self.sees[giver] != self.sees[name]:
            raise InputError(
                f"{name} is connected to {giver} and cannot be exported alone: export the method's last run"
            )
        return lambda clips: connected(clips, clips)[0]

    def _outputs(self, networks, clips, training) -> dict[str, Mapping[str, tf.Tensor]]:
        """What those of some networks that see one of the clips say of them."""
        seeing = [name for name in self.modalities if self.sees[name] in clips]
        found: dict[str, Mapping[str, tf.Tensor]] = {}
        pair = self.modalities[:2]
        if self._connected and set(pair) <= set(seeing):
            receiver, giver = (clips[self.sees[name]] for name in pair)
            found = dict(zip(pair, self._connected(receiver, giver, training=training)))
        for name in seeing:
            if name not in found:
                found[name] = networks[name](clips[self.sees[name]], training=training)
        return {name: found[name] for name in seeing}

    def forward(self, clips, training=False) -> Outputs:
        """Clips of all modalities, and perhaps more → what the networks say of them."""
        return stack(list(self._outputs(self._trained, clips, training).values()))

    def stacked_logits(self, clips, training=False) -> tf.Tensor:
        """Clips of all modalities, and perhaps more → logits (M, B, C)."""
        return self.forward(clips, training).logits

    def train_step(self, batch):
        """`learn`, as Keras' `fit` wants it: returns the figures' means so far."""
        return self._means(self.learn(batch), batch)

    def learn(self, batch) -> dict[str, tf.Tensor]:
        """One step on a replica's share of a batch: clips, logits, losses, mean plus decay, gradients, update.

        The gradient is that of the mean over the *global* batch: each replica divides by its own share and by the
        number of replicas, and the optimiser sums.

        Returns:
            What the history reports of the share, scalars: `loss` and, of each modality, `<modality>_loss`,
            `_cross_entropy`, `_accuracy` and `_wins`.

        Raises:
            InvalidArgumentError: the loss is not finite; the message holds `NOT_FINITE`.
        """
        clips = self.prepare(batch)
        step = self._given(clips)
        kept = [part.enter(clips[self.sees[name]]) for part, name in zip(self._recomputed, self.modalities)]
        entering = [tensors[-1] for tensors in kept]  # the parts of the networks that are not recomputed
        with tf.GradientTape() as tape:
            tape.watch(entering)
            if self._recomputed:
                outputs = stack([part.rest(x, training=True) for part, x in zip(self._recomputed, entering)])
            else:
                outputs = self.forward(clips, training=True)
            losses = self.method(outputs, batch["label"], self._with_learned(step))  # (M, B)
            loss = tf.debugging.check_numerics(tf.reduce_sum(tf.reduce_mean(losses, axis=1)), NOT_FINITE)
            total = (loss + self._decay()) / tf.distribute.get_strategy().num_replicas_in_sync
            if self.loss_scale:
                total *= self.loss_scale.value
        variables = self.trainable_variables
        gradients, of_entering = tape.gradient(total, (variables, entering))
        by_variable = {id(variable): gradient for variable, gradient in zip(variables, gradients)}
        pairs: list[tuple] = []
        for part, tensors, gradient in zip(self._recomputed, kept, of_entering):
            # one network after the other: all at once would take as much memory as nearly everything that is kept
            pairs = part.gradients(tensors, gradient, after=[earlier for earlier, _ in pairs])
            for recomputed, variable in pairs:
                decay = by_variable[id(variable)]
                by_variable[id(variable)] = recomputed if decay is None else decay + recomputed
        gradients = [by_variable[id(variable)] for variable in variables]
        if self.clip_norm:
            gradients = clip_together(gradients, self.clip_norm * (self.loss_scale.value if self.loss_scale else 1.0))
        if self.loss_scale:
            self.loss_scale.apply(self.optimizer, gradients, variables)
        else:
            self.optimizer.apply_gradients(list(zip(gradients, variables)))
        return self._figures(losses, outputs.logits, batch["label"])

    def test_step(self, batch):
        """Loss and accuracy of each network on a batch of clips, without training."""
        clips = self.prepare(batch)
        outputs = self.forward(clips)
        losses = self.method(outputs, batch["label"], self._with_learned(self._given(clips)))
        return self._means(self._figures(losses, outputs.logits, batch["label"]), batch)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: the networks are built. Keras 3 would average a batch over replicas here, labels and all."""

    def _given(self, clips) -> Step:
        """A seed of its own for each step and replica, and what the teacher says."""
        step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int64)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.random.experimental.stateless_fold_in(tf.stack([self.seed, step]), replica)
        return Step(seed, self.teacher(clips) if self.teacher else None)

    def _with_learned(self, step: Step) -> Step:
        """With the weights of the method, as tensors through which gradients flow."""
        return step._replace(learned=self.learned.tensors()) if self.learned else step

    def _decay(self) -> tf.Tensor:
        if not self.weight_decay:
            return tf.constant(0.0)
        kernels = [variable for variable in self.trainable_variables if is_decayed(variable)]
        return self.weight_decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(kernel)) for kernel in kernels])

    def _figures(self, losses, logits, labels) -> dict[str, tf.Tensor]:
        entropies = cross_entropy(logits, labels)
        correct = tf.equal(tf.argmax(logits, axis=2, output_type=labels.dtype), labels)
        best = winner(entropies)
        figures = {"loss": tf.reduce_sum(tf.reduce_mean(losses, axis=1))}
        for index, modality in enumerate(self.modalities):
            figures[f"{modality}_loss"] = tf.reduce_mean(losses[index])
            figures[f"{modality}_cross_entropy"] = tf.reduce_mean(entropies[index])
            figures[f"{modality}_accuracy"] = tf.reduce_mean(tf.cast(correct[index], tf.float32))
            figures[f"{modality}_wins"] = tf.reduce_mean(tf.cast(tf.equal(best, index), tf.float32))
        return figures

    def _means(self, figures, batch) -> dict[str, tf.Tensor]:
        for name, value in figures.items():
            self.means[name].update_state(value, sample_weight=tf.shape(batch["label"])[0])
        return {name: mean.result() for name, mean in self.means.items()}


def stack(outputs: Sequence[Mapping[str, tf.Tensor]]) -> Outputs:
    """The outputs of M networks as one."""
    middle = tuple(tf.cast(output["middle"], tf.float32) for output in outputs if "middle" in output)
    features = tuple(output["features"] for output in outputs)
    return Outputs(tf.stack([output["logits"] for output in outputs]), features, middle)


class Learned(keras.layers.Layer):
    """Weights that belong to a method.

    Args:
        shapes: by name; a name ends in `kernel`, `bias`, `gamma` or `beta`, by which it is initialised and decays.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        super().__init__(name="learned")
        initializers = {"kernel": "glorot_uniform", "gamma": "ones"}
        self._names = tuple(shapes)
        for name, shape in shapes.items():
            initializer = initializers.get(name.rpartition("_")[2], "zeros")
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer=initializer))
        self.built = True

    def tensors(self) -> dict[str, tf.Tensor]:
        """The weights by name."""
        return {name: tf.convert_to_tensor(getattr(self, name)) for name in self._names}


def make_networks(config: Config, num_classes: int, modalities: Sequence[str] = ()) -> dict[str, keras.Model]:
    """Freshly initialised networks by modality, in the precision of the configuration, with what it freezes frozen.

    Args:
        config: of the run.
        num_classes: C.
        modalities: of the networks; none given: all of the run.

    Raises:
        InputError: a network has no such part to freeze, or cannot normalise by the batch of all devices.
    """
    policy = config.precision if config.precision == "float32" else f"mixed_{config.precision}"
    keras.mixed_precision.set_global_policy(policy)
    networks = {}
    for modality in modalities or config.modalities:
        variant, width = config.network(modality)
        momentum = config.batch_norm_momentum
        network = NETWORKS[variant](num_classes, width, batch_norm_momentum=momentum, name=modality)
        parts.freeze(network, config.frozen_parts(modality), config.middle_layer)
        if config.sync_batch_norm:
            _synchronize(network, variant)
        networks[modality] = network
    return networks


def _synchronize(network: keras.Model, variant: str) -> None:
    for layer in network.layers:
        if isinstance(layer, keras.Model):  # whose normalisation is Keras' own, fused within a device
            raise InputError(
                f"--sync_batch_norm: {variant} normalises by the share of a device; choose another network"
            )
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True


def make_ensemble(
    config: Config, num_classes: int, teacher: Callable[[Mapping[str, tf.Tensor]], Outputs] | None = None
) -> ModalityEnsemble:
    """A freshly initialised ensemble for a run, whose batches are those of its input pipeline.

    Weights depend on Keras' global seed.

    Args:
        config: of the run.
        num_classes: C.
        teacher: as of `ModalityEnsemble`.

    Raises:
        InputError: networks that cannot be made, or of which all is frozen.
    """
    networks = make_networks(config, num_classes)
    if not any(network.trainable_variables for network in networks.values()):
        raise InputError(f"--freeze={','.join(config.freeze)}: no weights are left to learn; freeze fewer parts")
    shapes = LEARNED.get(config.method)
    features = networks[config.modalities[-1]].output["features"].shape[-1]
    return ModalityEnsemble(
        networks,
        partial(LOSSES[config.method], **config.loss_weights()),
        weight_decay=0.0 if decays_itself(config) else config.weight_decay,
        seed=config.seed,
        sees={name: config.sees(name) for name in networks},
        teacher=teacher,
        learned=Learned(shapes(num_classes, features)) if shapes else None,
        middle=config.middle_layer if METHODS[config.method].compares == "middle" else None,
        prepare=partial(training_input, config=config),
        connected=config.connection,
        recompute=config.recompute,
        loss_scale=LossScale() if config.precision == "float16" else None,
        clip_norm=config.clip_norm,
    )
