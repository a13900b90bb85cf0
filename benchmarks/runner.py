"""All benchmarks of speed and memory in turn, and their ratios beside those of an earlier run.

    bash run.sh benchmarks            # the tables of docs/benchmarks.md: an hour on quiet cores
    bash run.sh benchmarks --quick    # the same scripts at small settings: does everything run?
    bash run.sh benchmarks --only=reading,optical_flow --write_baseline

Each runs in a process of its own. More is better in every ratio; `benchmarks/baseline.json` says with those of each
benchmark on what machine and at which commit they were measured.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import traceback
from pathlib import Path

from absl import flags

from benchmarks.turns import Ratios, machine, own_process
from dmcl_tf.errors import InputError, run_script
from dmcl_tf.files import write_json

BASELINE = Path(__file__).with_name("baseline.json")

_FLOW = "optical_flow --algorithms=tvl1 --algorithms=brox_liu"
FULL = (
    "input_pipeline",
    "reading",
    "train_step --precisions=float32",
    "training",
    "convolution --precisions=float32",
    "memory --size=224 --width=64 --batch=8 --rounds=1 --steps=1",
    "evaluation",
    "environment",
    "pytorch --precisions=float32",
    "pytorch --precisions=float32 --size=112 --width=64 --batch=2",
    "optical_flow --clips=10 --pairs_per_clip=2",
    "optical_flow --size=256 --clips=6 --pairs_per_clip=1",
    f"{_FLOW} --size=480 --width=640 --clips=3 --pairs_per_clip=1 --rounds=1",
    f"{_FLOW} --size=1080 --width=1920 --clips=1 --pairs_per_clip=1 --rounds=1",
    "flow_start",
    "preparation",
    "preparation --size=256",
    "parallel",
    "predicting",
    "serving",
)
_SHORT = "--rounds=1 --seconds=1"
_TESTING = "--variant=testing --batch=4"  # a network that compiles in seconds
_SMALL = f"--size=32 {_TESTING} --precisions=float32 {_SHORT}"
QUICK = (
    f"input_pipeline --videos=1 --frames=12 {_SHORT}",
    f"reading --videos=40 --frames=20 {_SHORT}",
    f"train_step {_SMALL}",
    f"training --videos=1 --frames=12 {_TESTING} {_SHORT}",
    f"convolution {_SMALL}",
    f"memory --size=64 {_TESTING} --modalities=rgb --rounds=1 --steps=1",
    f"evaluation --size=32 {_TESTING} --videos=2 --frames=12 {_SHORT}",
    "environment --rounds=1 --steps=1 --batch=4",
    f"pytorch --size=32 --batch=4 --precisions=float32 {_SHORT}",
    f"{_FLOW} --clips=2 --pairs_per_clip=1 --rounds=1",
    "preparation --clips=2 --rounds=1",
    "parallel --clips=2 --items=8 --rounds=1",
    f"predicting --frames=90 {_SHORT}",
    "serving --requests=20 --clients=4",
)


_OPTIONAL = {
    "pytorch": ("torch", "pip install -r requirements-benchmarks.txt"),
    "serving": ("uvicorn", "EXTRAS=serve bash run.sh benchmarks"),
}  # benchmarks that need further packages


def run(command: str) -> Ratios:
    """Runs a benchmark by its name and flags."""
    name, *arguments = command.split()
    benchmark, values = importlib.import_module(f"benchmarks.{name}"), flags.FlagValues()
    benchmark.define_flags(values)
    values([name, *arguments])
    ratios = benchmark.main(values)
    sys.stdout.flush()
    return ratios


def print_ratios(measured: dict[str, Ratios], baseline: dict[str, dict]) -> None:
    """Prints all ratios beside the earlier ones, and where those were measured."""
    print(f"\n{'':78}{'now':>8}{'then':>8}{'now/then':>10}")
    for command, ratios in measured.items():
        earlier = baseline.get(command, {"ratios": {}})
        print(command + (f" (then: {earlier['measured']})" if "measured" in earlier else ""))
        for name, ratio in ratios.items():
            then = earlier["ratios"].get(name)
            print(f"  {name:76}{ratio:8.2f}" + (f"{then:8.2f}{ratio / then:10.2f}" if then else ""))


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_boolean("quick", False, "Small settings: does everything run?", flag_values=flag_values)
    flags.DEFINE_list("only", [], "Names of benchmarks, where not all.", flag_values=flag_values)
    flags.DEFINE_boolean("write_baseline", False, "Keep the ratios for later runs.", flag_values=flag_values)


def main(values: flags.FlagValues) -> None:
    """Runs the benchmarks and prints the ratios."""
    commands = [(command.split()[0], command) for command in (QUICK if values.quick else FULL)]
    for name in values.only:
        if name not in dict(commands):
            raise InputError(f"--only={name}: expected some of {', '.join(dict(commands))}")
    baseline = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.exists() else {}
    measured: dict[str, Ratios] = {}
    failed: list[str] = []
    for name, command in commands:
        if values.only and name not in values.only:
            continue
        print(f"\n$ python -m benchmarks.{command}", flush=True)
        module, remedy = _OPTIONAL.get(name, ("", ""))
        if module and importlib.util.find_spec(module) is None:
            print(f"left out: {remedy}")
            continue
        try:
            with own_process(TF_CPP_MIN_LOG_LEVEL="3") as process:
                measured[command] = process.submit(run, command).result()
        except Exception:  # what the others have found is not lost
            traceback.print_exc()
            failed.append(command)
    print_ratios(measured, baseline)
    if values.write_baseline:
        for command, ratios in measured.items():
            rounded = {name: round(ratio, 3) for name, ratio in ratios.items()}
            baseline[command] = {"measured": machine(), "ratios": rounded}
        write_json(BASELINE, baseline)
    if failed:
        raise InputError(f"{len(failed)} benchmarks failed, as said above: {'; '.join(failed)}")


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
