"""The page on labels in a real browser, from disk: search, filters, answers, scenes, keyboard."""

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from browser import open_browser, opening, wait_until
from helpers import change, make_split

from homework.data import VQADataset
from homework.frames.split import list_split
from homework.generate_qa import explore
from homework.inspection.explore import read_labels
from homework.inspection.survey import survey
from homework.labels.questions import kind_of

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
REPEATED = ("00000", "00001")  # frames that the split has twice


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page of the sample with two frames repeated and one broken info file; its labels."""
    folder = tmp_path_factory.mktemp("data") / "sample"
    shutil.copytree(
        SAMPLE, folder, copy_function=os.symlink, ignore=shutil.ignore_patterns("*_qa*")
    )
    for name in REPEATED:
        for file in SAMPLE.glob(f"{name}_*"):
            if not file.name.endswith("_qa_pairs.json"):
                shutil.copy(file, folder / f"f{file.name[1:]}")
    (folder / "0ffff_info.json").write_text("{}")
    out = tmp_path_factory.mktemp("out")
    explore(str(folder), str(out), num_workers=1)
    found = survey(list_split(folder), 1)
    pairs = [
        (scene, image, question, answer)
        for (image, scene), made in zip(found.views, read_labels(found).pairs, strict=True)
        for question, answer in made
    ]
    return out, pairs, folder.parent


@pytest.fixture
def opened(browser, made):
    """Opens a page at a state of its own; complaints and requests fail the test."""
    with opening(browser, made[0], 844) as at:
        yield at


def wait_for(page, number, of):
    text = f"{number:,} of {of:,} pairs" if number else "no pair fits: remove a filter"
    wait_until(page, f"document.querySelector('#found').textContent == {json.dumps(text)}")


def chosen(page, name, value):
    page.locator(f"select[name={name}]").select_option(value)


def test_every_pair_is_there_with_its_frame_and_its_boxes(opened, made):
    page, pairs = opened(), made[1]
    wait_for(page, len(pairs), len(pairs))
    assert "made from the info files" in page.locator("#subtitle").inner_text()
    for index in (0, 47):
        scene, _, question, answer = pairs[index]
        card = page.locator("#gallery a").nth(index)
        text = card.inner_text()
        assert question in text and answer in text and scene.track in text
        assert card.locator("svg rect").count() == len(scene.karts)
    # All of them have loaded and show something.
    shown = page.evaluate(
        """Promise.all([...new Set([...document.querySelectorAll('#gallery image')].map(
             (image) => image.href.baseVal))].map((source) => { const image = new Image();
             image.src = source; return image.decode().then(() => image.naturalWidth); }))"""
    )
    assert shown and set(shown) == {150}


def test_doubtful_info_files_are_shown(opened):
    page = opened()
    page.locator("#notes summary").click()
    assert "unusable info files: 1 (0ffff_info.json: " in page.locator("#notes li").inner_text()


def test_search_finds_words_of_question_answer_track_and_image(opened, made):
    page, pairs = opened(), made[1]
    for text in ("left or right gnu", "abyss", "00003_04", "GNU ego", "nothing like it"):
        page.locator("[name=search]").fill(text)
        found = [
            pair
            for pair in pairs
            if all(
                word in f"{pair[2]} {pair[3]} {pair[0].track} {pair[1]}"
                for word in text.replace("GNU", "gnu").split()
            )
        ]
        assert bool(found) == (text != "nothing like it")
        wait_for(page, len(found), len(pairs))


def test_filters_show_the_matching_pairs_only(opened, made):
    page, pairs = opened(), made[1]
    chosen(page, "kind", "relative position")
    chosen(page, "karts", "3")
    some = [p for p in pairs if kind_of(p[2]) == "relative position" and len(p[0].karts) == 3]
    wait_for(page, len(some), len(pairs))
    chosen(page, "size", "8")

    def size(pair):
        kart = next(kart for kart in pair[0].karts if f" {kart.name} " in pair[2])
        return min(kart.box[2] - kart.box[0], kart.box[3] - kart.box[1])

    small = [pair for pair in some if 8 <= size(pair) < 12]
    wait_for(page, len(small), len(pairs))
    track = small[0][0].track
    chosen(page, "track", track)
    kart = small[0][0].karts[0].name
    chosen(page, "kart", kart)
    left = [p for p in small if p[0].track == track and kart in [k.name for k in p[0].karts]]
    wait_for(page, len(left), len(pairs))
    chosen(page, "answer", left[0][3])
    wait_for(page, sum(pair[3] == left[0][3] for pair in left), len(pairs))
    page.locator("#reset").click()
    wait_for(page, len(pairs), len(pairs))


def test_an_answer_of_a_histogram_filters_and_a_second_click_removes_it(opened, made):
    page, pairs = opened(), made[1]
    answers = Counter(pair[3] for pair in pairs if kind_of(pair[2]) == "region")
    row = page.locator("[data-answer='region 2']")
    assert f"{answers['2']:,}" in row.inner_text()
    row.click()
    wait_for(page, answers["2"], len(pairs))
    assert row.get_attribute("aria-pressed") == "true"
    assert page.locator("select[name=kind]").input_value() == "region"
    assert f"0 of {answers['1']:,}" in page.locator("[data-answer='region 1']").inner_text()
    row.click()
    wait_for(page, len(pairs), len(pairs))
    page.locator("[data-answer='more track']").click()
    assert page.locator("[data-answer^='track ']").count() == len({p[0].track for p in pairs})


def test_repeated_scenes_are_shown_with_their_number_and_lead_to_their_views(opened, made):
    page, pairs = opened(), made[1]
    page.get_by_role("button", name="Repeated scenes").click()
    note = "document.querySelector('#scenes-note').textContent"
    wait_until(page, f"{note}.includes('860 views show 840 scenes: 20 (2%) repeat')")
    assert page.locator("#tab-scenes").is_visible()
    first = page.locator("#scenes a").first
    assert page.locator("#scenes a").count() == 20 and "2 views" in first.inner_text()
    name = first.inner_text().split("· ")[1]
    first.click()
    of_scene = [p for p in pairs if p[1][1:] == f"{name}_im.jpg"[1:]]
    wait_for(page, len(of_scene), len(pairs))
    page.locator("#chips button").first.click()
    page.get_by_role("button", name="One of each scene").click()
    once = [pair for pair in pairs if not pair[1].startswith("f")]
    wait_for(page, len(once), len(pairs))


def test_what_is_found_is_saved_as_a_qa_file(opened, made, tmp_path):
    page, pairs = opened("kind=ego&views=one"), made[1]
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "sample_chosen_qa_pairs.json"
    download.value.save_as(tmp_path / "saved.json")
    expected = [
        {"question": question, "answer": answer, "image_file": f"sample/{image}"}
        for _, image, question, answer in pairs
        if kind_of(question) == "ego" and not image.startswith("f")
    ]
    assert json.loads((tmp_path / "saved.json").read_text()) == expected
    chosen = made[2] / "chosen"
    chosen.mkdir()
    shutil.move(tmp_path / "saved.json", chosen / download.value.suggested_filename)
    assert len(VQADataset("chosen", made[2])) == len(expected)  # what `train` reads


def test_a_cell_of_the_line_ups_leads_to_its_pairs(opened, made):
    page, pairs = opened("show=line-ups"), made[1]
    shown = Counter((p[0].track, kart.name) for p in pairs for kart in p[0].karts)
    assert page.locator("#matrix button:not(:empty)").count() == len(shown)
    (track, kart), number = shown.most_common(1)[0]
    page.locator(f"#matrix button[aria-label^='{kart} on {track}:']").click()
    wait_for(page, number, len(pairs))


def test_the_dialog_shows_all_pairs_of_the_view(opened, made):
    page, pairs = opened("sample=7"), made[1]
    scene, image, question, answer = pairs[7]
    dialog = page.locator("#detail")
    assert dialog.is_visible()
    for text in (question, answer, image, f"--view_index {int(image[6:8])}"):
        assert text in dialog.inner_text()
    of_view = [pair for pair in pairs if pair[1] == image]
    assert dialog.locator(".pairs a").count() == len(of_view)
    assert question in dialog.locator(".pairs a[aria-current]").inner_text()
    assert dialog.locator("svg rect").count() == len(scene.karts)
    dialog.get_by_text("Show all views of this scene").click()
    wait_for(page, 2 * len(of_view), len(pairs))
    wait_until(page, "!document.querySelector('#detail').open")


def test_the_keyboard_alone_reaches_and_does_everything(opened, made):
    page, pairs = opened(), made[1]
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(() => { const e = document.activeElement; return e.id || e.name ||"
                " (e.dataset.sample && 'card') || (e.dataset.answer && 'answer') ||"
                " e.textContent })()"
            )
        )
    names = {"theme", "search", "kind", "answer", "track", "kart", "size", "karts", "views"}
    assert names | {"sort", "one", "save", "card", "Line-ups", "Repeated scenes"} <= set(reached)

    page.locator("[name=search]").focus()
    page.keyboard.type("00002_03")
    found = [index for index, pair in enumerate(pairs) if "00002_03" in pair[1]]
    wait_for(page, len(found), len(pairs))
    page.locator("[data-answer^='track ']").first.focus()
    page.keyboard.press("Enter")
    wait_until(page, "location.hash.includes('kind=track')")
    tracks = [index for index in found if kind_of(pairs[index][2]) == "track"]
    wait_for(page, len(tracks), len(pairs))  # drawn anew, so that Enter undoes the choice
    assert page.evaluate("document.activeElement.dataset.answer").startswith("track ")
    page.keyboard.press("Enter")
    wait_for(page, len(found), len(pairs))

    page.locator("#gallery a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail[open]")
    page.keyboard.press("ArrowRight")
    wait_until(page, f"location.hash.endsWith('sample={found[1]}')")
    page.keyboard.press("b")
    wait_until(page, "!document.querySelector('#detail svg rect')")
    page.keyboard.press("Escape")
    wait_until(page, f"document.activeElement.dataset.sample === '{found[1]}'")
    assert not page.locator("#detail").is_visible()

    page.get_by_role("button", name="Line-ups").focus()
    page.keyboard.press("Enter")
    wait_until(page, "document.activeElement.textContent == 'Line-ups'")
    page.locator("#matrix button[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert re.match(r"\w+ on \w+: \d+ view", page.locator("#cell").inner_text())
    page.keyboard.press("Enter")
    wait_until(page, "location.hash.includes('track=') && location.hash.includes('kart=')")


STATES = ["", "show=scenes", "show=line-ups", "sample=3", "kind=region&answer=1&search=left"]


@pytest.mark.parametrize("state", STATES)
def test_a_phones_width_has_no_sideways_scroll(opened, state):
    page = opened(state, width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_phone_unfolds_its_filters(opened, made):
    page, pairs = opened(width=390), made[1]
    assert not page.locator("[name=kind]").is_visible()
    page.locator("#filter-box summary").click()
    chosen(page, "kind", "ego")
    wait_for(page, sum(kind_of(pair[2]) == "ego" for pair in pairs), len(pairs))


def test_an_answer_chosen_on_a_phone_leads_to_its_pairs(opened):
    page = opened(width=390)
    page.locator("#answers summary").click()
    page.locator("[data-answer='region 1']").click()
    top = "document.querySelector('#found').getBoundingClientRect().top"
    wait_until(page, f"{top} >= 0 && {top} < 200")


def test_one_of_each_scene_keeps_scenes_whose_first_view_has_no_pairs(opened, tmp_path):
    folder = make_split(tmp_path / "data" / "train", frames=2, seed=0)
    for file in folder.glob("00001_*"):
        shutil.copy(file, folder / file.name.replace("00001", "00002"))
    row = {
        "question": "What track is this?",
        "answer": "abyss",
        "image_file": "train/00002_00_im.jpg",
    }
    (folder / "some_qa_pairs.json").write_text(json.dumps([row]))
    explore(str(folder), str(tmp_path / "out"), num_workers=1)
    page = opened("views=one", folder=tmp_path / "out")
    assert page.locator("#found").inner_text() == "1 of 1 pair"
    assert "of some_qa_pairs.json" in page.locator("#subtitle").inner_text()


def test_names_are_shown_as_text_and_a_split_without_karts_opens(opened, tmp_path):
    hostile = make_split(tmp_path / "data" / "a</b><i>&amp;".replace("/", "_"), frames=1, seed=0)
    names = ["</script><b>", "<img_src=x>", *map(str, range(8))]
    change(hostile / "00000_info.json", track="</script> & <i>", karts=names)
    bare = make_split(tmp_path / "data" / "bare", frames=1, seed=0)
    change(bare / "00000_info.json", karts=[], detections=[[]] * 10)
    for folder in (hostile, bare):
        explore(str(folder), str(tmp_path / folder.name), num_workers=1)
        page = opened("show=line-ups", folder=str(tmp_path / folder.name).replace("%", "%25"))
        assert page.locator("body i, body b, body img").count() == 0
        assert page.locator("#gallery li").count() > 0
        page.get_by_role("button", name="Repeated scenes").click()
        wait_until(page, "document.querySelector('#scenes-note').textContent.includes('10 views')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system(opened, scheme):
    page = opened("show=line-ups", color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) > 380) == (scheme == "light")
    page.locator("#theme").click()
    page.locator("#theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", dark))) < 120
