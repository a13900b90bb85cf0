"""Files of ours: complete under their final name or not there, of the right types or refused, locked while in use."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from dmcl_tf.errors import InputError

T = TypeVar("T")

_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
_PARTIAL = re.compile(r".*\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)\.partial")
_LOCK = ".lock"
LONGEST_NAME = 200  # bytes; file systems allow 255, of which temporary names need some


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yields a temporary sibling of `final`, a file or folder to be made, and renames it when the block succeeds.

    The temporary name holds host and process, so that two writers of one file do not meet: the later one replaces what
    the earlier one made.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f"{final.name}.{_HOST}-{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, final)
    except BaseException as error:
        remove(partial)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(final)  # writing to an open file fails without saying which
        raise


def remove_stale(folder: Path, *, below: bool = True) -> None:
    """Removes what killed processes of this host left half-written in a folder, and perhaps anywhere below it."""
    for path in list(folder.rglob("*.partial") if below else folder.glob("*.partial")):
        match = _PARTIAL.fullmatch(path.name)
        if match and match["host"] == _HOST and not _is_running(int(match["process"])):
            remove(path)


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def remove(path: Path) -> None:
    """Removes a file or a folder with all it holds; a path that does not exist is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Writes a dataclass or other JSON value, indented, atomically."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=1).decode()
    # a list of numbers stays on one line
    text = re.sub(r"\[[\s\d,.eE+-]+\]", lambda match: re.sub(r"\s+", " ", match[0]), text)
    write_text(path, text + "\n")


def read_json(path: Path, kind: type[T], remedy: str) -> T:
    """Reads a JSON file of ours into a type, most often a dataclass; the one loader of every such file.

    Args:
        path: the file.
        kind: what it must hold; values of other types are refused, however deep they lie.
        remedy: what to do where the file is missing or not of this kind.

    Raises:
        InputError: it is missing, unreadable, no JSON, or of other types; the message names the value at fault.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {remedy}") from None
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InputError) as error:
        raise InputError(f"{path} is not what it should be ({error}): {remedy}") from None


def check_component(name: str, what: str) -> str:
    """Returns a name that becomes part of a path, checked to be a single component.

    Raises:
        InputError: it is empty, leaves its folder, is hidden, or is too long.
    """
    if not name or name.startswith(".") or re.search(r"[/\\\x00-\x1f]", name):
        raise InputError(f"{what} {name!r} cannot name a folder: expected letters, digits, spaces, _ and -")
    if len(name.encode(errors="surrogateescape")) > LONGEST_NAME:
        raise InputError(f"{what} {name[:20]!r}… is too long to name a folder: expected {LONGEST_NAME} bytes at most")
    return name


@contextmanager
def lock(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Holds a folder for this process, so that no other command works in it at the same time.

    The lock ends with the process, however that ends. Several may share it, where they write different files.

    Raises:
        InputError: another process holds it; the message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "another process"
            raise InputError(f"{folder} is in use by {owner}: let it finish, or stop it") from None
        except OSError:  # a file system without locks
            yield
            return
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
