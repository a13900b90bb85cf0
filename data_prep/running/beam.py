"""One function over many videos as an Apache Beam pipeline, for the workers of a cluster, such as those of Dask.

The function is the one that `processes.run_parallel` runs: it reads and writes files, skips what is complete and
returns little. All workers must therefore see the same folders (NFS, Lustre, a mounted bucket) under the same names,
and have this project and its requirements, for example in their container image. As on one machine, what was
interrupted goes on with the same command, and the files come out the same.
"""

from __future__ import annotations

import base64
import logging
import pickle
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2

from dmcl_tf.errors import InputError, is_disk_full, is_wrong_place
from dmcl_tf.files import atomic_path

Item = TypeVar("Item")
Result = TypeVar("Result")


def import_beam():
    """Imports Beam, which is needed here alone.

    Raises:
        InputError: it is not installed.
    """
    try:
        import apache_beam
    except ImportError as error:
        raise InputError(f"--runner=beam needs Apache Beam ({error}): pip install '.[beam]'") from None
    logging.getLogger("apache_beam").setLevel(logging.WARNING)  # it reports every connection of every worker
    return apache_beam


def run_beam(
    function: Callable[[Item], Result], items: Sequence[Item], *, description: str, options: str, exchange: Path
) -> Iterator[Result]:
    """Yields `function(item)` for every item, once the pipeline is done.

    Args:
        function: a module-level function (or `functools.partial` of one).
        items: the work.
        description: what the pipeline is called.
        options: Beam's pipeline options, as on a command line.
        exchange: a folder that all workers see, for the results.

    Raises:
        InputError: Beam is not installed or knows an option not, or the function raised it.
    """
    beam = import_beam()
    if not items:
        return
    print(f"{description}: {len(items)} videos as a Beam pipeline", flush=True)
    exchange.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=exchange, prefix="beam-") as folder:
        try:
            whole = beam.Pipeline(options=beam.options.pipeline_options.PipelineOptions(shlex.split(options)))
        except ValueError as error:
            raise InputError(f"--beam_options={options}: {error}") from error
        # results are files of ours: Beam's WriteToText makes DaskRunner do all work twice, as an input to the writing
        work = [(_to_text(item), str(Path(folder) / f"{index}.result")) for index, item in enumerate(items)]
        with whole as pipeline:
            _ = (
                pipeline
                | "items" >> beam.Create(work)
                | "spread" >> beam.Reshuffle()
                | description >> beam.Map(_call, function=_to_text(function))
            )
        for _, path in work:
            try:
                result = pickle.loads(Path(path).read_bytes())
            except FileNotFoundError:
                raise InputError(
                    f"--beam_options={options}: the pipeline ended without the results of all videos; its workers must "
                    f"see {exchange}; run the same command again, it continues"
                ) from None
            if isinstance(result, _Failure):
                raise result.error
            yield result


class _Failure:
    """An exception that the user should see as one line, on its way through the pipeline."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _call(work: tuple[str, str], *, function: str) -> None:
    """Writes the result of one item; runners may do it twice, or again when a worker is lost."""
    item, path = work
    cv2.setNumThreads(1)  # the runner has a process for every core
    try:
        result = _from_text(function)(_from_text(item))
    except Exception as error:
        if not isinstance(error, InputError) and not is_disk_full(error) and not is_wrong_place(error):
            raise
        result = _Failure(error)
    with atomic_path(Path(path)) as partial:
        partial.write_bytes(pickle.dumps(result))


def _to_text(value: object) -> str:
    return base64.b64encode(pickle.dumps(value)).decode("ascii")


def _from_text(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))
