"""The download: against a server of our own that cuts, changes, lies and refuses."""

import hashlib
import io
import json
import re
import stat
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from homework.common import cli
from homework.common.errors import InputError
from homework.download import download
from homework.frames import unpack

FILES = {
    "train/00000_00_im.jpg": bytes(range(256)) * 40,
    "train/00000_info.json": b'{"track": "abyss"}',
    "valid/00000_info.json": b"{}",
    "valid_grader/all_qa_pairs.json": b"[]",
}


def zipped(files, attributes=None, compression=zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            info.external_attr = (attributes or {}).get(name, 0) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.body`; what goes wrong is set on the server by each test."""

    def do_GET(self):
        server, body, start = self.server, self.server.body, 0
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        if asked and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if server.etag:
            self.send_header("ETag", server.etag)
        self.send_header("Content-Type", server.content_type)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else None
        self.wfile.write(body[start:cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("homework.frames.fetch.time.sleep", lambda seconds: None)
    monkeypatch.setattr("homework.download.os.sync", lambda: None)  # slow on a busy machine
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.body = zipped({f"supertux_data/{name}": data for name, data in FILES.items()})
    server.etag, server.ranges, server.status = '"one"', True, 200
    server.content_type, server.cuts, server.asked = "application/zip", [], []
    server.url = f"http://127.0.0.1:{server.server_port}/data.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def unpacked(folder):
    """The files in the folder but for the manifest, which must be there."""
    files = tree(folder)
    assert json.loads(files.pop("manifest.json"))["splits"]["train"]["files"] == 2
    return files


def error_of(*args, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        download(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- fetching ---


def test_downloads_unpacks_and_writes_the_manifest(server, tmp_path, capsys):
    download(server.url, str(tmp_path))
    assert unpacked(tmp_path) == FILES
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest == {
        "url": server.url,
        "etag": '"one"',
        "size": len(server.body),
        "sha256": hashlib.sha256(server.body).hexdigest(),
        "splits": {
            "train": {"files": 2, "bytes": 10258},
            "valid": {"files": 1, "bytes": 2},
            "valid_grader": {"files": 1, "bytes": 2},
        },
    }
    download(server.url, str(tmp_path))
    assert "nothing to do" in capsys.readouterr().out
    assert server.asked == [None]


def test_a_lost_file_is_fetched_again(server, tmp_path):
    download(server.url, str(tmp_path), keep_archive=True)
    (tmp_path / "valid/00000_info.json").unlink()
    download(server.url, str(tmp_path))
    assert unpacked(tmp_path) == FILES  # and the archive that was kept is now gone
    assert len(server.asked) == 1


def test_goes_on_after_a_cut_connection(server, tmp_path):
    server.cuts = [4000, 7000]
    download(server.url, str(tmp_path))
    assert server.asked == [None, "bytes=4000-", "bytes=7000-"]
    assert unpacked(tmp_path) == FILES


def test_the_next_run_goes_on_after_giving_up(server, tmp_path):
    server.cuts = [4000] * 4
    message = error_of(server.url, str(tmp_path))
    assert "4,000 of" in message and "run the same command again" in message
    assert not (tmp_path / "manifest.json").exists()
    download(server.url, str(tmp_path))
    assert server.asked[-1] == "bytes=4000-"
    assert unpacked(tmp_path) == FILES


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.ranges, server.cuts = False, [4000]
    download(server.url, str(tmp_path))
    assert server.asked == [None, "bytes=4000-"]
    assert unpacked(tmp_path) == FILES


def test_without_an_etag_nothing_is_continued(server, tmp_path):
    server.etag, server.cuts = None, [4000]
    download(server.url, str(tmp_path))
    assert server.asked == [None, None]
    assert unpacked(tmp_path) == FILES


def test_a_changed_file_starts_again(server, tmp_path):
    server.cuts = [4000] * 4
    error_of(server.url, str(tmp_path))
    server.etag, server.body = '"two"', zipped(FILES | {"train/more.json": b"{}"})
    download(server.url, str(tmp_path))
    assert json.loads((tmp_path / "manifest.json").read_text())["etag"] == '"two"'
    assert (tmp_path / "train/more.json").exists()


def test_a_part_that_is_longer_than_the_file_starts_again(server, tmp_path, monkeypatch):
    server.cuts = [4000] * 4
    error_of(server.url, str(tmp_path))
    server.status = 416
    assert "416" in error_of(server.url, str(tmp_path))
    assert server.asked[-2:] == ["bytes=4000-", None]


def test_stopped_while_fetching_goes_on(server, tmp_path, monkeypatch):
    monkeypatch.setattr("homework.frames.fetch._CHUNK_BYTES", 1000)
    monkeypatch.setattr("tqdm.tqdm.update", stop_after(3))
    with pytest.raises(KeyboardInterrupt):
        download(server.url, str(tmp_path))
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    download(server.url, str(tmp_path))
    assert server.asked == [None, "bytes=3000-"]
    assert unpacked(tmp_path) == FILES


def test_stopped_while_unpacking_goes_on(server, tmp_path, monkeypatch):
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


def stop_after(calls):
    """An update of a progress bar at whose n-th call the user presses Ctrl-C."""
    count = iter(range(calls - 1))

    def update(bar, number=1):
        if next(count, None) is None:
            raise KeyboardInterrupt

    return update


def write_body(body):
    return lambda url, archive, state: archive.write_bytes(body)


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_is_one_line(server, tmp_path, status):
    server.status = status
    assert f"the server answers {status}" in error_of(server.url, str(tmp_path))


def test_a_web_page_is_not_a_dataset(server, tmp_path):
    server.content_type = "text/html; charset=utf-8"
    assert "sends a web page" in error_of(server.url, str(tmp_path))


def test_nobody_listens(server, tmp_path):
    url = server.url.replace(str(server.server_port), "9")  # the discard port
    assert "127.0.0.1:9: the connection failed" in error_of(url, str(tmp_path))


def test_no_space_is_told_before_anything_is_fetched(server, tmp_path, monkeypatch):
    monkeypatch.setattr(unpack.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert "0.00 GB are free; make room" in error_of(server.url, str(tmp_path))
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("url", ["data.zip", "file:///etc/passwd", "ftp://x/y.zip"])
def test_only_web_addresses(tmp_path, url):
    assert "not an address" in error_of(url, str(tmp_path))


def test_another_dataset_in_the_folder_is_not_mixed(server, tmp_path):
    download(server.url, str(tmp_path))
    assert "give another --data_dir" in error_of(server.url + "?2", str(tmp_path))


def test_a_data_dir_that_is_a_file(server, tmp_path):
    (tmp_path / "data").write_text("")
    assert "File exists" in error_of(server.url, str(tmp_path / "data"))


# --- checking the archive ---


def test_sha256(server, tmp_path):
    right = hashlib.sha256(server.body).hexdigest()
    assert "expected 0000" in error_of(server.url, str(tmp_path), sha256="0" * 64)
    assert not (tmp_path / "train").exists()
    download(server.url, str(tmp_path), sha256=right.upper())
    assert len(server.asked) == 1
    assert "expected 0000" in error_of(server.url, str(tmp_path), sha256="0" * 64)
    assert "not 64 hex" in error_of(server.url, str(tmp_path), sha256="abc")


def test_a_damaged_archive_is_fetched_again(server, tmp_path):
    whole = server.body
    for damaged in (whole[:-30], b"no zip", whole.replace(b'"abyss"', b'"abysS"')):
        server.body = damaged
        assert "damaged" in error_of(server.url, str(tmp_path))
        assert not list(tmp_path.rglob("*.zip")) and not list(tmp_path.rglob("*_im.jpg.partial"))
        assert not (tmp_path / "train/00000_info.json").exists()
    server.body = whole
    download(server.url, str(tmp_path))
    assert unpacked(tmp_path) == FILES


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
        ({"data/train/a.json": b"1"}, {}, "clash"),
        ({"train/a.json/b.json": b"1"}, {}, "lies below a file"),
        ({"train/" + "d/" * 1500 + "a.json": b""}, {}, "over 32 folders deep"),
    ],
)
def test_unsafe_archives_are_refused_whole(server, tmp_path, files, attributes, words):
    server.body = zipped(SAFE | files, attributes)
    folder = tmp_path / "in" / "data"
    message = error_of(server.url, str(folder))
    assert "refused" in message and words in message
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds == {".zip", ".partial"}


def test_bombs_are_refused(server, tmp_path, monkeypatch):
    server.body = zipped({"train/a.json": bytes(1_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert "over 100 times" in error_of(server.url, str(tmp_path))
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


def test_an_archive_without_splits(server, tmp_path):
    server.body = zipped({"readme.txt": b""})
    assert "holds no folder train" in error_of(server.url, str(tmp_path))


def test_a_link_in_the_data_folder_is_not_followed(server, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train").symlink_to(tmp_path / "elsewhere")
    assert "remove the link" in error_of(server.url, str(tmp_path / "data"))
    assert tree(tmp_path / "elsewhere") == {}


# --- as a command ---


def test_the_command_line(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--url", server.url, "--data_dir", str(tmp_path)])
    cli.run(download)
    assert "complete: " in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["x", "--url", "data.zip"])
    with pytest.raises(SystemExit) as caught:
        cli.run(download)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("error: --url 'data.zip': not an address")


def test_a_mistyped_flag_fetches_nothing(server, tmp_path, monkeypatch):
    arguments = ["x", "--url", server.url, "--data_dir", str(tmp_path), "--keep_archives"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as caught:
        cli.run(download)
    assert caught.value.code == 2 and server.asked == []
