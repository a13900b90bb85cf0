"""A command line that cannot be used ends in one line, whatever the script."""

import pickle
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from dmcl_tf.errors import InputError, check_address_space, explain

ROOT = Path(__file__).resolve().parents[1]


def test_messages_are_one_line_that_can_be_printed():
    error = InputError("a\nb\tc\x7f\u2028\udcff é: expected …")
    assert str(error) == "a\\x0ab\\x09c\\x7f\\x28\\xff é: expected …"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--seconds=soon", ("--seconds=soon",)),
        ("--kind=blue", ("--kind=blue", "red", "green")),
        ("--kinds=red", ("kinds", "kind")),
        ("red", ("'red'", "--name=value")),
    ],
)
def test_an_impossible_command_line(argument, words, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from absl import flags\n"
        "from dmcl_tf.errors import run_script\n"
        "flags.DEFINE_float('seconds', 1.0, 'time')\n"
        "flags.DEFINE_enum('kind', 'red', ['red', 'green'], 'colour')\n"
        "run_script(lambda: print('ran'))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), argument],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


class ResourceExhaustedError(Exception):
    """As TensorFlow names its own."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("std::bad_alloc"), "not enough memory"),
        (ImportError("libtensorflow_cc.so.2: failed to map segment from shared object"), "not enough memory"),
        (
            RuntimeError("Status: 1, message: could not create a primitive, in file mkl_conv_ops.cc"),
            "not enough memory",
        ),
        (SystemError("error return without exception set"), "not enough memory"),
        (ResourceExhaustedError("OOM when allocating tensor with shape[9]"), "not enough memory"),
        (
            ResourceExhaustedError(
                "{{function_node __wrapped__SaveV2}} run/last/ckpt-1.index; No space left on device"
            ),
            "error: run/last/ckpt-1.index: the disk is full",
        ),
    ],
)
def test_what_is_exhausted_is_named(error, words):
    line, status = explain(error)
    assert status == 2
    assert words in line


def test_less_memory_than_tensorflow_loads_in_is_said_before_it_is_loaded(monkeypatch):
    for limit, fits in ((resource.RLIM_INFINITY, True), (2 * 2**30, True), (1.5 * 2**30, False)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, both=limit: (both, both))
        if fits:
            check_address_space()
        else:
            with pytest.raises(InputError, match=r"^memory is limited to 1\.5 GiB, .* takes 2 GiB .*ulimit -v"):
                check_address_space()
