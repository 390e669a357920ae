"""The report in a real browser, opened from disk: filters, keyboard, links, widths, no network."""

import csv
import re
import shlex

import pytest
from browser import open_browser, opening, wait_until
from reports import make_report

pytestmark = pytest.mark.slow
PER_PAGE = 24  # samples


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A newer report held against two older ones, and its data."""
    from helpers import make_split

    data_dir = tmp_path_factory.mktemp("data")
    make_split(data_dir / "train", frames=3, seed=0)
    make_split(data_dir / "valid", frames=4, seed=1)
    old, third, new = map(tmp_path_factory.mktemp, ("old", "third", "new"))
    make_report(old, data_dir, per_kind=20)
    make_report(third, data_dir, per_kind=5, seed=2)
    return new, make_report(new, data_dir, per_kind=20, seed=1, against=[old, third, third])


@pytest.fixture
def opened(browser, reports):
    """Opens the newer report at a state of its own; complaints and requests fail the test."""
    with opening(browser, reports[0], 800, reduced_motion="reduce") as at:
        yield at


def shown(page):
    return page.locator("#gallery a").count()


def test_it_opens_from_disk_with_its_numbers(opened, reports):
    page, data = opened(), reports[1]
    row = page.locator("#accuracy .share.total")
    assert f"{data['kinds'][-1]['accuracy']:.1%}" in row.inner_text()
    assert "guesser_1</script><b>&amp;" in page.locator("h1").inner_text()
    assert shown(page) == PER_PAGE
    assert page.locator("#page").inner_text() == "page 1 of 5"
    page.locator("#next-page").click()
    wait_until(page, "document.querySelector('#page').textContent == 'page 2 of 5'")
    loaded = "[...document.querySelectorAll('#gallery image')].length"
    assert page.evaluate(loaded) == PER_PAGE


def test_filters_show_the_matching_samples_only(opened, reports):
    page, samples = opened(), reports[1]["samples"]
    page.locator("select[name=kind]").select_option("ego")
    page.locator("select[name=result]").select_option("wrong")
    expected = [s for s in samples if s["kind"] == "ego" and not s["right"]]
    expected.sort(key=lambda sample: -sample["probability"])  # mistakes first, the surest first
    wait_until(page, f"document.querySelectorAll('#gallery a').length == {len(expected)}")
    texts = page.locator("#gallery .truth").all_inner_texts()
    assert [re.search(r"truth: (\w+)", text)[1] for text in texts] == [s["truth"] for s in expected]

    kart = expected[0]["truth"]
    page.locator("select[name=kart]").select_option(kart)
    views = reports[1]["views"]
    left = [s for s in expected if any(k[0] == kart for k in views[s["image_file"]]["karts"])]
    wait_until(page, f"document.querySelectorAll('#gallery a').length == {len(left)}")

    page.goto(page.url.split("#")[0] + "#kind=relative+position&seen=unseen&changed=fixed+0")
    chosen = [
        s
        for s in samples
        if s["kind"] == "relative position"
        and s["seen"] is False
        and s["right"]
        and not s["others"][0]["right"]
    ]
    wait_until(page, f"document.querySelectorAll('#gallery a').length == {len(chosen)}")
    page.locator("#reset").click()
    wait_until(page, f"document.querySelectorAll('#gallery a').length == {PER_PAGE}")


def test_a_filtered_gallery_says_what_it_shows(opened, reports):
    samples = reports[1]["samples"]
    wrong = sum(not sample["right"] for sample in samples)
    counts = [s for s in samples if s["kind"] == "count"]
    few = [s for s in counts if s["classes"]["karts"] == "2"]
    shown = {
        "": f"100 questions: {100 - wrong} right ({1 - wrong / 100:.1%}), {wrong} wrong",
        "result=wrong": f"Answered wrong: {wrong} of 100 questions",
        "kind=count&result=wrong": f"Answered wrong: {sum(not s['right'] for s in counts)} of 20 "
        "questions of kind count",
        "kind=count&result=right&karts=2": f"Answered right: {sum(s['right'] for s in few)} of "
        f"{len(few)} questions of kind count with the other filters",
        "kart=nobody": "No question fits: remove a filter.",
    }
    for state, text in shown.items():
        assert opened(state).locator("#found").inner_text() == text


def test_mistakes_come_first_and_the_samples_are_a_click_away(opened, reports):
    page = opened()
    wrong = sum(not sample["right"] for sample in reports[1]["samples"])
    marks = page.locator("#gallery .said").evaluate_all("all => all.map(e => e.className)")
    assert marks == ["said wrong"] * min(wrong, PER_PAGE)
    links = page.locator("#contents a")
    names = ["Accuracy", "Samples", "Where it fails", "What is taken for what"]
    assert links.all_inner_texts() == [*names, "Against other runs", "Training"]
    links.last.click()
    assert page.locator("#charts svg").first.is_visible()
    links.nth(1).click()  # the contents have stayed in sight
    top = "document.querySelector('#{}').getBoundingClientRect().top"
    assert 0 <= page.evaluate(top.format("samples")) < 100
    page.mouse.move(900, 500)
    page.mouse.wheel(0, 500)
    wait_until(page, f"{top.format('samples')} < -300")
    assert 0 <= page.evaluate(top.format("filters")) < 300  # and so have the filters


def test_the_search_finds_words_of_questions_answers_and_frames(opened, reports):
    page, samples, views = opened(), reports[1]["samples"], reports[1]["views"]

    def text(sample):
        view = views[sample["image_file"]]
        karts = [kart[0] for kart in view["karts"]]
        asked = [sample[name] for name in ("question", "answer", "truth", "image_file")]
        return " ".join([*asked, view["track"], *karts]).lower()

    box, track = page.locator("input[name=search]"), views[samples[0]["image_file"]]["track"]
    for words in ("LEFT Tux", track, f"{track} front"):
        expected = [s for s in samples if all(word in text(s) for word in words.lower().split())]
        assert 0 < len(expected) < 100
        box.fill(words)
        start = f"{len(expected)} question{'' if len(expected) == 1 else 's'} with"
        wait_until(page, f"document.querySelector('#found').textContent.startsWith('{start}')")
    assert page.evaluate("document.activeElement.name") == "search"
    page.go_back()  # letters are no steps of their own
    assert "index.html" not in page.url


@pytest.mark.parametrize("name", ["size", "karts", "seen", "confidence"])
def test_a_bar_shows_its_own_samples(opened, reports, name):
    """Even if other filters were set before."""
    page, data = opened("result=right&kart=tux"), reports[1]
    place = list(data["breakdowns"]).index(name)
    page.locator("#where-kinds button", has_text="relative position").click()
    row = data["breakdowns"][name]["relative position"][0]
    page.locator("#where .card").nth(place).locator("button.share").first.click()
    text = f"{row['total']} question{'' if row['total'] == 1 else 's'} of kind relative position"
    share = f"{row['right']} right ({row['accuracy']:.1%})"
    found = "document.querySelector('#found').textContent"
    wait_until(page, f"{found}.startsWith('{text} with') && {found}.includes('{share}')")
    assert "result=" not in page.url and f"{name}=" in page.url
    assert (
        0 <= page.evaluate("document.querySelector('#samples').getBoundingClientRect().top") < 100
    )


def test_a_cell_of_the_confusions_shows_its_own_samples(opened, reports):
    page, table = opened(), reports[1]["confusions"]["count"]
    page.locator("#confusion-kinds button", has_text="count").click()
    size = len(table["labels"])
    row, column = next(
        (r, c) for r in range(size) for c in range(size) if r != c and table["counts"][r][c]
    )
    page.locator("#matrix button").nth(row * size + column).click()
    number = table["counts"][row][column]
    wait_until(page, f"document.querySelectorAll('#gallery a').length == {number}")
    truth, answer = table["labels"][row], table["labels"][column]
    chips = page.locator("#chips button").all_inner_texts()
    assert chips == [f"truth {truth} ✕", f"answered {answer} ✕", "Show all"]
    page.locator("#chips button").nth(1).click()
    more = sum(table["counts"][row])
    wait_until(page, f"document.querySelectorAll('#gallery a').length == {more}")


def test_runs_stand_side_by_side_by_name_and_date(opened, reports):
    page, data = opened(), reports[1]
    heads = page.locator("#runs th[scope=col]").all_inner_texts()
    assert heads[:2] == ["kind", "majority"] and heads[-1] == "this run, 2026-01-02 09:30"
    assert [re.search(r"2026-01-0\d", head)[0][-1] for head in heads[2:-1]] == ["1", "3", "3"]
    assert heads[-2] == f"{heads[-3]} (2)"
    last = page.locator("#runs tr").last.inner_text().split()
    other = data["others"][0]["kinds"][-1]
    assert last[2] == f"{other['before'] / other['total']:.1%}"
    assert "left out" in page.locator("#changes-tables .card").nth(1).inner_text()
    fixed = page.locator("#changes-tables .card").first.locator("tr").last.locator("button").first
    fixed.click()
    # The address changes first, the page is drawn anew a moment later.
    text = f"{other['fixed']} question"
    wait_until(page, f"document.querySelector('#found').textContent.startsWith('{text}')")
    assert page.url.endswith("#changed=fixed+0")


def test_what_is_filtered_is_saved_as_csv(opened, reports):
    page, samples = opened("kind=ego&result=wrong"), reports[1]["samples"]
    with page.expect_download() as download:
        page.locator("#csv").click()
    with open(download.value.path(), newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    expected = [s for s in samples if s["kind"] == "ego" and not s["right"]]
    expected.sort(key=lambda sample: -sample["probability"])
    for name in ("image_file", "question", "truth", "answer"):
        assert [row[name] for row in rows] == [sample[name] for sample in expected]
    assert list(rows[0])[-1] == "guesser_2</script><b>&amp;, 2026-01-03 09:30 (2)"


def test_a_sample_lists_the_frames_other_questions_and_how_to_ask_it_again(opened, reports):
    samples = reports[1]["samples"]
    index = next(i for i, s in enumerate(samples) if s["kind"] == "relative position")
    sample = samples[index]
    page = opened(f"sample={index}&kind=track")
    rest = [i for i, s in enumerate(samples) if s["image_file"] == sample["image_file"]]
    rest.remove(index)
    links = page.locator("#detail li a")
    assert links.all_inner_texts() == [samples[i]["question"] for i in rest]
    command = page.locator("#detail code").inner_text()
    words = shlex.split(command)
    assert words[:4] == ["python", "-m", "homework.base_vlm", "ask"]
    given = dict(zip(words[4::2], words[5::2], strict=True))
    assert given == {
        "--checkpoint": "runs/it's",
        "--image": f"data/{sample['image_file']}",
        "--question": sample["question"],
    }
    links.first.press("Enter")
    wait_until(page, f"new URLSearchParams(location.hash.slice(1)).get('sample') == '{rest[0]}'")


def test_recipe_and_curves_of_the_training_are_shown(opened):
    page = opened()
    titles = page.locator("#charts h3").all_inner_texts()
    assert titles == ["loss", "accuracy", "held-out accuracy by kind"]
    assert page.locator("#charts svg").nth(1).locator(".line").count() == 2
    assert "ego 50.0%" in page.locator("#charts .card").last.inner_text()
    assert "learning_rate\n0.001" in page.locator("#recipe").inner_text()


def test_the_page_uses_words_for_numbers_and_dates_for_runs(opened):
    page = opened()
    rows = page.locator(".share .detail").all_inner_texts()
    assert rows and all(re.fullmatch(r"\d+% to \d+%, \d+ questions?", row) for row in rows)
    assert re.search(r"probability\s\d+%", page.locator("#gallery .truth").first.inner_text())
    assert "2026-01-01 09:30" in page.locator("#changes-tables h3").first.inner_text()
    assert "measured 2026-01-02 09:30" in page.locator("#subtitle").inner_text()
    assert "by chance" in page.locator("#changes-tables").inner_text()


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
    assert dialog.locator("dd .said").first.inner_text() == sample["others"][0]["answer"]


def test_the_keyboard_reaches_everything(opened):
    page = opened("kind=ego")
    reached = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(() => { const e = document.activeElement; return e.id || e.name ||"
                " (e.dataset.sample && 'card') || e.getAttribute('role') || e.textContent })()"
            )
        )
    expected = {"theme", "kind", "result", "track", "kart", "seen", "changed", "sort", "reset"}
    expected |= {"search", "size", "karts", "confidence", "csv", "runs"}
    assert expected | {"heat", "card", "gridcell", "count"} <= reached
    assert {"Samples", "Training"} <= reached

    page.locator("#matrix button[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert "truth" in page.locator("#cell").inner_text()
    page.keyboard.press("Enter")
    wait_until(page, "document.querySelector('#chips').textContent.includes('truth')")
    assert "truth=" in page.url

    page.goto(page.url.split("#")[0] + "#kind=ego")
    wait_until(page, "!document.querySelector('#chips').textContent.includes('truth')")
    first = page.locator("#gallery a").first
    first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail[open]")
    index = first.get_attribute("data-sample")
    page.keyboard.press("ArrowRight")
    wait_until(page, f"!location.hash.endsWith('sample={index}')")
    page.keyboard.press("b")
    wait_until(page, "!document.querySelector('#detail svg rect')")
    page.keyboard.press("Escape")
    wait_until(page, "!document.querySelector('#detail').open")
    wait_until(page, "document.activeElement.dataset.sample !== undefined")


def test_heat_maps_are_drawn_where_there_are_some(opened):
    page = opened("heat=1")
    images = [li.locator("image").count() for li in page.locator("#gallery li").all()[:4]]
    marked = page.locator("#gallery a").evaluate_all("all => all.map(a => a.dataset.sample)")
    assert images == [2 - int(index) % 2 for index in marked[:4]]


@pytest.mark.parametrize("state", ["", "sample=3", "kind=ego&heat=1"])
def test_a_phones_width_has_no_sideways_scroll(opened, state):
    page = opened(state, width=400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    for kind in ("track", "count"):
        page.evaluate(f"drawMatrix('{kind}')")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_on_a_phone_the_filters_are_folded_and_stay_in_sight(opened, reports):
    page = opened(width=390, has_touch=True)
    select = page.locator("select[name=kind]")
    assert not select.is_visible()
    page.locator("#contents a").nth(1).click()
    page.mouse.move(200, 500)
    page.mouse.wheel(0, 900)
    wait_until(page, "document.querySelector('#samples').getBoundingClientRect().top < -500")
    page.locator("#filter-box summary").click()
    select.select_option("track")
    wait_until(page, "document.querySelector('#found').textContent.includes('of kind track')")
    top = page.evaluate("document.querySelector('#samples').getBoundingClientRect().top")
    assert 0 <= top < 100
    assert page.locator("#found").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_light_and_in_dark(opened, scheme):
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
