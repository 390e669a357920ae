"""`download`: the whole command, against a web server of our own."""

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest
from dataset_server import FILES, error_of, stop_after, unpacked, zipped

from homework.common import cli
from homework.download import download


def archive_in(folder, url):
    return folder / f"dataset-{hashlib.sha256(url.encode()).hexdigest()[:8]}.zip"


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
            "train_demo": {"files": 1, "bytes": 2},
            "valid": {"files": 1, "bytes": 2},
            "valid_grader": {"files": 1, "bytes": 2},
        },
    }
    download(server.url, str(tmp_path))
    assert "nothing to do" in capsys.readouterr().out
    assert server.asked == [None]


def test_a_tilde_in_the_data_folder_is_the_home(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    download(server.url, "~/data")
    assert (tmp_path / "data" / "manifest.json").exists() and not (tmp_path / "~").exists()


def test_a_lost_file_is_fetched_again(server, tmp_path):
    download(server.url, str(tmp_path), keep_archive=True)
    (tmp_path / "valid/00000_info.json").unlink()
    download(server.url, str(tmp_path))
    assert unpacked(tmp_path) == FILES  # and the archive that was kept is now gone
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        *("data.zip", "file:///etc/passwd", "ftp://x/y.zip", "http://", "http:///x", "http://["),
        *("http://x:abc/", "http://x:99999/", "http://x/\n", "http://x/\x1b[31m"),
    ],
)
def test_an_address_other_than_http_is_refused(tmp_path, url):
    assert re.search(r"cannot be asked for .* check --url", error_of(url, str(tmp_path)))


def test_a_folder_with_another_dataset_is_refused(server, tmp_path):
    download(server.url, str(tmp_path))
    assert "give another --data_dir" in error_of(server.url + "?2", str(tmp_path))


def test_a_data_dir_that_is_a_file_is_one_line(server, tmp_path):
    (tmp_path / "data").write_text("")
    assert "File exists" in error_of(server.url, str(tmp_path / "data"))


def test_a_wrong_sha256_is_refused_before_the_download(server, tmp_path):
    assert error_of(server.url, str(tmp_path), sha256="abc").startswith("--sha256: give the 64 hex")
    assert not server.asked and not any(tmp_path.iterdir())


def test_an_archive_of_another_sha256_is_refused(server, tmp_path):
    right = hashlib.sha256(server.body).hexdigest()
    assert "expected 0000" in error_of(server.url, str(tmp_path), sha256="0" * 64)
    assert not (tmp_path / "train").exists()
    download(server.url, str(tmp_path), sha256=right.upper())
    assert len(server.asked) == 1
    assert "expected 0000" in error_of(server.url, str(tmp_path), sha256="0" * 64)


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


def test_the_command_downloads_and_reports_a_wrong_address_in_one_line(
    server, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["x", "--url", server.url, "--data_dir", str(tmp_path)])
    cli.run(download)
    assert "complete: " in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["x", "--url", "data.zip", "--data_dir", f"{tmp_path}/2"])
    with pytest.raises(SystemExit) as caught:
        cli.run(download)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith(
        "error: data.zip: cannot be asked for (not an address such as https://"
    )


def test_a_mistyped_flag_fetches_nothing(server, tmp_path, monkeypatch):
    arguments = ["x", "--url", server.url, "--data_dir", str(tmp_path), "--keep_archives"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as caught:
        cli.run(download)
    assert caught.value.code == 2 and server.asked == []


@pytest.mark.parametrize("path", ["ü", "a b"])
def test_an_address_that_cannot_be_asked_for_is_one_line(server, tmp_path, path):
    assert error_of(server.url + path, str(tmp_path)).startswith(server.url)


@pytest.mark.parametrize("splits", [{"train": {"files": "x"}}, {"train": 5}, [], {"train": {}}])
def test_a_damaged_manifest_is_one_line(tmp_path, splits):
    manifest = {"url": "http://x/", "sha256": "0", "splits": splits}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert "delete it and run again" in error_of("http://x/", str(tmp_path))


def test_a_question_file_of_ones_own_is_kept(server, tmp_path, capsys):
    file = tmp_path / "train_demo" / "demo_qa_pairs.json"
    for number in (1, 2):
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"mine {number}")
        (tmp_path / "manifest.json").unlink(missing_ok=True)
        download(server.url, str(tmp_path))
        assert file.read_bytes() == FILES["train_demo/demo_qa_pairs.json"]
        assert Path(f"{file}.{number}").read_text() == f"mine {number}"
    assert "it is now demo_qa_pairs.json.2" in capsys.readouterr().err


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
    Path(f"{archive_in(data, server.url)}.partial").symlink_to(tmp_path / "mine")
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
    monkeypatch.setattr("homework.download._CHUNK_BYTES", 1000)
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
    assert "127.0.0.1:9/data.zip: the connection failed" in error_of(url, str(tmp_path))


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
    archive = archive_in(tmp_path, server.url)
    Path(f"{archive}.partial").write_bytes(b"x" * 100)
    archive.with_suffix(".state.partial").write_text(state)
    download(server.url, str(tmp_path))
    assert unpacked(tmp_path) == FILES
