"""The demo: one line without gradio; with it, questions answered in a browser, end to end."""

import builtins
import http.client
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import Watched, open_browser, wait_until
from helpers import make_split
from PIL import Image
from tiny import write_tiny_base

from homework import demo
from homework.base_vlm import BaseVLM
from homework.common.errors import InputError
from homework.evaluation import report
from homework.labels import questions

ROOT = Path(__file__).resolve().parent.parent


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


def test_all_questions_of_a_frame_are_answered_at_once(vlm, split):
    picture = str(split / "00001_03_im.jpg")
    asked = demo.suggestions(picture)
    assert asked[0] == questions.EGO and len(asked) > 2
    found = demo.replies(vlm, picture, asked)
    assert [reply.question for reply in found] == asked
    assert [reply.answer for reply in found] == vlm.answer([picture] * len(asked), asked)
    for reply in found:
        assert reply.right == (reply.answer == reply.truth)
        assert reply.truth in reply.probabilities
        assert sum(reply.probabilities.values()) == pytest.approx(1)
    assert len(found[0].probabilities) == 18


def test_the_table_marks_right_and_wrong_and_cautions_about_other_questions():
    found = [
        demo.Reply(questions.EGO, "tux", "tux", True, {"tux": 0.75, "gnu": 0.25}),
        demo.Reply(questions.COUNT, "2", "3", False, {"3": 0.6, "2": 0.4}),
        demo.Reply(questions.WHERE.format("gnu"), "back", None, False, {}),
        demo.Reply("Is it <b>raining?", "<i>", None, False, {}),
    ]
    table = demo.table(found)
    assert "1 of 2 right" in table
    first, second, third, last = table.split("<tr>")[1:]
    assert ">right<" in first and "75%" in first
    assert ">wrong<" in second and "the labels say 3" in second and "40%" in second
    assert "the labels have no answer" in third and report.CAVEAT not in first + second + third
    assert report.CAVEAT in last and "&lt;b&gt;raining?" in last and "&lt;i&gt;" in last
    assert "no labels beside this image" in demo.table(found[2:])


def test_boxes_and_heat_map_are_drawn_over_the_image_where_switched_on(vlm, split):
    picture = str(split / "00001_03_im.jpg")
    (reply,) = demo.replies(vlm, picture, [questions.EGO])
    asked = (reply.question, reply.answer)
    drawn = [report.drawn(vlm, picture, a, b) for b in (False, True) for a in (None, asked)]
    assert {image.size for image in drawn} == {(900, 600)}
    assert len({image.tobytes() for image in drawn}) == 4


def test_an_image_from_elsewhere_has_no_labels(vlm, split, tmp_path):
    picture = tmp_path / "mine.jpg"
    with Image.open(split / "00001_03_im.jpg") as small:
        small.resize((3000, 2000)).save(picture)
    asked = demo.suggestions(str(picture))
    assert questions.EGO in asked and not any("{}" in question for question in asked)
    found = demo.replies(vlm, str(picture), asked)
    assert {reply.truth for reply in found} == {None}
    assert len(found[asked.index(questions.COUNT)].probabilities) == 10
    asked = (found[0].question, found[0].answer)
    assert report.drawn(vlm, str(picture), asked).size == (1200, 800)


def test_frames_to_pick_from_are_a_seeded_draw(split, tmp_path):
    assert len(demo.frames(split)) == demo.FRAMES == len(set(demo.frames(split)))
    assert demo.frames(split) == demo.frames(split)
    assert demo.frames(tmp_path / "none") == []


@pytest.fixture(scope="module")
def served(vlm, split, tmp_path_factory):
    """The address of the page and its images; without gradio the test is skipped."""
    try:
        demo._gradio()
    except InputError as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        images = demo.frames(split)
        page = demo.build(vlm, images)
        with socket.socket() as free:
            free.bind((demo.HOST, 0))
            port = free.getsockname()[1]
        address = demo.serve(page, port, wait=False)
        with pytest.raises(InputError, match="is in use"):
            demo.serve(demo.build(vlm, []), port, wait=False)
        yield address, images
        page.close()


def answered(address: str, host: str, path: str = "/", **request) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    headers = {"Host": host} | request.pop("headers", {})
    connection.request(request.pop("method", "GET"), path, headers=headers, **request)
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/gradio_api/upload"])
def test_the_page_answers_to_this_machines_names_alone(served, path):
    address, _ = served
    host = urlsplit(address).netloc
    for foreign in (
        "rebound.example",
        f"rebound.example:{urlsplit(address).port}",
        "",
        "127.0.0.2",
    ):
        assert answered(address, foreign, path)[0] == 400
    for own in (host, host.replace("127.0.0.1", "localhost")):
        assert answered(address, own, path)[0] in (200, 405)


UPLOAD = """
import http.client, json, os, stat, sys
from pathlib import Path
from homework import demo

gr = demo._gradio()
with gr.Blocks() as page:
    gr.UploadButton()
address = demo.serve(page, int(sys.argv[1]), wait=False)
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
about = "Content-Disposition: form-data; name=files; filename=mine.png"
body = f"--x\\r\\n{about}\\r\\n\\r\\nmine\\r\\n--x--"
kind = {"Content-Type": "multipart/form-data; boundary=x"}
connection.request("POST", "/gradio_api/upload", body, kind)
(file,) = map(Path, json.loads(connection.getresponse().read()))
assert file.read_text() == "mine"
folder = next(parent for parent in file.parents if parent.name.startswith("homework-demo-"))
assert stat.S_IMODE(folder.stat().st_mode) == 0o700 or os.name == "nt"
print(folder)
"""


@pytest.mark.slow
def test_an_uploaded_image_is_this_users_alone_and_goes_at_the_end(served):
    with socket.socket() as free:
        free.bind((demo.HOST, 0))
        port = str(free.getsockname()[1])
    done = subprocess.run(
        [sys.executable, "-c", UPLOAD, port], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.splitlines()[-1]).exists()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_the_page_works_with_the_keyboard_alone(vlm, served, size, scheme):
    address, images = served
    with open_browser() as browser:
        view = Watched(
            browser,
            address,
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
        )
        page = view.page
        page.goto(address)
        page.wait_for_selector("#answers tr")  # the first frame is answered unasked
        counts = [len(demo.suggestions(picture)) for picture in images]
        number = next(n for n, count in enumerate(counts) if count != counts[0])
        page.locator("button.thumbnail-item").nth(number).focus()
        page.keyboard.press("Enter")
        asked = demo.suggestions(images[number])
        found = demo.replies(vlm, images[number], asked)
        wait_until(page, f"document.querySelectorAll('#answers tr').length == {len(asked)}")
        rows = page.locator("#answers tr").all_inner_texts()
        for row, reply in zip(rows, found, strict=True):
            assert reply.question in row and (reply.answer or "(nothing)") in row
        assert page.locator("#answers .right").count() == sum(reply.right for reply in found)
        assert page.locator("#answers .wrong").count() == sum(not reply.right for reply in found)
        assert page.get_by_text(re.compile(r"^\d+%$")).count() >= 2  # of the first question
        picture = page.locator("#view img")
        before = picture.get_attribute("src")
        page.get_by_label("Where the model looks").focus()
        page.keyboard.press("Space")
        wait_until(page, f"document.querySelector('#view img').src != {before!r}")
        page.locator("#typed textarea, #typed input").first.focus()
        page.keyboard.type("Is it raining?")
        page.keyboard.press("Enter")
        wait_until(page, f"document.querySelectorAll('#answers tr').length == {len(asked) + 1}")
        assert report.CAVEAT in page.locator("#answers tr").last.inner_text()
        # Whole frames: the thumbnails have the shape of the images.
        box = page.locator("button.thumbnail-item").first.bounding_box()
        assert box["width"] / box["height"] == pytest.approx(1.5, abs=0.05)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert not view.foreign
        assert not [line for line in view.complaints if "rror" in line]
