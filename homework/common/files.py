"""The project's folders; read plain files; write files whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from .errors import InputError

PACKAGE_DIR = Path(__file__).resolve().parent.parent
# Beside the package, where the grader links the data folder.
DATA_DIR = PACKAGE_DIR.parent / "data"
# Not in the package, which is packed and handed in.
RUNS_DIR = PACKAGE_DIR.parent / "runs"
MAX_JSON_BYTES = 10_000_000  # of settings and records, which usually have some kilobytes
Opener = Callable[[Path], AbstractContextManager[BinaryIO]]  # such as `atomic_write`
PARTIAL = ".partial"  # suffix of a file or folder that is still being written

_ROOM, _RIGHTS = "make room there", "give a folder that you may write to"
_FIXES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit on the size of files",
    errno.EROFS: _RIGHTS,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENOTDIR: "a file stands where a folder is needed: give another path",
    errno.EEXIST: "a file stands where a folder is needed: give another path",
    errno.EINVAL: "give the name of a plain file",
    errno.EISDIR: "a folder stands where a file is needed: give another path",
}
# How safetensors and torch report that the system refused to write.
_NATIVE = re.compile(r"\(os error (\d+)\)|PytorchStreamWriter|inline_container|Parent directory")


# --- reading ---


def read_plain(path: str | Path, most: int) -> bytes:
    """Read a whole plain file; OSError if it cannot be read, is none, or has over `most` bytes."""
    with _open_plain(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"over {most:,} bytes", str(path))
        return file.read()


def digest(path: str | Path) -> str:
    """SHA-256 of a plain file, in hexadecimal; OSError if it cannot be read or is none."""
    with _open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_plain(path: str | Path) -> FileIO:
    # Opening a named pipe would otherwise wait for a writer, for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    # Unbuffered: callers read it whole.
    file = open(os.open(path, flags), "rb", buffering=0)  # noqa: SIM115 (callers close it)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return file


def read_json(
    path: str | Path, most: int = MAX_JSON_BYTES, parse: Callable[[bytes], Any] = json.loads
) -> Any:
    """Parse a JSON file of at most `most` bytes.

    Args:
        parse: from the file's content to its value; raises a ValueError if it is not valid.

    Raises InputError if the file is missing, unreadable, too large or not JSON.
    """
    try:
        return parse(read_plain(path, most))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); write it again") from None


@contextmanager
def reading(path: str | Path, fix: str = "") -> Iterator[None]:
    """Raise an InputError where the system refuses to read `path`; `fix` says what to do."""
    try:
        yield
    except OSError as error:
        line = f"{path}: cannot be read ({error.strerror})"
        raise InputError(f"{line}; {fix}" if fix else line) from None


def quick_loads(data: bytes) -> Any:
    """Parse JSON, NaN and UTF-16 too, by orjson where there is one; ValueError if it is none."""
    try:
        import orjson  # several times as fast; the course's environment has none

        return orjson.loads(data)
    except (ImportError, ValueError):
        pass
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def quick_dumps(value: Any) -> bytes:
    """One line of JSON, the same bytes with and without orjson: UTF-8, without spaces."""
    try:
        import orjson
    except ImportError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return orjson.dumps(value)


# --- writing ---


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a partial binary file beside `path` and rename it to `path` after the block.

    If the block raises (Ctrl-C too), the partial file is removed and `path` stays as it was.
    Partial files that killed processes left for `path` are removed first. Raises OSError, with the
    name of `path`, if the system refuses to write.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        _refuse_special(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        # Left by a killed process with the same number; a link there is not followed.
        partial.unlink(missing_ok=True)
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.errno and error.filename in (None, str(partial), partial):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            partial.unlink()


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_bytes(path, as_json(value))


def as_json(value: Any) -> bytes:
    """`value` as indented JSON."""
    return json.dumps(value, indent=2).encode() + b"\n"


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    with atomic_write(path) as file:
        file.write(data)


def require_writable(path: str | Path) -> None:
    """Raise an InputError, before long work, if its result cannot be written to `path`.

    Creates a temporary file in the nearest existing folder above `path`.
    """
    path = Path(path)
    try:
        _refuse_special(path)
        folder = next(parent for parent in path.parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder, suffix=PARTIAL):
            pass
    except OSError as error:
        error.filename = str(path)
        raise InputError(disk_line(error)) from None


def install(fresh: Path, folder: Path, marker: str) -> None:
    """Move the files of `fresh` into `folder` and remove `fresh`.

    Readers take the folder as complete only if it has the file `marker`. The old marker is removed
    first and the new one is moved last, so that a kill never leaves a marker beside files of two
    versions. A folder in `fresh` replaces the whole folder of its name. The files are moved in the
    order of their names.
    """
    (folder / marker).unlink(missing_ok=True)
    names = sorted((path.name for path in fresh.iterdir()), key=lambda name: (name == marker, name))
    for name in names:
        if (fresh / name).is_dir():
            shutil.rmtree(folder / name, ignore_errors=True)
        os.replace(fresh / name, folder / name)
    shutil.rmtree(fresh)


@contextmanager
def writing(path: str | Path, hint: str = "") -> Iterator[None]:
    """Raise an InputError of one line where the system refuses to write.

    `path` is named where the system's error names none; `hint` is a second way to fix it.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if not isinstance(error, OSError):
            if not (found := _NATIVE.search(str(error))):
                raise
            code = int(found[1] or errno.ENOSPC)
            error = OSError(code, os.strerror(code))
        raise InputError(disk_line(error, path) + (hint and f", {hint}")) from None


def disk_line(error: OSError, path: str | Path | None = None, in_writing: bool = True) -> str:
    """One line: which file cannot be written (`path` if unnamed), why, and how to fix it.

    Args:
        in_writing: the error came while writing; if False, it may also have come while reading.
    """
    fix = _FIXES.get(error.errno or 0, "correct that and run again")
    done = "written"
    if not in_writing and fix not in (_ROOM, _FIXES[errno.EFBIG]) and error.errno != errno.EROFS:
        done, fix = "read or written", "change its permissions, or give another path"
    file = error.filename or path or "a file"
    return f"{file}: cannot be {done} ({error.strerror or error}); {fix}"


def shown(path: Path) -> str:
    """A path as a shell takes it, relative to the current folder where it lies in it."""
    path, here = path.resolve(), Path.cwd()
    return shlex.quote((path.relative_to(here) if path.is_relative_to(here) else path).as_posix())


def _refuse_special(path: Path) -> None:
    """Refuse to replace a folder or a device; the superuser could replace a device."""
    if path.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a plain file", str(path))


def _remove_stale(path: Path) -> None:
    """Remove partial files of `path` whose process has ended."""
    pattern = re.compile(re.escape(path.name) + r"\.(\d+)" + re.escape(PARTIAL))
    for name in os.listdir(path.parent):
        found = pattern.fullmatch(name)
        if found and not _is_running(int(found[1])):
            with suppress(OSError):
                path.with_name(name).unlink()


def _is_running(process_id: int) -> bool:
    if os.name == "nt":
        return False  # kill(id, 0) would end it; and Windows does not remove open files
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
