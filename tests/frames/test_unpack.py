"""Unpacking the archive: what is unsafe is refused before anything is written."""

import stat
import zipfile
from types import SimpleNamespace

import pytest
from dataset_server import FILES, error_of, stop_after, tree, unpacked, zipped

from homework.download import download
from homework.frames import unpack


def test_ctrl_c_while_unpacking_is_resumed_by_the_next_run(server, tmp_path, monkeypatch):
    monkeypatch.setattr("homework.download.fetch", write_body(server.body))
    monkeypatch.setattr("tqdm.tqdm.update", stop_after(2))
    with pytest.raises(KeyboardInterrupt):
        download(server.url, str(tmp_path))
    left = {name for name in tree(tmp_path) if not name.startswith("dataset-")}
    assert left == {"train/00000_00_im.jpg"}  # whole; nothing half-written, no manifest
    monkeypatch.undo()
    first = (tmp_path / "train/00000_00_im.jpg").stat().st_mtime_ns
    download(server.url, str(tmp_path))
    assert unpacked(tmp_path) == FILES and server.asked == []
    assert (tmp_path / "train/00000_00_im.jpg").stat().st_mtime_ns == first


def write_body(body):
    return lambda url, archive, state: archive.write_bytes(body)


def test_no_space_is_told_before_anything_is_fetched(server, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert "0.00 GB are free; make room" in error_of(server.url, str(tmp_path))
    assert tree(tmp_path) == {}


SAFE = {"train/a.json": b"{}"}
LINK, DEVICE = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600


@pytest.mark.parametrize(
    ("files", "attributes", "words"),
    [
        ({"../evil.json": b""}, {}, "leads out of"),
        ({"train/../../evil.json": b""}, {}, "leads out of"),
        ({"/train/evil.json": b""}, {}, "absolute name"),
        ({"C:/train/evil.json": b""}, {}, "absolute name"),
        ({"train\\..\\..\\evil.json": b""}, {}, "absolute name"),
        ({"train/a\n.json": b""}, {}, "not portable"),
        ({"train/link": b"/etc/passwd"}, {"train/link": LINK}, "a link or a device"),
        ({"train/null": b""}, {"train/null": DEVICE}, "a link or a device"),
        ({"train/A.json": b"1"}, {}, "clash"),
        ({"train/" + "d/" * 1500 + "a.json": b""}, {}, "too deep"),
        ({"data/train/a.json": b"1"}, {}, "clash"),
    ],
)
def test_unsafe_archives_are_refused_whole(server, tmp_path, files, attributes, words):
    server.body = zipped(SAFE | files, attributes)
    folder = tmp_path / "in" / "data"
    message = error_of(server.url, str(folder))
    assert "refused" in message and words in message
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds == {".zip", ".partial"}


def test_an_archive_that_would_unpack_to_too_much_is_refused(server, tmp_path, monkeypatch):
    server.body = zipped({"train/a.json": bytes(1_000_000)}, compression=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(unpack, "MAX_UNPACKED_BYTES", 1000)
    assert "refused, it would unpack to" in error_of(server.url, str(tmp_path))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_whose_output_has_no_bound_is_refused(server, tmp_path, compression):
    server.body = zipped({"train/a.json": bytes(100)}, compression=compression)
    assert "another method than deflate" in error_of(server.url, str(tmp_path))


def test_other_folders_and_junk_are_left_out(server, tmp_path):
    junk = ["readme.txt", "sample/00000_info.json", "__MACOSX/train/a.json", "train/.DS_Store"]
    server.body = zipped(
        dict.fromkeys([*junk, "train/._a.json", "top/x/train/b.json"], b"x") | SAFE
    )
    download(server.url, str(tmp_path))
    assert set(tree(tmp_path)) == {"train/a.json", "manifest.json"}


def test_a_file_below_a_file_is_one_line(server, tmp_path):
    server.body = zipped(SAFE | {"train/a.json/b.json": b"1"})
    assert "a file stands where a folder is needed" in error_of(server.url, str(tmp_path))
    assert not (tmp_path / "manifest.json").exists()


def test_an_archive_without_splits_is_refused(server, tmp_path):
    server.body = zipped({"readme.txt": b""})
    assert "holds no folder train" in error_of(server.url, str(tmp_path))


def test_a_link_in_the_data_folder_is_not_followed(server, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train").symlink_to(tmp_path / "elsewhere")
    assert "remove the link" in error_of(server.url, str(tmp_path / "data"))
    assert tree(tmp_path / "elsewhere") == {}
