"""Unpacking: whatever a zip holds, one line, and nothing outside the private folder."""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from fake_submission import GOOD, make_zip, write_files
from grading import failure
from hypothesis import given, settings
from hypothesis import strategies as st

from grader import submission
from grader.__main__ import main
from grader.errors import SubmissionError


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name  # past zipfile's own clean-up
    info.external_attr, info.create_system = mode << 16, 3
    return info


@pytest.mark.parametrize(
    ("info", "detail"),
    [
        (entry("../evil.py"), "leads out"),
        (entry("homework/../../evil.py"), "leads out"),
        (entry("homework\\..\\..\\evil.py"), "leads out"),
        (entry("/evil.py"), "absolute"),
        (entry("//evil.py"), "absolute"),
        (entry("C:/evil.py"), "absolute"),
        (entry("\\evil.py"), "absolute"),
        (entry("homework/link", stat.S_IFLNK | 0o777), "is a link"),
        (entry("outside", stat.S_IFLNK | 0o777), "is a link"),
        (entry("homework/pipe", stat.S_IFIFO | 0o644), "not a plain file"),
        (entry("homework//x"), "not a proper file name"),
        (entry("homework/./x"), "not a proper file name"),
        (entry("homework\\x"), "not a proper file name"),
        (entry("homework/x\ny"), "not a proper file name"),
        (entry("homework/x\0y"), "has a second name"),
        (entry("homework/vlm.py/x"), "both a file and a folder"),
        (entry("homework/VLM.py"), "'homework/vlm.py' and 'homework/VLM.py' in the zip are one"),
        (entry("Homework/x"), "'homework' and 'Homework' in the zip are one file on some"),
        (entry("homework/device", stat.S_IFCHR | 0o644), "not a plain file"),
        (entry("homework/disk", stat.S_IFBLK | 0o644), "not a plain file"),
        (entry("homework/socket", stat.S_IFSOCK | 0o644), "not a plain file"),
        (entry("homework/" + "n" * 300), "cannot be unpacked"),
        (entry("homework/" + "d/" * 32 + "x"), "is over 32 folders deep"),
        (entry("homework/" + "d/" * 1950 + "x"), "is over 32 folders deep"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_unsafe_entry(place, graded, info, detail):
    path = make_zip(place / "ID.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    before = sorted(place.rglob("*"))
    out, result = graded(path)
    name, text = failure(result, out)
    assert name.startswith("Submission opens") and detail in text
    assert sorted(set(place.rglob("*")) - {place / "log.txt"}) == before


@pytest.mark.parametrize(
    ("damage", "detail"),
    [
        (lambda data: data[: len(data) // 2], "not a readable zip"),
        (lambda data: b"", "not a readable zip"),
        (lambda data: b"hello", "not a readable zip"),
        # A flipped bit in the first file's content: the checksum tells.
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "not a readable zip"),
        # Bit 0 of the flags in the first entry of the directory.
        (lambda data: _set(data, data.index(b"PK\1\2") + 8, 1), "is encrypted"),
    ],
)
def test_a_damaged_zip(place, graded, damage, detail):
    path = make_zip(place / "ID.zip")
    path.write_bytes(damage(path.read_bytes()))
    assert detail in failure(graded(path)[1], "Total: ")[1]


def _set(data: bytes, index: int, value: int) -> bytes:
    return data[:index] + bytes([value]) + data[index + 1 :]


@settings(max_examples=40, deadline=None)
@given(position=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_any_changed_byte_is_a_submission_error_or_none(tmp_path_factory, position, value):
    place = tmp_path_factory.mktemp("zip")
    path = make_zip(place / "ID.zip")
    data = path.read_bytes()
    path.write_bytes(_set(data, int(position * len(data)), value))
    (place / "private").mkdir()
    try:
        submission.unpack(path, place / "private")
    except SubmissionError as error:
        assert "\n" not in str(error)
    assert {entry.name for entry in place.iterdir()} == {"ID.zip", "private"}
    assert {entry.name for entry in (place / "private").iterdir()} <= {"homework"}


@pytest.mark.parametrize(("top", "detail"), [("", "vlm.py"), ("abc/homework/", "at its top: abc")])
def test_a_zip_without_homework(place, graded, top, detail):
    path = make_zip(place / "ID.zip", top=top)
    text = failure(graded(path)[1], "Total: ")[1]
    assert "no homework/__init__.py in the zip" in text and detail in text


def test_entries_beside_homework_are_not_unpacked(place, graded):
    path = make_zip(place / "ID.zip")
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("__MACOSX/x", "data/valid_grader/x_qa_pairs.json", "torch.py", "homework/d/"):
            archive.writestr(name, "")
    assert graded(path)[1]["total"] == 105


def test_too_large(place, graded, monkeypatch):
    monkeypatch.setattr("grader.packing.LIMIT_BYTES", 500)
    assert "at most 500" in failure(graded()[1], "Total: ")[1]
    monkeypatch.setattr("grader.packing.LIMIT_BYTES", 50_000_000)
    monkeypatch.setattr(submission, "MAX_UNPACKED_BYTES", 500)
    assert "when unpacked" in failure(graded()[1], "Total: ")[1]
    monkeypatch.setattr(submission, "MAX_FILES", 2)
    assert "more than 2 entries" in failure(graded()[1], "Total: ")[1]


def test_names_that_differ_by_their_accents_encoding(graded):
    files = GOOD | {"caf\u00e9.py": "", "cafe\u0301.py": ""}
    assert "are one file on some systems" in failure(graded(files)[1], "Total: ")[1]


def test_a_bomb_is_refused_before_anything_is_written(place, graded, monkeypatch):
    path = place / "ID.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("homework/__init__.py", "")
        archive.writestr("homework/weights", bytes(11_000_000))
    monkeypatch.setattr(submission.shutil, "copyfileobj", None)
    assert "grows over 200 times when unpacked" in failure(graded(path)[1], "Total: ")[1]
    monkeypatch.setattr(submission, "MAX_RATIO", 10**6)
    monkeypatch.setattr(submission, "MAX_UNPACKED_BYTES", 10_000_000)
    assert "more than 0.01 GB when unpacked" in failure(graded(path)[1], "Total: ")[1]


def test_a_size_that_is_a_lie_does_not_help(place, graded):
    path = place / "ID.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("homework/__init__.py", "")
        archive.writestr("homework/weights", bytes(11_000_000))
    data = path.read_bytes().replace(struct.pack("<I", 11_000_000), struct.pack("<I", 1000))
    path.write_bytes(data)
    assert "not a readable zip: BadZipFile" in failure(graded(path)[1], "Total: ")[1]
    with pytest.raises(SubmissionError, match="BadZipFile"):
        submission.unpack(path, place / "here")
    assert (place / "here/homework/weights").stat().st_size <= 1000


def test_a_list_of_files_without_end_is_not_read(place, graded, monkeypatch):
    path = make_zip(place / "ID.zip")
    monkeypatch.setattr(submission, "MAX_FILES", 0)
    monkeypatch.setattr(submission.zipfile, "ZipFile", None)
    assert "more than 0 entries" in failure(graded(path)[1], "Total: ")[1]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_whose_output_has_no_bound_is_refused(place, graded, method):
    path = make_zip(place / "ID.zip")
    with zipfile.ZipFile(path, "a", method) as archive:
        archive.writestr("homework/weights", bytes(9_000_000))
    tracemalloc.start()
    assert "another method than deflate" in failure(graded(path)[1], "Total: ")[1]
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_folders_count_as_entries(place, graded, monkeypatch):
    monkeypatch.setattr(submission, "MAX_FILES", 20)
    files = GOOD | {f"{n}/{n}/{n}/x.py": "" for n in range(5)}
    assert "more than 20 entries" in failure(graded(files)[1], "Total: ")[1]
    assert graded(GOOD | {"a/b/c/x.py": ""})[1]["total"] == 105


def zip64(path: Path, central: bool, local: bool) -> Path:
    """A small zip with the records that zips over 4 GB have, as streaming programs write them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in GOOD.items():
            with archive.open(f"homework/{name}", "w", force_zip64=local) as file:
                file.write(text.encode())
    data = path.read_bytes()
    end = data.rindex(b"PK\5\6")
    count, size, start = struct.unpack_from("<HLL", data, end + 10)
    record = struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    last = b"PK\5\6" + bytes(4) + b"\xff" * 12 + bytes(2)
    path.write_bytes(data[:end] + (record + locator + last if central else data[end:]))
    return path


@pytest.mark.parametrize(("central", "local"), [(True, False), (False, True), (True, True)])
def test_a_small_zip64_is_a_zip(place, graded, central, local):
    path = zip64(place / "ID.zip", central, local)
    assert graded(path)[1]["total"] == 105
    path.write_bytes(path.read_bytes()[:-60])
    assert "not a readable zip" in failure(graded(path)[1], "Total: ")[1]


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENOENT, errno.EMFILE, None])
def test_an_error_of_the_file_system_is_no_fault_of_the_submission(
    place, monkeypatch, capsys, number
):
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number)) if number else OSError("zipfile's own")

    path = make_zip(place / "ID.zip")
    monkeypatch.setattr(submission.zipfile, "ZipFile", fail)
    code = main([str(path), "--data_dir", str(place / "data")])
    out, err = capsys.readouterr()
    assert code == (1 if number else 0) and ("Total: " in out) == (number is None)
    assert err.count("\n") == (1 if number else 0)


def test_a_folder_that_cannot_be_packed(place, graded):
    (write_files(place / "homework", GOOD) / "link").symlink_to(place)
    assert "is a link" in failure(graded(place / "homework")[1], "Total: ")[1]
    assert "no __init__.py" in failure(graded(place / "data")[1], "Total: ")[1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="older zipfile ignores the second name")
def test_a_second_name_in_an_extra_field(place, graded):
    info, name, other = zipfile.ZipInfo("homework/x"), b"homework/x", b"../../evil"
    info.extra = struct.pack("<HHBL", 0x7075, 5 + len(other), 1, zlib.crc32(name)) + other
    path = make_zip(place / "ID.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "")
    assert "has a second name" in failure(graded(path)[1], "Total: ")[1]
