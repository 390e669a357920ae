"""A web server for the tests, with an archive of a small data set."""

import io
import json
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from homework.common.errors import InputError
from homework.download import download

FILES = {
    "train/00000_00_im.jpg": bytes(range(256)) * 40,
    "train/00000_info.json": b'{"track": "abyss"}',
    "train_demo/demo_qa_pairs.json": b"[]",
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
            self.send_response(server.status, server.reason)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.end_headers()
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
        length = server.headers.get("Content-Length", str(len(body) - start))
        self.send_header("Content-Length", length)
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else None
        self.wfile.write(body[start:cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("homework.download.time.sleep", lambda seconds: None)
    monkeypatch.setattr("homework.download.os.sync", lambda: None)  # slow on a busy machine
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.body = zipped({f"supertux_data/{name}": data for name, data in FILES.items()})
    server.etag, server.ranges, server.status = '"one"', True, 200
    server.content_type, server.cuts, server.asked = "application/zip", [], []
    server.headers, server.reason = {}, None
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


def stop_after(calls):
    """An update of a progress bar at whose n-th call the user presses Ctrl-C."""
    count = iter(range(calls - 1))

    def update(bar, number=1):
        if next(count, None) is None:
            raise KeyboardInterrupt

    return update
