"""What may import what: TensorFlow only where tensors are, and no arrow from the library up to what is built on it."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "dmcl_tf": {"dmcl_tf"},
    "data_prep": {"data_prep", "dmcl_tf"},
    "workflow": {"workflow", "data_prep", "dmcl_tf"},
}
# Modules of dmcl_tf with tensors; all others only handle settings, tables, runs and results
WITH_TENSORFLOW = (
    *("data.augmentation", "data.faults", "data.pipeline", "learning", "methods", "networks", "portable"),
    *("runs.checkpoints", "runs.teacher", "scoring.features", "scoring.logits", "serving"),
)


def modules(package):
    """The names and files of all modules of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def has_tensorflow(name):
    return any(name == f"dmcl_tf.{prefix}" or name.startswith(f"dmcl_tf.{prefix}.") for prefix in WITH_TENSORFLOW)


def imported(path):
    """The roots of all imports of a file, inside functions as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def test_no_arrow_runs_back_up():
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"workflow", "tests", "benchmarks"}
    for package, allowed in MAY_IMPORT.items():
        for name, path in modules(package):
            wrong = set(imported(path)) & (rooms - allowed)
            assert not wrong, f"{name} imports {wrong}"


# Loads modules in turn, and says which of them brings TensorFlow along
LOADER = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    assert not {"tensorflow", "keras"} & set(sys.modules), name
"""


def test_what_handles_settings_runs_and_results_loads_without_tensorflow():
    packages = ["dmcl_tf", "data_prep", "workflow", *(["server"] if importlib.util.find_spec("starlette") else [])]
    names = [name for package in packages for name, _ in modules(package)]
    names = [name for name in names if not has_tensorflow(name) and name != "data_prep.running.beam"]
    assert {"dmcl_tf.config", "dmcl_tf.evaluate", "dmcl_tf.export", "dmcl_tf.report", "dmcl_tf.train"} <= set(names)
    command = [sys.executable, "-c", LOADER, *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_onednn_is_on_unless_the_user_says_otherwise():
    script = "import os, dmcl_tf; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    for given, expected in ((None, "1"), ("0", "0")):
        environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
        environment |= {"TF_ENABLE_ONEDNN_OPTS": given} if given else {}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment)
        assert done.stdout == f"{expected}\n", done.stderr
