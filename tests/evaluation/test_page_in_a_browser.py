"""The report in a real browser, opened from disk: filters, keyboard, links, widths, no network."""

import re

import pytest
from browser import Watched, open_browser, wait_until
from reports import make_report


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """An older report, a newer one held against it, and the newer one's data."""
    from helpers import make_split

    data_dir = tmp_path_factory.mktemp("data")
    make_split(data_dir / "train", frames=3, seed=0)
    make_split(data_dir / "valid", frames=4, seed=1)
    old, new = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("new")
    make_report(old, data_dir, per_kind=20)
    return new, make_report(new, data_dir, per_kind=20, seed=1, against=old)


@pytest.fixture
def opened(browser, reports):
    """Opens the newer report at a state of its own; complaints and requests fail the test."""
    watched = []

    def at(state="", width=1280, **context):
        view = Watched(browser, "file:", viewport={"width": width, "height": 800}, **context)
        watched.append(view)
        view.page.goto(f"file://{reports[0]}/index.html#{state}")
        view.page.wait_for_selector("html[data-ready]")
        return view.page

    yield at
    for view in watched:
        assert not view.complaints and not view.foreign
        view.page.context.close()


def shown(page):
    return page.locator("#gallery a").count()


def test_it_opens_from_disk_with_its_numbers(opened, reports):
    page, data = opened(), reports[1]
    row = page.locator("#accuracy .share.total")
    assert f"{data['kinds'][-1]['accuracy']:.1%}" in row.inner_text()
    assert "guesser_1</script><b>&amp;" in page.locator("h1").inner_text()
    assert shown(page) == 48  # of 100, a page's
    assert page.locator("#page").inner_text() == "page 1 of 3"
    page.locator("#next-page").click()
    wait_until(page, "document.querySelector('#page').textContent == 'page 2 of 3'")
    loaded = "[...document.querySelectorAll('#gallery image')].length"
    assert page.evaluate(loaded) == 48


def test_filters_leave_what_they_say(opened, reports):
    page, samples = opened(), reports[1]["samples"]
    page.locator("select[name=kind]").select_option("ego")
    page.locator("select[name=result]").select_option("wrong")
    expected = [s for s in samples if s["kind"] == "ego" and not s["right"]]
    wait_until(page, f"document.querySelectorAll('#gallery a').length == {len(expected)}")
    texts = page.locator("#gallery .truth").all_inner_texts()
    assert [re.search(r"truth: (\w+)", text)[1] for text in texts] == [s["truth"] for s in expected]

    kart = expected[0]["truth"]
    page.locator("select[name=kart]").select_option(kart)
    views = reports[1]["views"]
    left = [s for s in expected if any(k[0] == kart for k in views[s["image_file"]]["karts"])]
    wait_until(page, f"document.querySelectorAll('#gallery a').length == {len(left)}")

    page.goto(page.url.split("#")[0] + "#kind=relative+position&seen=unseen&changed=fixed")
    chosen = [
        s
        for s in samples
        if s["kind"] == "relative position"
        and s["seen"] is False
        and s["right"]
        and not s["before"]["right"]
    ]
    wait_until(page, f"document.querySelectorAll('#gallery a').length == {len(chosen)}")
    page.locator("#reset").click()
    wait_until(page, "document.querySelectorAll('#gallery a').length == 48")


def test_a_sample_has_a_link_of_its_own(opened, reports):
    sample = reports[1]["samples"][7]
    page = opened("sample=7")
    dialog = page.locator("#detail")
    assert dialog.is_visible()
    text = dialog.inner_text()
    for words in (sample["question"], sample["truth"], sample["image_file"]):
        assert words in text
    boxes = len(reports[1]["views"][sample["image_file"]]["karts"])
    assert dialog.locator("svg rect").count() == boxes
    link = dialog.get_by_text("Link to this sample").get_attribute("href")
    assert link == "#sample=7"
    before = dialog.locator("dd").last.inner_text()
    assert before.startswith(sample["before"]["answer"])


def test_the_keyboard_reaches_everything(opened):
    page = opened("kind=ego")
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(() => { const e = document.activeElement; return e.id || e.name ||"
                " (e.dataset.sample && 'card') || e.getAttribute('role') || e.textContent })()"
            )
        )
    expected = {"theme", "kind", "result", "track", "kart", "seen", "changed", "sort", "reset"}
    assert expected | {"heat", "card", "gridcell", "count"} <= reached

    page.locator("#matrix button[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert "truth" in page.locator("#cell").inner_text()
    page.keyboard.press("Enter")
    wait_until(page, "location.hash.includes('truth=')")

    page.goto(page.url.split("#")[0] + "#kind=ego")
    first = page.locator("#gallery a").first
    first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail[open]")
    index = first.get_attribute("data-sample")
    page.keyboard.press("ArrowRight")
    wait_until(page, f"!location.hash.endsWith('sample={index}')")
    page.keyboard.press("b")
    assert page.locator("#detail svg rect").count() == 0
    page.keyboard.press("Escape")
    wait_until(page, "!document.querySelector('#detail').open")
    assert page.evaluate("document.activeElement.dataset.sample") is not None


def test_heat_maps_are_drawn_where_there_are_some(opened):
    page = opened("heat=1")
    images = [li.locator("image").count() for li in page.locator("#gallery li").all()[:4]]
    assert images == [2, 1, 2, 1]


@pytest.mark.parametrize("state", ["", "sample=3", "kind=ego&heat=1"])
def test_a_phones_width_has_no_sideways_scroll(opened, state):
    page = opened(state, width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for kind in ("track", "count"):
        page.evaluate(f"drawMatrix('{kind}')")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_in_dark(opened, scheme):
    page = opened(color_scheme=scheme)
    ground, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light = sum(map(int, re.findall(r"\d+", ground))) > 380
    assert light == (scheme == "light")
    assert contrast(ground, ink) > 7
    soft = page.evaluate("getComputedStyle(document.querySelector('.note')).color")
    assert contrast(ground, soft) > 4.5  # WCAG 2, level AA
    page.locator("#theme").click()
    page.locator("#theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", dark))) < 120


def contrast(first: str, second: str) -> float:
    """WCAG's contrast ratio of two colours, "rgb(r, g, b)"."""

    def luminance(text):
        parts = [int(part) / 255 for part in re.findall(r"\d+", text)[:3]]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)
