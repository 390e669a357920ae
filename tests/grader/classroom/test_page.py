"""The page about a class: what it says, that it runs nothing, and how it looks in a browser."""

from __future__ import annotations

import re

import pytest
from browser import Watched, open_browser

from grader.classroom import page

SETTINGS = {"split": "valid_grader", "time_limit": 60.0}


def row(name: str, total: float | None, **fields) -> dict:
    kinds = {"ego": {"right": 3, "asked": 4}} if total else {}
    group = "graded" if total else "an import fails" if total == 0 else "not graded"
    return {
        "ID": name, "total": total, "accuracy": 0.75 if total else None, "late": "no",
        "hours_late": None, "reason": f"why {name}", "sha256": name, "adapter_sha256": None,
        "kinds": kinds, "group": group,
    } | fields  # fmt: skip


ROWS = [
    row("a", 105.0, sha256="one", adapter_sha256="x"),
    row("b", 105.0, sha256="one", adapter_sha256="x"),
    row("c", 71.4, adapter_sha256="x", late="yes", hours_late=26.5),
    row("d", 0.0, late="yes"),
    row("<script>alert(1)</script>", 0.0, reason="'\"<b>&amp;"),
    row("e", None),
]


def text_of(html: str) -> str:
    return re.sub(r"<[^>]*>", "|", html)


def test_it_shows_distribution_failures_kinds_and_equal_submissions():
    text = re.sub(r"\s*\|[|\s]*", "|", text_of(page.render(ROWS, SETTINGS)))
    assert "mean 56.3, median 71.4; 2 late; 1 not graded" in text
    assert "|100 to 105|2|" in text and "|70 to below 80|1|" in text and "|0|2|" in text
    assert "|an import fails|2|d, &lt;script" in text and "|not graded|1|e|why e|" in text
    assert "|ego|75.0%|75% to 75%, median 75%|" in text
    assert "|all bytes|a, b|" in text and "|adapter|a, b, c|" in text
    assert "|c|71.4|75.0%|26.5 h|why c|" in text and "|d|0.0|late|why d|" in text


def test_the_same_bytes_alone_are_not_a_shared_adapter():
    assert page.same(ROWS[:2], "adapter_sha256") == []


def test_what_a_submission_says_stays_text():
    html = page.render(ROWS, SETTINGS)
    assert "<script" not in html and "<b>" not in html
    assert "default-src 'none'" in html


@pytest.mark.parametrize("rows", [[], ROWS[3:4], ROWS[5:]], ids=["none", "a failure", "no score"])
def test_a_class_without_scores_has_a_page(rows):
    assert "No submission has answered" in page.render(rows, SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_a_screen_and_asks_for_nothing(tmp_path, width):
    many = [row(f"student_{n:03}", float(n)) for n in range(1, 100)] + ROWS
    long = row("x" * 60, 0.0, reason="word " * 80 + "y" * 200)
    (tmp_path / "grades.html").write_text(page.render([*many, long], SETTINGS))
    with open_browser() as browser:
        view = Watched(browser, "file:", viewport={"width": width, "height": 800})
        view.page.goto(f"file://{tmp_path}/grades.html")
        assert view.page.evaluate("document.documentElement.scrollWidth") == width
        assert view.page.locator("main section").count() == 5
        bar = view.page.locator("svg rect").last.bounding_box()
        assert bar["width"] > 20 and bar["height"] > 10
        assert not view.complaints and not view.foreign
