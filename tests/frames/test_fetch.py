"""Fetching the archive: from a server of our own that cuts, changes, lies and refuses."""

import json
from pathlib import Path

import pytest
from dataset_server import FILES, error_of, stop_after, unpacked, zipped

from homework.download import _work_files, download


def test_a_cut_connection_is_resumed(server, tmp_path):
    server.cuts = [4000, 7000]
    download(server.url, str(tmp_path))
    assert server.asked == [None, "bytes=4000-", "bytes=7000-"]
    assert unpacked(tmp_path) == FILES


def test_the_next_run_resumes_an_unfinished_archive(server, tmp_path):
    server.cuts = [4000] * 4
    message = error_of(server.url, str(tmp_path))
    assert "4,000 of" in message and "run the same command again" in message
    assert not (tmp_path / "manifest.json").exists()
    download(server.url, str(tmp_path))
    assert server.asked[-1] == "bytes=4000-"
    assert unpacked(tmp_path) == FILES


def test_a_link_in_the_place_of_the_partial_file_is_not_followed(server, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "mine").write_text("kept")
    Path(f"{_work_files(data, server.url)[0]}.partial").symlink_to(tmp_path / "mine")
    download(server.url, str(data))
    assert (tmp_path / "mine").read_text() == "kept" and unpacked(data) == FILES


def test_without_ranges_the_archive_is_fetched_from_the_start(server, tmp_path):
    server.ranges, server.cuts = False, [4000]
    download(server.url, str(tmp_path))
    assert server.asked == [None, "bytes=4000-"]
    assert unpacked(tmp_path) == FILES


def test_without_an_etag_the_archive_is_fetched_from_the_start(server, tmp_path):
    server.etag, server.cuts = None, [4000]
    download(server.url, str(tmp_path))
    assert server.asked == [None, None]
    assert unpacked(tmp_path) == FILES


def test_a_changed_archive_is_fetched_from_the_start(server, tmp_path):
    server.cuts = [4000] * 4
    error_of(server.url, str(tmp_path))
    server.etag, server.body = '"two"', zipped(FILES | {"train/more.json": b"{}"})
    download(server.url, str(tmp_path))
    assert json.loads((tmp_path / "manifest.json").read_text())["etag"] == '"two"'
    assert (tmp_path / "train/more.json").exists()


def test_a_part_longer_than_the_archive_is_fetched_from_the_start(server, tmp_path, monkeypatch):
    server.cuts = [4000] * 4
    error_of(server.url, str(tmp_path))
    server.status = 416
    assert "416" in error_of(server.url, str(tmp_path))
    assert server.asked[-2:] == ["bytes=4000-", None]


def test_ctrl_c_while_fetching_is_resumed_by_the_next_run(server, tmp_path, monkeypatch):
    monkeypatch.setattr("homework.frames.fetch._CHUNK_BYTES", 1000)
    monkeypatch.setattr("tqdm.tqdm.update", stop_after(3))
    with pytest.raises(KeyboardInterrupt):
        download(server.url, str(tmp_path))
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    download(server.url, str(tmp_path))
    assert server.asked == [None, "bytes=3000-"]
    assert unpacked(tmp_path) == FILES


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_is_one_line(server, tmp_path, status):
    server.status = status
    assert f"the server answers {status}" in error_of(server.url, str(tmp_path))


def test_a_web_page_is_not_a_dataset(server, tmp_path):
    server.content_type = "text/html; charset=utf-8"
    assert "sends a web page" in error_of(server.url, str(tmp_path))


def test_a_refused_connection_is_one_line_with_its_address(server, tmp_path):
    url = server.url.replace(str(server.server_port), "9")  # the discard port
    assert "127.0.0.1:9: the connection failed" in error_of(url, str(tmp_path))


@pytest.mark.parametrize("length", ["abc", "-5", "٣", "9" * 5000])
def test_a_wrong_length_is_no_length(server, tmp_path, length):
    server.headers = {"Content-Length": length.encode().decode("latin1")}
    download(server.url, str(tmp_path))
    assert unpacked(tmp_path) == FILES


@pytest.mark.parametrize("place", ["/data.zip", "http://[", "http://x:abc/", "file:///etc/passwd"])
def test_a_redirect_that_leads_nowhere_is_one_line(server, tmp_path, place):
    server.status, server.headers = 302, {"Location": place}
    assert "check --url" in error_of(server.url, str(tmp_path))


def test_a_servers_reason_is_printable(server, tmp_path):
    server.status, server.reason = 404, "gone \x1b[31m\x07" + "x" * 30_000
    message = error_of(server.url, str(tmp_path))
    assert r"404 gone \x1b[31m\x07xxx" in message and len(message) < 1000


@pytest.mark.parametrize("proxy", ["http://[", "http://x:abc", "http://a..b", "http://"])
def test_a_wrong_proxy_is_one_line(server, tmp_path, monkeypatch, proxy):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setattr("urllib.request._opener", None)  # it keeps the proxies of earlier requests
    monkeypatch.setenv("http_proxy", proxy)
    assert "http_proxy" in error_of(server.url, str(tmp_path))


@pytest.mark.parametrize("state", ["[]", '{"etag": 5, "size": "x"}', "{", '{"etag": "a\\nb"}'])
def test_a_damaged_state_of_a_download_starts_it_again(server, tmp_path, state):
    archive, path = _work_files(tmp_path, server.url)
    Path(f"{archive}.partial").write_bytes(b"x" * 100)
    path.write_text(state)
    download(server.url, str(tmp_path))
    assert unpacked(tmp_path) == FILES
