"""A page is one file: its own parts after the shared ones, and nothing else may run in it."""

import base64
import hashlib
import json
import re

import pytest

from homework.common.page import render


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
