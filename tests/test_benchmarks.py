"""The benchmarks run, at tiny settings, and print their tables; how fast anything is, is not tested."""

import importlib
import re

import numpy as np
import pytest
import scipy.io
from absl import flags

from benchmarks.train_step import forward_flops
from data_prep.flow.algorithms import ALGORITHMS
from data_prep.flow.encoding import ENCODINGS
from dmcl_tf.config import resolve
from dmcl_tf.networks.ensemble import make_ensemble

SMALL_NETWORKS = ("--size=32", "--variant=testing", "--batch=2", "--rounds=1", "--seconds=0.05", "--precisions=float32")


@pytest.fixture
def run(monkeypatch, capsys):
    """`run(benchmark, flag, …)` returns the lines that it prints."""

    def run_benchmark(name, *arguments):
        benchmark, values = importlib.import_module(f"benchmarks.{name}"), flags.FlagValues()
        benchmark.define_flags(values)
        values([name, *arguments])
        monkeypatch.setattr(flags, "FLAGS", values)
        benchmark.main()
        return capsys.readouterr().out.splitlines()

    return run_benchmark


def rows(lines):
    """The table's rows as name → (median, lowest, highest rate, processor time of a sample)."""
    (start,) = (i for i, line in enumerate(lines) if "samples/s: median" in line)
    table = {}
    for line in lines[start + 1 :]:
        match = re.fullmatch(r"(.*\S)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)", line)
        if not match:
            break
        table[match[1]] = tuple(map(float, match.groups()[1:]))
    return table


def ratios(lines):
    """The ratio lines as (name, other) → (ratio of the rates, ratio of the processor times)."""
    pattern = re.compile(r"(.+) / (.+): ([\d.]+) × the samples per second, ([\d.]+) per processor second")
    matches = filter(None, map(pattern.fullmatch, lines))
    return {(match[1], match[2]): (float(match[3]), float(match[4])) for match in matches}


def assert_table(lines, contestants, pairs):
    table = rows(lines)
    assert list(table) == contestants
    for median, lowest, highest, _ in table.values():
        assert 0 < lowest <= median <= highest
    found = ratios(lines)
    assert list(found) == pairs
    for name, other in pairs:
        assert np.isfinite(found[name, other]).all()
        # one round: the ratio of the rates is that of the table, up to its two digits
        assert found[name, other][0] == pytest.approx(table[name][0] / table[other][0], rel=0.05, abs=0.02)


def test_input_pipeline(run):
    lines = run("input_pipeline", "--videos=1", "--frames=9", "--rounds=1", "--seconds=0.1")
    others = ["authors' procedure", "decoding alone", "decoding into batches"]
    pairs = [*(("ours", other) for other in others), ("ours, augmented", others[0])]
    assert_table(lines, ["ours", "ours, augmented", *others], pairs)


def test_evaluation(run):
    settings = ("--videos=1", "--frames=9", "--repetitions=2", "--rounds=1", "--seconds=0.05")
    lines = run("evaluation", "--size=32", "--variant=testing", *settings)
    assert_table(lines, ["evaluation", "forward passes alone"], [("evaluation", "forward passes alone")])


def test_reading(run):
    lines = run("reading", "--videos=5", "--frames=2", "--shards=2", "--rounds=1", "--seconds=0.05")
    names = [f"{files}, {cache}" for cache in ("warm", "cold") for files in ("files", "shards")]
    assert_table(lines, names, [tuple(names[:2]), tuple(names[2:])])


def test_memory(run):
    settings = ("--size=32", "--width=4", "--batch=2", "--rounds=1", "--steps=1", "--modalities=rgb")
    lines = run("memory", *settings)
    for name in ("kept", "recomputed"):
        (line,) = (line for line in lines if line.startswith(f"{name} ") and "/" not in line)
        megabytes, seconds = map(float, line.split()[1:])
        assert megabytes > 100
        assert seconds > 0
    assert re.fullmatch(r"recomputed / kept: [\d.]+ × the memory, [\d.]+ × the time", lines[-1])


def test_train_step(run):
    lines = run("train_step", *SMALL_NETWORKS)
    assert_table(
        lines,
        ["ensemble float32", "separate float32", "augmentation float32", "matrix product float32"],
        [("ensemble float32", "separate float32")],
    )
    (share,) = filter(None, (re.fullmatch(r"ensemble float32: .* GFLOP/s, ([\d.]+) of a .*", line) for line in lines))
    assert 0 <= float(share[1]) < 1
    (share,) = filter(None, (re.fullmatch(r"augmentation float32: ([\d.]+) % of .*", line) for line in lines))
    assert 0 < float(share[1]) < 100


def test_predicting(run):
    lines = run("predicting", "--frames=30", "--window=0.5", "--stride=0.25", "--rounds=1", "--seconds=0.05")
    assert_table(lines, ["decode", "decode, prepare, flow", "all, with the networks"], [])
    assert re.fullmatch(r"milliseconds of a frame: [\d.]+ decoding, -?[\d.]+ preparing .*", lines[-1])


def test_convolution(run):
    lines = run("convolution", *SMALL_NETWORKS)
    pairs = [
        ("folded 2-D kernels float32", "3-D kernels float32"),
        ("normalisation, rank 5 float32", "normalisation, rank 4 float32"),
    ]
    assert_table(lines, [name for pair in pairs for name in pair], pairs)
    (difference,) = (line.rsplit(" ", 1)[1] for line in lines if line.startswith("gradients of the two"))
    assert float(difference) < 1e-3


def test_optical_flow(run):
    lines = run("optical_flow", "--size=32", "--clips=2", "--pairs_per_clip=1", "--rounds=1")
    for name, algorithm in ALGORITHMS.items():
        for preset in algorithm.presets:
            (line,) = (line for line in lines if line.startswith(f"{name} {preset} "))
            milliseconds, ratio, body, frame = map(float, line.split()[2:])
            assert min(milliseconds, ratio, frame) > 0
            assert 0 < body < 2
    for encoding in ENCODINGS:
        (line,) = (line for line in lines if line.startswith(f"{encoding} "))
        assert all(0 < float(word) < 1 for word in line.split()[1:])


def test_parallel(run):
    lines = run("parallel", "--size=24", "--clips=1", "--items=4", "--rounds=1")
    table = {line.split()[0]: line.replace(" s ", " ").split()[1:] for line in lines[2:]}
    assert list(table) == ["records"]
    for row in table.values():
        numbers = [float(word) for word in row]
        assert len(numbers) == 7
        assert min(numbers) > 0


def test_operations_of_the_convolutions_are_counted():
    config = resolve("authors", "full", {"crop_size": 64, "modalities": ("rgb",), "select_by": "rgb"})
    network = make_ensemble(config, 10).networks["rgb"]
    products = 147 * 64 * 8 * 32**2 + 3 * 64 * 64 * 8 * 32**2
    for stage, (channels, before) in enumerate(((64, 64), (128, 64), (256, 128), (512, 256))):
        time, size = 8 >> stage, 16 >> stage
        time_before = 2 * time if stage else time
        positions = time * size**2
        products += before * channels * positions  # the shortcut sees the frames and pixels that it keeps
        products += 9 * before * channels * time_before * size**2 + 3 * channels**2 * positions
        products += 3 * (9 + 3) * channels**2 * positions
    assert forward_flops(network, config) == 2 * products


def test_rendered_rooms(run, tmp_path):
    depth = np.zeros((60, 80, 30), np.uint16)
    depth[10:50, 30:50] = 2500
    scipy.io.savemat(tmp_path / "a1_s1_t1_depth.mat", {"d_depth": depth})
    lines = run("rendered_rooms", "--clips=2", "--size=48", f"--utd={tmp_path}")
    titles = [line.split(":")[0] for line in lines if ": 2 of ours" in line]
    assert titles == [
        "room without people",
        "room with a person",
        "person",
        "person's depth",
        "depth of the whole frame",
    ]
    assert "person's depth: 2 of ours, 2 of theirs" in lines
    (line,) = (line for line in lines if line.startswith("| holes"))
    assert re.fullmatch(r"\| holes \| [\d.e-]+ \([\d.e-]+ – [\d.e-]+\) \| 0 \(0 – 0\) \| .* \|", line)
