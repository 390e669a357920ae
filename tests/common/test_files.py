"""Files are written whole, and what cannot be written is said before the work."""

import builtins
import errno
import math
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homework.common import files
from homework.common.errors import InputError
from homework.common.files import atomic_write, install, read_plain, require_writable

needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs fork and limits of a process")


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs the rights of files")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path, monkeypatch):
    """By an attempt, as no rights say what a read-only file system refuses."""

    def refused(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "a name of no one's")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(InputError, match=r"a\.json: cannot be written \(Read-only file system\)"):
        require_writable(tmp_path / "new" / "a.json")
    assert not list(tmp_path.iterdir())


def test_checking_that_a_file_can_be_written_leaves_nothing(tmp_path):
    (tmp_path / "there.json").write_text("before")
    require_writable(tmp_path / "there.json")
    require_writable(tmp_path / "new" / "a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]
    assert (tmp_path / "there.json").read_text() == "before"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_a_device_is_never_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a plain file"), atomic_write(tmp_path / "pipe") as file:
        file.write(b"x")
    assert (tmp_path / "pipe").is_fifo()


@needs_posix
def test_the_next_write_removes_what_a_killed_process_left(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale, alive = (tmp_path / f"a.json.{pid}.partial" for pid in (ended.pid, os.getppid()))
    other = tmp_path / f"b.json.{ended.pid}.partial"
    for file in (stale, alive, other):
        file.write_text("half")
    with atomic_write(tmp_path / "a.json") as file:
        file.write(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", alive.name, other.name}


@needs_posix
def test_a_link_in_the_place_of_the_partial_file_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("kept")
    (tmp_path / f"a.json.{os.getpid()}.partial").symlink_to("mine")
    with atomic_write(tmp_path / "a.json") as file:
        file.write(b"whole")
    assert (tmp_path / "mine").read_text() == "kept"
    assert (tmp_path / "a.json").read_text() == "whole"
    assert not (tmp_path / "a.json").is_symlink()


@pytest.mark.parametrize("moment", range(4))
def test_files_moved_in_are_never_taken_for_whole_too_early(tmp_path, monkeypatch, moment):
    """Stopped before any of its renames, `install` leaves no marker over a mixture."""
    names, replaced = ("a", "b", "marker"), []
    for folder in ("fresh", "there"):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text(folder)
    replace = os.replace

    def stopping(*paths):
        if len(replaced) == moment:
            raise KeyboardInterrupt
        replaced.append(paths)
        replace(*paths)

    monkeypatch.setattr(os, "replace", stopping)
    if moment < len(names):
        with pytest.raises(KeyboardInterrupt):
            install(tmp_path / "fresh", tmp_path / "there", "marker")
        assert not (tmp_path / "there" / "marker").exists()
    else:
        install(tmp_path / "fresh", tmp_path / "there", "marker")
        assert {(tmp_path / "there" / name).read_text() for name in names} == {"fresh"}
        assert not (tmp_path / "fresh").exists()


def test_a_folder_moved_in_takes_the_place_of_the_whole_folder(tmp_path):
    for folder, name in (("fresh", "new"), ("there", "old")):
        (tmp_path / folder / "parts").mkdir(parents=True)
        (tmp_path / folder / "parts" / name).write_text(folder)
    (tmp_path / "fresh" / "marker").write_text("fresh")
    (tmp_path / "there" / "kept").write_text("there")
    install(tmp_path / "fresh", tmp_path / "there", "marker")
    left = {str(p.relative_to(tmp_path / "there")) for p in (tmp_path / "there").rglob("*")}
    assert left == {"parts", "parts/new", "marker", "kept"}


def test_files_over_the_limit_folders_and_pipes_are_not_read(tmp_path):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(1 << 31)
    for path, words in ((tmp_path / "large", "over 1,000 bytes"), (tmp_path, "director|plain")):
        with pytest.raises(OSError, match=words):
            read_plain(path, 1000)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="not a plain file"):
            read_plain(tmp_path / "pipe", 1000)
    shutil.rmtree(tmp_path)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


def without_orjson(patch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name == "orjson":
            raise ImportError(name)
        return real(name, *rest, **more)

    patch.setattr(builtins, "__import__", refuse)


@given(VALUES)
def test_both_ways_give_the_same_bytes_and_values(value):
    quick = files.quick_dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        without_orjson(patch)
        assert files.quick_dumps(value) == quick
        assert files.quick_loads(quick) == value
    assert files.quick_loads(quick) == value


def test_what_is_not_quite_json_is_read_and_what_is_none_refused(monkeypatch):
    for _ in range(2):
        assert math.isnan(files.quick_loads(b'{"a": NaN}')["a"])
        assert files.quick_loads('\ufeff{"a": 1}'.encode()) == {"a": 1}
        for broken in (b"", b"{", b"\xff", b"[" * 100_000):
            with pytest.raises(ValueError):
                files.quick_loads(broken)
        without_orjson(monkeypatch)
