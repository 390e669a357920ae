"""Files are written whole, and what cannot be written is said before the work."""

import errno
import os

import pytest

from homework.common.errors import InputError
from homework.common.files import atomic_write, require_writable


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs the rights of files")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path, monkeypatch):
    """By an attempt, as no rights say what a read-only file system refuses."""

    def refused(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "a name of no one's")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(InputError, match=r"a\.json: cannot be written \(Read-only file system\)"):
        require_writable(tmp_path / "new" / "a.json")
    assert not list(tmp_path.iterdir())


def test_an_attempt_to_write_leaves_nothing(tmp_path):
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
