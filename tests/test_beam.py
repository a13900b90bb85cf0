"""The Beam runner gives what the local one gives."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement
from preparing import contents, prepare, settings

from data_prep.running.beam import import_beam, run_beam
from dmcl_tf.errors import InputError

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is not installed: pip install '.[beam]'"
)
pytestmark = pytest.mark.filterwarnings("ignore")  # Beam's own


def double(number):
    if number == 13:
        raise InputError("thirteen: expected another number")
    return 2 * number


@needs_beam
def test_every_item_is_done_once(tmp_path, capsys):
    run = partial(run_beam, double, description="doubling", options="", exchange=tmp_path / "exchange")
    assert sorted(run(range(10))) == [2 * number for number in range(10)]
    assert list((tmp_path / "exchange").iterdir()) == []
    assert "doubling: 10 videos as a Beam pipeline" in capsys.readouterr().out
    assert list(run([])) == []


@needs_beam
def test_bad_input_is_named_in_the_users_process(tmp_path):
    with pytest.raises(InputError, match=r"^thirteen: expected another number$"):
        list(run_beam(double, [12, 13], description="doubling", options="", exchange=tmp_path))


@needs_beam
@pytest.mark.parametrize("options", ["--runner=NopeRunner", "--runner='Flink"])
def test_options_that_beam_does_not_take_are_named(tmp_path, options):
    with pytest.raises(InputError, match=f"^--beam_options={options}: "):
        list(run_beam(double, [1], description="doubling", options=options, exchange=tmp_path))


def test_options_without_the_runner_are_refused():
    with pytest.raises(InputError, match="--beam_options goes with --runner=beam alone"):
        settings("--beam_options=--runner=FlinkRunner")


@needs_beam
def test_records_are_those_of_the_local_run_byte_for_byte(tmp_path, write_nwucla_tree):
    raw = write_nwucla_tree(tmp_path / "raw", frames=3)
    made = {}
    for runner in ("local", "beam"):
        small = ("--dataset=nwucla", "--frame_size=24", "--flow_preset=fast", f"--runner={runner}")
        made[runner] = contents(prepare(*small, f"--data_dir={raw}", f"--records={tmp_path / runner}").directory)
    assert len([name for name in made["beam"] if name.endswith(".tfrecord")]) == 30
    assert made["beam"] == made["local"]


def test_without_beam_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(InputError, match=r"--runner=beam needs Apache Beam .*: pip install"):
        import_beam()


@needs_beam
def test_tensorflow_keeps_the_protobuf_that_it_asks_for():
    asked = [Requirement(text) for text in requires("tensorflow")]
    assert [version("protobuf") in each.specifier for each in asked if each.name == "protobuf"] == [True]
