"""A command replaces only what it has written itself and nobody has changed since."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re

import pytest

from homework.common.errors import InputError
from homework.common.outputs import RECORD, Outputs, render


def write(path, text, command="generate", overwrite=False):
    with Outputs(command, overwrite).open(path) as file:
        file.write(text.encode())


def test_a_command_replaces_its_own_file_and_no_other(tmp_path):
    file = tmp_path / "a.json"
    write(file, "one")
    write(file, "two")
    assert file.read_text() == "two"
    with pytest.raises(InputError, match=r"a\.json: .* balance did not write.*--overwrite"):
        write(file, "three", "balance")
    file.write_text("by hand")
    with pytest.raises(InputError, match=r"changed since.*--overwrite"):
        write(file, "three")
    assert file.read_text() == "by hand"
    write(file, "by hand")  # the same bytes lose nothing
    file.write_text("by hand again")
    write(file, "four", overwrite=True)
    assert file.read_text() == "four"
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", RECORD}


@pytest.mark.parametrize("name", ["00000_info.json", "00000_00_im.jpg", "A_IM.JPG", "x_im.png"])
@pytest.mark.parametrize("there", [True, False])
def test_a_file_of_the_dataset_is_never_written_over(name, there, tmp_path):
    if there:
        (tmp_path / name).write_text("labels")
    for overwrite in (True, False):
        with pytest.raises(InputError, match="name of a file of the dataset"):
            write(tmp_path / name, "x", overwrite=overwrite)
        with pytest.raises(InputError, match="name of a file of the dataset"):
            Outputs("generate", overwrite).check(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name] * there


@pytest.mark.parametrize(
    "record", ["", "[]", '{"a.json": 3}', '{"a.json": {"command": "generate"}}']
)
def test_without_a_readable_record_nothing_is_the_commands_own(record, tmp_path):
    (tmp_path / "a.json").write_text("x")
    (tmp_path / RECORD).write_text(record)
    with pytest.raises(InputError, match="did not write"):
        write(tmp_path / "a.json", "y")
    with pytest.raises(InputError, match="did not write"):
        Outputs("generate").check(tmp_path / "a.json")


@pytest.mark.parametrize("moment", [0, 1])
def test_a_kill_between_record_and_file_leaves_nothing_unclaimed(moment, tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    write(file, "one")
    replace, moves = os.replace, []

    def stopping(*paths):
        if len(moves) == moment:
            raise KeyboardInterrupt
        moves.append(paths)
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", stopping)
        with pytest.raises(KeyboardInterrupt):
            write(file, "two")
    assert file.read_text() == "one"
    write(file, "three")
    assert file.read_text() == "three"
    assert len(json.loads((tmp_path / RECORD).read_text())["a.json"]["sha256"]) == 2


@pytest.fixture
def parts(tmp_path):
    file = tmp_path / "own.html"
    file.write_text("<style>p{}</style>\n<p>{{title}}</p>\n<script>read('it');</script>\n")
    return file


def test_the_policy_names_the_one_style_and_the_one_script(parts):
    page = render("A <b>", parts, {}).decode()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)[1]
    for element, end in (("script", "read('it');"), ("style", "p{}")):
        (text,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        assert text.endswith(end) and len(text) > 1000
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'; img-src data:;" in policy
    assert "<title>A &lt;b&gt;</title>" in page


def test_no_text_becomes_markup_or_is_filled_in(parts):
    value = {"answer": "</script><b>{{script}}"}
    page = render("x", parts, {"it": value}, images="data: file:").decode()
    assert "<p>{{title}}</p>" in page and "img-src data: file:;" in page
    block = re.search(r'id="it">(.*?)</script>', page, re.DOTALL)[1]
    assert json.loads(block) == value and page.count("</script>") == 2
