"""The benchmarks run, at tiny settings, and print their tables; how fast anything is, is not tested."""

import concurrent.futures
import dataclasses
import importlib
import importlib.util
import json
import re

import numpy as np
import pytest
import scipy.io
from absl import flags

from benchmarks import environment, input_pipeline, memory, preparation, runner
from benchmarks.train_step import forward_flops
from data_prep.flow.algorithms import ALGORITHMS
from data_prep.flow.encoding import ENCODINGS
from dmcl_tf.config import resolve
from dmcl_tf.data import augmentation
from dmcl_tf.errors import InputError
from dmcl_tf.networks.ensemble import make_ensemble

TINY = ("--size=32", "--variant=testing", "--batch=2", "--modalities=rgb")
ONE_TURN = ("--rounds=1", "--seconds=0.01")
SMALL_NETWORKS = (*TINY, *ONE_TURN, "--precisions=float32")


@pytest.fixture
def run(capsys):
    """`run(benchmark, flag, …)` returns the lines that it prints, and has checked the ratios that it returns."""

    def run_benchmark(name, *arguments):
        benchmark, values = importlib.import_module(f"benchmarks.{name}"), flags.FlagValues()
        benchmark.define_flags(values)
        values([name, *arguments])
        returned = benchmark.main(values)
        assert all(0 < ratio < np.inf for ratio in returned.values())
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


def test_input_pipeline(run, monkeypatch):
    """On batches of one sample, with one way to distort its colours, from small pictures."""
    monkeypatch.setattr(input_pipeline, "_CONFIG", dataclasses.replace(input_pipeline._CONFIG, batch_size=1))
    monkeypatch.setattr(augmentation, "COLOR_ORDERS", ("", "bs"))
    monkeypatch.setattr(input_pipeline, "_RENDERED", 96)
    lines = run("input_pipeline", "--videos=1", "--frames=9", *ONE_TURN)
    others = ["authors' procedure", "decoding alone", "decoding into batches"]
    pairs = [*(("ours", other) for other in others), ("ours, augmented", others[0])]
    assert_table(lines, ["ours", "ours, augmented", *others], pairs)


def test_evaluation(run):
    lines = run("evaluation", *TINY, "--videos=1", "--frames=9", "--repetitions=2", *ONE_TURN)
    assert_table(lines, ["evaluation", "forward passes alone"], [("evaluation", "forward passes alone")])


def test_reading(run):
    lines = run("reading", "--videos=5", "--frames=2", "--shards=2", *ONE_TURN)
    names = [f"{files}, {cache}" for cache in ("warm", "cold") for files in ("files", "shards")]
    assert_table(lines, names, [tuple(names[:2]), tuple(names[2:])])


@pytest.fixture
def taken(monkeypatch):
    """What each step was of; none is of a network, and all are in this process."""
    steps = []

    def step(kind):
        steps.append(kind)
        return sum(range(10**5))

    for module in (memory, environment):
        monkeypatch.setattr(module, "own_process", lambda **_: concurrent.futures.ThreadPoolExecutor(1))
    monkeypatch.setattr(memory, "_step", lambda kind: lambda: step(kind))
    return steps


def test_memory(run, taken):
    lines = run("memory", *TINY, "--rounds=1", "--steps=2")
    assert [(config.recompute, config.crop_size) for config in taken] == 2 * [(False, 32)] + 2 * [(True, 32)]
    for name in ("kept", "recomputed"):
        (line,) = (line for line in lines if line.startswith(f"{name} ") and "/" not in line)
        assert float(line.split()[1]) > 100
    assert re.fullmatch(r"recomputed / kept: [\d.]+ × the memory, [\d.]+ × the time", lines[-1])


def test_environment(run, taken):
    lines = run("environment", "--rounds=3", "--steps=1", "--batch=5")
    assert [config.batch_size for config in taken] == 12 * [5]
    assert [line.split()[:2] for line in lines[1:3]] == [["oneDNN", "off"], ["oneDNN", "on"]]
    assert re.fullmatch(r"oneDNN on / oneDNN off: [\d.]+ × the speed", lines[5])
    assert re.fullmatch(r"operations side by side / threads within operations: [\d.]+ × the speed", lines[6])


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
    assert float(share[1]) > 0


def test_predicting(run, tiny_model):
    lines = run(
        "predicting",
        f"--model={tiny_model}",
        "--frames=30",
        "--window=0.5",
        "--stride=0.25",
        "--rounds=1",
        "--seconds=0.05",
    )
    assert_table(lines, ["decode", "decode, prepare, flow", "all, with the networks"], [])
    assert re.fullmatch(r"milliseconds of a frame: [\d.]+ decoding, -?[\d.]+ preparing .*", lines[-1])


@pytest.mark.skipif(importlib.util.find_spec("starlette") is None, reason="the extra serve is not installed")
def test_serving(run, tiny_model):
    lines = run("serving", f"--model={tiny_model}", "--requests=6", "--clients=3")
    assert re.fullmatch(r"6 requests by 3 clients: all answered, each with its own clip's logits", lines[1])
    (latency,) = (line for line in lines if line.startswith("milliseconds"))
    percentiles = [float(number) for number in re.findall(r"[\d.]+(?=,|$)", latency)]
    assert percentiles == sorted(percentiles)


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


def test_preparation(run):
    lines = run("preparation", "--size=24", "--clips=1", "--rounds=1")
    table = {line[:16].strip(): line[16:].split() for line in lines if "processor ms per frame" in line}
    assert list(table) == ["decode", "resize", "flow", "encode as JPEG", "write", "rest", "all"]
    assert sum(float(row[-2]) for name, row in table.items() if name != "all") == pytest.approx(100, abs=0.5)
    assert min(float(table[name][0]) for name in ("decode", "flow", "encode as JPEG")) > 0


def test_the_clock_leaves_out_the_parts_within_a_part(monkeypatch):
    moment = [0.0]
    monkeypatch.setattr(preparation.time, "process_time", lambda: moment[0])
    clock = preparation.Clock()

    def work(seconds):
        moment[0] += seconds

    def numbers():
        for number in (1, 2):
            work(10)
            yield number

    def outer():
        for number in clock.iterator("inner", numbers()):
            work(number)
            clock.function("inmost", work)(100)
        return "done"

    work(0.5)
    assert clock.function("outer", outer)() == "done"
    assert clock.seconds == {"rest": 0.5, "outer": 3, "inner": 20, "inmost": 200}


def run_all(*arguments):
    values = flags.FlagValues()
    runner.define_flags(values)
    runner.main(values(["benchmarks", *arguments]) and values)


def test_all_in_turn(monkeypatch, capfd, tmp_path):
    """One benchmark that loads no TensorFlow, in a process of its own; its ratios are kept and compared with."""
    command = "preparation --size=24 --clips=1 --rounds=1"
    baseline = tmp_path / "baseline.json"
    monkeypatch.setattr(runner, "BASELINE", baseline)
    monkeypatch.setattr(runner, "QUICK", (command, "none"))
    run_all("--quick", "--only=preparation", "--write_baseline")
    kept = json.loads(baseline.read_text())
    ((name, ratio),) = kept[command]["ratios"].items()
    assert 0 < ratio < 1
    assert "Python" in kept[command]["measured"]
    monkeypatch.setattr(runner, "BASELINE", baseline)
    capfd.readouterr()
    kept[command] = {"measured": "elsewhere", "ratios": {name: 1000.0}}
    kept["other"] = kept[command]
    baseline.write_text(json.dumps(kept))
    run_all("--quick", "--only=preparation")
    lines = capfd.readouterr().out.splitlines()
    assert f"$ python -m benchmarks.{command}" in lines
    (line,) = (line for line in lines if line.startswith(f"  {name}"))
    assert line.split()[-2:] == ["1000.00", "0.00"]
    assert f"{command} (then: elsewhere)" in lines
    run_all("--quick", "--only=preparation", "--write_baseline")
    now = json.loads(baseline.read_text())
    assert now["other"] == kept["other"]  # what was not measured again says still where it comes from
    assert now[command]["measured"] != "elsewhere"
    with pytest.raises(InputError, match="--only=tea: expected some of preparation, none"):
        run_all("--quick", "--only=tea")


def test_every_command_is_one_that_its_benchmark_understands():
    for command in (*runner.FULL, *runner.QUICK):
        name, *arguments = command.split()
        if name == "pytorch":  # which is not installed
            continue
        values = flags.FlagValues()
        importlib.import_module(f"benchmarks.{name}").define_flags(values)
        assert values([name, *arguments]) == [name]


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
