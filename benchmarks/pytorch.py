"""The same training step in PyTorch: the same three networks, weights, DMCL loss and SGD, in turn with ours.

    pip install -r requirements-benchmarks.txt
    python -m benchmarks.pytorch
    python -m benchmarks.pytorch --size=112 --width=64 --batch=2 --threads=2

Both work on float clips that are in memory, in eager mode (PyTorch) and as a graph (TensorFlow). PyTorch's networks
fold time into batch or space as ours do, with channels last, which is its fastest layout on processors; that both
compute the same is printed: the largest difference of the logits in training, relative to the largest of them.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.train_step import LEARNING_RATE, network_flags, network_settings, random_batch, title, training_step
from benchmarks.turns import Ratios, Step, machine, print_ratio, print_turns, take_turns, turn_flags
from dmcl_tf.config import Config, resolve
from dmcl_tf.errors import run_script
from dmcl_tf.networks.ensemble import ModalityEnsemble, make_ensemble

try:
    import torch
    from torch.nn import functional
except ImportError:
    raise SystemExit("error: PyTorch is missing: pip install -r requirements-benchmarks.txt") from None

_CLASSES = 10


class _Normalized(torch.nn.Module):
    """A convolution 1×k×k or k×1×1 of clips (B, T, H, W, C), batch normalisation and perhaps ReLU, from ours."""

    def __init__(self, convolution: keras.layers.Layer, normalization: keras.layers.Layer):
        super().__init__()
        kernel = np.asarray(tf.convert_to_tensor(convolution.kernel))  # (t, k, k, in, out)
        self.temporal, self.size = kernel.shape[:2]
        self.strides, self.relu = convolution.strides, normalization.relu
        kernel = kernel[0] if self.temporal == 1 else kernel[:, 0]
        kernel = torch.tensor(kernel.transpose(3, 2, 0, 1))
        self.kernel = torch.nn.Parameter(kernel.contiguous(memory_format=torch.channels_last))
        share = 1.0 - normalization.momentum
        self.normalization = torch.nn.BatchNorm2d(len(kernel), eps=normalization.epsilon, momentum=share)

    def forward(self, x):
        time_stride, stride = self.strides
        batch, time, height, width, channels = x.shape
        if self.temporal > 1:
            columns = x.reshape(batch, time, height * width, channels).permute(0, 3, 1, 2)
            if time_stride > 1:  # TensorFlow's "SAME" pads an even length at its end alone
                padded = functional.pad(columns, (0, 0, 0, 1)).contiguous(memory_format=torch.channels_last)
                columns = functional.conv2d(padded, self.kernel, stride=(time_stride, 1))
            else:
                columns = functional.conv2d(columns, self.kernel, padding=(1, 0))
            return self._normalize(columns).permute(0, 2, 3, 1).reshape(batch, -1, height, width, len(self.kernel))
        if self.size == 1:
            x, stride = x[:, ::time_stride, ::stride, ::stride].contiguous(), 1
        images = x.reshape(-1, *x.shape[2:]).permute(0, 3, 1, 2)
        images = functional.conv2d(images, self.kernel, stride=stride, padding=self.size // 2)
        images = self._normalize(images).permute(0, 2, 3, 1)
        return images.reshape(batch, -1, *images.shape[1:])

    def _normalize(self, images):
        images = self.normalization(images)
        return functional.relu(images, inplace=True) if self.relu else images


class Network(torch.nn.Module):
    """The authors' network, with the weights of one of ours."""

    def __init__(self, network: keras.Model):
        super().__init__()
        number = sum(layer.name.startswith("convolution_") for layer in network.layers)
        layers = [
            _Normalized(network.get_layer(f"convolution_{index}"), network.get_layer(f"normalization_{index}"))
            for index in range(number)
        ]
        self.layers = torch.nn.ModuleList(layers)
        logits = network.get_layer("logits")
        self.logits = torch.nn.Linear(*logits.kernel.shape)
        with torch.no_grad():
            self.logits.weight.copy_(torch.tensor(np.asarray(tf.convert_to_tensor(logits.kernel)).T.copy()))
            self.logits.bias.copy_(torch.tensor(np.asarray(tf.convert_to_tensor(logits.bias))))

    def forward(self, clips):
        """Clips (B, T, H, W, 3) → logits (B, C) float32."""
        layers = iter(self.layers)
        x = next(layers)(clips)
        x = next(layers)(x)
        images = x.reshape(-1, *x.shape[2:]).permute(0, 3, 1, 2)
        # over an even size the same as TensorFlow's "SAME"
        images = functional.max_pool2d(images, 3, 2, ceil_mode=True).permute(0, 2, 3, 1)
        x = images.reshape(*x.shape[:2], *images.shape[1:])
        for block in range(8):
            shortcut = next(layers)(x) if block % 2 == 0 else x
            for _ in range(4):
                x = next(layers)(x)
            x = functional.relu(x + shortcut, inplace=True)
        return self.logits(x.float().mean(dim=(1, 2, 3))).float()  # autocast multiplies in bfloat16


def dmcl(logits: torch.Tensor, labels: torch.Tensor, *, temperature: float, label_weight: float, soft_weight: float):
    """`methods.dmcl`: logits (M, B, C), labels (B,) → losses (M, B)."""
    networks, batch, classes = logits.shape
    repeated = labels.repeat(networks)
    entropies = functional.cross_entropy(logits.reshape(-1, classes), repeated, reduction="none").reshape(
        networks, batch
    )
    winner = entropies.argmin(dim=0)
    target = (logits[winner, torch.arange(batch)] / temperature).softmax(dim=1).detach()
    soft = -(target * (logits / temperature).log_softmax(dim=2)).sum(dim=2)
    is_winner = torch.arange(networks)[:, None] == winner
    return torch.where(is_winner, entropies, label_weight * entropies + soft_weight * soft)


def pytorch_step(ensemble: ModalityEnsemble, batch: dict, config: Config) -> tuple[Callable[[], float], Callable]:
    """A training step as `ModalityEnsemble.train_step`, which returns the loss; and the logits (M, B, C) in training.

    Args:
        ensemble: whose weights its networks begin with.
        batch: of float clips.
        config: of the run; a learning rate next to nothing, as for `training_step`.
    """
    networks = torch.nn.ModuleList([Network(network) for network in ensemble.networks.values()]).train()
    clips = [torch.tensor(batch["clips"][modality].numpy()) for modality in config.modalities]
    labels = torch.tensor(batch["label"].numpy())
    kernels = [value for value in networks.parameters() if value.ndim > 1]
    others = [value for value in networks.parameters() if value.ndim == 1]
    groups = [{"params": kernels, "weight_decay": config.weight_decay}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=LEARNING_RATE, momentum=config.momentum, foreach=True)

    def logits():
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            return torch.stack([network(clip) for network, clip in zip(networks, clips)])

    def step():
        optimizer.zero_grad()
        loss = dmcl(logits(), labels, **config.loss_weights()).mean(dim=1).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, logits


def make_contestants(config: Config) -> tuple[dict[str, Callable[[], Step]], float]:
    """Both steps; and the largest difference of their logits, relative to the largest of them."""
    ensemble = make_ensemble(config, _CLASSES)
    batch = random_batch(config)
    batch = {"clips": ensemble.prepare(batch), "label": batch["label"]}
    ensemble.prepare = lambda batch: batch["clips"]
    theirs, their_logits = pytorch_step(ensemble, batch, config)
    expected = ensemble.stacked_logits(batch["clips"], training=True).numpy()
    difference = np.abs(their_logits().detach().numpy() - expected).max() / np.abs(expected).max()
    ours = training_step(ensemble, config)

    def our_step():
        float(ours(batch)["loss"])
        return config.batch_size

    def their_step():
        theirs()
        return config.batch_size

    return {f"ours {config.precision}": lambda: our_step, f"PyTorch {config.precision}": lambda: their_step}, difference


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    network_flags(flag_values)
    flags.DEFINE_integer("threads", 1, "Threads of each contestant.", 1, flag_values=flag_values)
    flags.DEFINE_list("precisions", ["float32", "bfloat16"], "Which to compare in.", flag_values=flag_values)
    turn_flags(flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns its ratios."""
    torch.set_num_threads(values.threads)
    tf.config.threading.set_intra_op_parallelism_threads(values.threads)
    tf.config.threading.set_inter_op_parallelism_threads(values.threads)
    contestants, differences, ratios = {}, {}, {}
    for precision in values.precisions:
        config = resolve("authors", "compact", {**network_settings(values), "precision": precision})
        own, differences[precision] = make_contestants(config)
        contestants.update(own)
    turns = take_turns(contestants, rounds=values.rounds, seconds=values.seconds)
    print(f"{machine()}, PyTorch {torch.__version__}, threads: {values.threads}")
    print(title(config))
    print_turns(turns)
    for precision, difference in differences.items():
        ratios |= print_ratio(turns, f"ours {precision}", f"PyTorch {precision}")
        print(f"logits {precision}: they differ by {difference:.1e} of the largest")
    return ratios


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
