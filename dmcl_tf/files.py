"""Files of ours: complete under their final name or not there, of the right types or refused, locked while in use."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO, TypeVar

import msgspec

from dmcl_tf.errors import InputError

T = TypeVar("T")

_HOST = f"{zlib.crc32(socket.gethostname().encode()):08x}"
_PARTIAL = re.compile(r".*\.(?P<host>[0-9a-f]{8})-(?P<process>\d+)\.partial")
_LOCK = ".lock"
_OWNER = re.compile(r"process (?P<process>\d{1,9}) on (?P<host>\S+)")
_LONGEST_LOCK = 2**16  # characters
_LARGEST = 2**28  # bytes of one of our tables
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
LONGEST_NAME = 200  # bytes; file systems allow 255, of which temporary names need some
_written_to: set[Path] = set()  # folders, by this process


def expand_home(text: str) -> Path:
    """A path in which `~` is the home folder; unlike `Path.expanduser`, a name such as `~old.mp4` may begin with it."""
    return Path(os.path.expanduser(text))


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yields a temporary sibling of `final`, a file or folder to be made, and renames it when the block succeeds.

    The temporary name holds host and process, so that two writers of one file do not meet: the later one replaces what
    the earlier one made. The first time that a process writes into a folder, it removes what killed ones left there.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.parent not in _written_to:
        _written_to.add(final.parent)
        remove_stale(final.parent, below=False)
    partial = final.with_name(f"{final.name}.{_HOST}-{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, final)
    except BaseException as error:
        remove(partial)
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            error.filename = str(final)  # writing to an open file fails without saying which
        raise


def remove_stale(folder: Path, *, below: bool = True) -> None:
    """Removes what killed processes of this host left half-written in a folder, and perhaps anywhere below it."""
    for path in list(folder.rglob("*.partial") if below else folder.glob("*.partial")):
        match = _PARTIAL.fullmatch(path.name)
        if match and match["host"] == _HOST and not _is_running(int(match["process"])):
            with suppress(PermissionError):  # of another user
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


def remove_at_once(folder: Path) -> None:
    """Removes a folder of ours, which is there with all it holds or not at all, whenever the process ends."""
    partial = folder.with_name(f"{folder.name}.{_HOST}-{os.getpid()}.partial")
    with suppress(FileNotFoundError):
        os.replace(folder, partial)
        remove(partial)


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


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading; what is none, such as a named pipe, is never waited for.

    Raises:
        InputError: it is no regular file.
        OSError: there is none that may be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no file")
    raise InputError(f"{path}: it is {kind}; expected a file")


def read_bytes(path: Path) -> bytes:
    """The content of a table or another small file of ours; raises as `open_regular`, and for gigabytes."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _LARGEST:
            raise InputError(f"{path}: {size / 2**20:,.0f} MiB; expected at most {_LARGEST / 2**20:,.0f}")
        return file.read(size)


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
        content = read_bytes(path)
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
def lock(folder: Path, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    """Holds a folder for this process, so that no other command works in it at the same time.

    The lock ends with the process, however that ends. Several may share it, where they write different files.

    Args:
        folder: is made where it is not there.
        shared: whether others may hold it as well, in the same way.
        wait: whether to wait for others to be done, and say so, instead of raising.

    Raises:
        InputError: another process holds it; the message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a+", encoding="utf-8", errors="replace") as file:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            in_use = f"{folder} is in use by {_holders(file)}"
            if not wait:
                raise InputError(f"{in_use}: let it finish, or stop it") from None
            print(f"{in_use}: waiting for it to finish", flush=True)
            fcntl.flock(file, kind)
        except OSError:  # a file system without locks
            yield
            return
        if not shared:
            file.truncate(0)
        # a line of those who share it stays when they are done: who takes it away might take those of others
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            if not shared:
                file.truncate(0)


def _holders(file: TextIO) -> str:
    file.seek(0)
    owners = [line for line in file.read(_LONGEST_LOCK).splitlines() if _may_hold(line)]
    return (", ".join(owners[:3]) + (", …" if len(owners) > 3 else "")) or "another process"


def _may_hold(line: str) -> bool:
    """Whether a line of a lock may be of a process that still runs; of other hosts nobody knows."""
    match = _OWNER.fullmatch(line)
    if match is None:
        return False
    return match["host"] != socket.gethostname() or _is_running(int(match["process"]))


def file_checksum(path: Path) -> str:
    """The CRC-32 of a file as eight hexadecimal digits; raises `InputError` and `OSError` as `open_regular`."""
    checksum = 0
    with open_regular(path) as file:
        while chunk := file.read(2**20):
            checksum = zlib.crc32(chunk, checksum)
    return f"{checksum:08x}"
