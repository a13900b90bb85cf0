"""The Beam runner gives what the local one gives."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from absl import flags
from packaging.requirements import Requirement

from data_prep import make_tfrecords as script
from data_prep.running.beam import import_beam, run_beam
from dmcl_tf.errors import InputError

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam is not installed: pip install -r requirements-beam.txt",
)
pytestmark = pytest.mark.filterwarnings("ignore")  # Beam's own


def double(number):
    if number == 13:
        raise InputError("thirteen: expected another number")
    return 2 * number


@needs_beam
@pytest.mark.parametrize("at_once", [None, 1, 3])
def test_every_item_is_done_once(tmp_path, at_once, capsys):
    run = partial(run_beam, options="", exchange=tmp_path / "exchange", at_once=at_once)
    results = list(run(double, range(10), workers=1, description="doubling", unit="number"))
    assert sorted(results) == [2 * number for number in range(10)]
    assert list((tmp_path / "exchange").iterdir()) == []
    assert "doubling: 10 numbers as a Beam pipeline" in capsys.readouterr().out
    assert list(run(double, [], workers=1, description="nothing")) == []


@needs_beam
def test_bad_input_is_named_in_the_users_process(tmp_path):
    with pytest.raises(InputError, match=r"^thirteen: expected another number$"):
        list(run_beam(double, [12, 13], workers=1, description="doubling", options="", exchange=tmp_path))


@needs_beam
@pytest.mark.parametrize("options", ["--runner=NopeRunner", "--runner='Flink"])
def test_options_that_beam_does_not_take_are_named(tmp_path, options):
    with pytest.raises(InputError, match=f"^--beam_options={options}: "):
        list(run_beam(double, [1], workers=1, description="doubling", options=options, exchange=tmp_path))


def test_options_without_the_runner_are_refused():
    values = flags.FlagValues()
    script.define_flags(values)
    values(["make_tfrecords", "--beam_options=--runner=FlinkRunner"])
    with pytest.raises(InputError, match="--beam_options goes with --runner=beam alone"):
        script.settings_from_flags(values)


@needs_beam
def test_records_are_those_of_the_local_run_byte_for_byte(tmp_path, write_nwucla_tree):
    raw = write_nwucla_tree(tmp_path / "raw", actions=(1, 2, 3, 4, 5, 6, 8, 9, 11, 12), frames=3)
    contents = {}
    for runner in ("local", "beam"):
        values = flags.FlagValues()
        script.define_flags(values)
        places = (f"--frames_dir={tmp_path / runner / 'frames'}", f"--output={tmp_path / runner / 'records'}")
        small = ("--dataset=nwucla", "--size=24", "--flow_preset=fast", "--videos_per_shard=4", "--workers=1")
        values(["make_tfrecords", *small, f"--data_dir={raw}", *places, f"--runner={runner}"])
        script.make_records(script.settings_from_flags(values))
        contents[runner] = {path.name: path.read_bytes() for path in (tmp_path / runner / "records").iterdir()}
    assert len([name for name in contents["beam"] if name.endswith(".tfrecord")]) == 9
    assert contents["beam"] == contents["local"]


def test_without_beam_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(InputError, match=r"--runner=beam needs Apache Beam .*: pip install -r requirements-beam\.txt"):
        import_beam()


def test_the_requirements_are_pinned():
    lines = (Path(__file__).resolve().parents[1] / "requirements-beam.txt").read_text().splitlines()
    assert any(line.startswith("apache-beam==") for line in lines)
    assert all("==" in line for line in lines if not line.startswith("#"))


@needs_beam
def test_tensorflow_keeps_the_protobuf_that_it_asks_for():
    asked = [Requirement(text) for text in requires("tensorflow")]
    assert [version("protobuf") in each.specifier for each in asked if each.name == "protobuf"] == [True]
