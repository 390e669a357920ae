"""The demo: one line without gradio; with it, a question answered in a browser, end to end."""

import builtins
import socket

import pytest
from browser import Watched, open_browser
from helpers import make_split
from tiny import write_tiny_base

from homework import demo
from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.labels import questions


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return BaseVLM(write_tiny_base(tmp_path_factory.mktemp("tiny")), verbose=False)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return make_split(tmp_path_factory.mktemp("data") / "valid", frames=3, seed=0)


def test_without_gradio_it_is_one_line_before_anything_is_loaded(monkeypatch):
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "gradio":
            raise ImportError(name)
        return found(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install -r requirements-demo\.txt") as caught:
        demo.demo("nowhere")
    assert "\n" not in str(caught.value)


def test_a_reply_holds_all_that_is_shown(vlm, split):
    picture = str(split / "00001_03_im.jpg")
    asked = demo.suggestions(picture)
    assert asked[0] == questions.EGO and len(asked) > 2
    found = demo.reply(vlm, picture, questions.EGO)
    assert found["answer"] == vlm.generate(picture, questions.EGO)
    assert len(found["scores"]) == 18 and found["truth"] in found["scores"]
    assert found["boxes"].size == found["heat"].size == (900, 600)
    free = demo.reply(vlm, picture, "Is it raining?")
    assert free["scores"] == {} and free["truth"] is None


def test_a_dropped_picture_has_no_labels(vlm, split, tmp_path):
    picture = tmp_path / "mine.jpg"
    picture.write_bytes((split / "00001_03_im.jpg").read_bytes())
    found = demo.reply(vlm, str(picture), questions.COUNT)
    assert found["boxes"] is None and found["truth"] is None and len(found["scores"]) == 10
    assert questions.EGO in demo.suggestions(None)


def test_frames_to_pick_from_are_a_seeded_draw(split, tmp_path):
    assert len(demo.frames(split)) == demo.FRAMES == len(set(demo.frames(split)))
    assert demo.frames(split) == demo.frames(split)
    assert demo.frames(tmp_path / "none") == []


def test_a_question_is_answered_in_the_browser(vlm, split, tmp_path, monkeypatch):
    pytest.importorskip("gradio", reason="gradio is not installed: requirements-demo.txt")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    pictures = demo.frames(split)
    page = demo.build(vlm, pictures)
    with socket.socket() as free:
        free.bind((demo.HOST, 0))
        port = free.getsockname()[1]
    address = demo.serve(page, port, wait=False)
    try:
        with pytest.raises(InputError, match="is taken"):
            demo.serve(demo.build(vlm, []), port, wait=False)
        with open_browser() as browser:
            view = Watched(browser, address, viewport={"width": 400, "height": 900})
            view.page.goto(address)
            view.page.locator("button.thumbnail-item").nth(2).click()
            view.page.wait_for_selector("[data-testid=image] img, .image-frame img")
            view.page.locator("#question input").fill(questions.COUNT)
            view.page.locator("#question input").press("Enter")
            view.page.locator("#ask").click()
            view.page.wait_for_selector("#answer h3")
            assert view.page.locator("#answer h3").inner_text() == (
                vlm.generate(pictures[2], questions.COUNT) or "(nothing)"
            )
            assert "The labels say" in view.page.locator("#answer").inner_text()
            for name in ("boxes", "heat"):
                view.page.wait_for_selector(f"#{name} img")
            assert "%" in view.page.locator("#scores").inner_text()
            assert view.page.evaluate("document.documentElement.scrollWidth") <= 400
            assert not view.foreign
            assert not [line for line in view.complaints if "rror" in line]
    finally:
        page.close()
