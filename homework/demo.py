"""python -m homework.demo homework/vlm_model [--split valid] [--data_dir data]

A local web page to ask a model questions: pick a frame of a split or upload an image, and see the
answers to all its questions, which of them are right and how probable they are, the boxes of the
labels and where the model looks; or type a question. It needs gradio:
pip install -r requirements-demo.txt
"""

# gradio and starlette are optional:
# pyright: reportMissingImports=false

from __future__ import annotations

import atexit
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Annotated, NamedTuple

from .common import options
from .common.errors import InputError
from .common.options import data_folder
from .data import is_correct
from .evaluation.measure import scenes
from .evaluation.report import CAVEAT, LOOKED_AT, drawn
from .frames.images import open_image
from .inspection.figures import LEGEND
from .labels.questions import FORMS, kind_of, pairs
from .model.adapter import load
from .model.heat_map import ORANGE
from .model.loading import EMBEDDED
from .model.vlm import BaseVLM

HOST = "127.0.0.1"  # reachable from this machine alone
FRAMES = 24  # frames of the split to pick from
# System fonts: the default theme would request its fonts from a web service.
FONTS = ("system-ui", "sans-serif")
STYLE = """
/* The gallery is a strip of whole frames. */
#frames .grid-wrap { height: auto; min-height: 0; }
#frames .grid-container { grid-auto-flow: column; grid-template: auto / none;
  grid-auto-columns: 132px; overflow-x: auto; }
#frames .thumbnail-item { aspect-ratio: 3/2; }
#answers table, #answers tr, #answers td { width: 100%; border: 0 !important; }
#answers td { text-align: left; padding: 5px 0; vertical-align: bottom;
  border-top: 1px solid var(--border-color-primary) !important; }
#answers small { display: block; color: var(--body-text-color); opacity: 0.75; }
#answers .right { color: light-dark(#1a7f37, #4ac26b); }
#answers .wrong { color: light-dark(#cf222e, #ff7b72); }
.dark #answers { color-scheme: dark; } #answers td:last-child { text-align: right; }
#typed textarea, #typed input { border: 1px solid var(--border-color-primary); padding: 8px; }
#legend i { display: inline-block; width: 12px; height: 12px; margin-left: 8px; }
"""


@options.checked
def demo(
    checkpoint: str,
    split: str = "valid",
    data_dir: Path | None = None,
    port: Annotated[int, 1, 65535] = 7860,
    base: str | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        checkpoint: folder of an adapter, such as homework/vlm_model, or "embedded_base".
        split: the split whose frames are offered.
        data_dir: the data folder; the one beside the package if omitted.
        port: the page is at http://127.0.0.1:PORT.
        base: name or folder of the adapter's base; if omitted, the one that it names.

    Raises:
        InputError: gradio is not installed, or the checkpoint or the data is wrong.
    """
    _gradio()
    # Python ends at once on this signal, without removing the uploaded images.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    vlm = load(base=EMBEDDED) if checkpoint == EMBEDDED else load(checkpoint, base=base)
    serve(build(vlm, frames(data_folder(data_dir) / split)), port)


def frames(folder: Path) -> list[str]:
    """Images of a split, drawn with a fixed seed; none if the split does not exist."""
    if not folder.is_dir():
        return []
    names = sorted(path for path in folder.glob("*_im.jpg") if path.name[0] != ".")
    return [str(path) for path in random.Random(0).sample(names, min(FRAMES, len(names)))]


class Reply(NamedTuple):
    """One question about an image: what the model answers and what the labels say."""

    question: str
    answer: str
    truth: str | None  # None if the labels have no answer
    right: bool
    probabilities: dict[str, float]  # of answers, most probable first; {} without a closed list


def suggestions(picture: str) -> list[str]:
    """Questions about an image: those that its labels answer, or those that name no kart."""
    if scene := scenes([picture])[picture]:
        return [question for question, _ in pairs(scene)]
    return [form for form in FORMS if "{}" not in form]


def replies(vlm: BaseVLM, picture: str, questions: list[str]) -> list[Reply]:
    """The model's answers to questions about one image file, beside those of the labels."""
    from .model.generation import ScoringModel

    model = ScoringModel(vlm)
    answers = model.answer([picture] * len(questions), questions)
    scene = scenes([picture])[picture]
    known = dict(pairs(scene)) if scene else {}
    truths = [known.get(question) for question in questions]
    right = [t is not None and is_correct(a, t) for a, t in zip(answers, truths, strict=True)]
    columns = (questions, answers, truths, right, map(dict, model.probabilities))
    return [Reply(*row) for row in zip(*columns, strict=True)]


def table(found: list[Reply]) -> str:
    """The replies as a table in HTML, below a line that counts the right ones."""
    known = sum(reply.truth is not None for reply in found)
    rows = []
    for reply in found:
        note = ""
        if reply.right:
            note = '<b class="right">right</b>'
        elif reply.truth is not None:
            note = f'<b class="wrong">wrong</b>, the labels say {escape(reply.truth)}'
        elif kind_of(reply.question) == "other":
            note = f"<small>{CAVEAT}</small>"
        elif known:
            note = "<small>the labels have no answer to it</small>"
        share = reply.probabilities.get(reply.answer)
        rows.append(
            f"<tr><td><small>{escape(reply.question)}</small>"
            f"<strong>{escape(reply.answer) or '(nothing)'}</strong> {note}</td>"
            f"<td>{'' if share is None else f'{share:.0%}'}</td></tr>"
        )
    right = f"{sum(reply.right for reply in found)} of {known} right"
    head = right if known else "no labels beside this image"
    return f"<p>{head}</p><table><tbody>{''.join(rows)}</tbody></table>"


def build(vlm: BaseVLM, images: list[str]):
    """The page: gradio's Blocks."""
    gr = _gradio()
    with gr.Blocks(title="Ask about a frame", analytics_enabled=False) as page:
        gr.Markdown("# Ask about a frame")
        state = gr.State(None)  # the image's path and the replies
        gallery = gr.Gallery(
            [open_image(path) for path in images],
            visible=bool(images),
            show_label=False,
            elem_id="frames",
            object_fit="contain",
            allow_preview=False,
            buttons=[],
        )
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                plain = {"interactive": False, "buttons": ["download", "fullscreen"]}
                view = gr.Image(label="Image", elem_id="view", **plain)
                with gr.Row():
                    boxes = gr.Checkbox(True, label="Boxes of the labels")
                    heat = gr.Checkbox(
                        False, label="Where the model looks", visible=vlm.inputs.starter is None
                    )
                colors = LEGEND | {f"rgb{ORANGE}": LOOKED_AT}
                legend = (f'<i style="background:{c}"></i> {text} ' for c, text in colors.items())
                gr.HTML("".join(legend), elem_id="legend")
                upload = gr.UploadButton("Upload an image", file_types=["image"], size="sm")
            with gr.Column(scale=2, min_width=320):
                answers = gr.HTML(elem_id="answers")
                typed = gr.Textbox(
                    label="Another question", submit_btn="Ask", max_lines=1, elem_id="typed"
                )
                about = gr.Dropdown([], label="Heat map and probabilities of", elem_id="about")
                likely = gr.Label(label="Most probable answers", num_top_classes=5)
        pick, uploaded, ask, redraw = _handlers(gr, vlm, images)
        switches, shown = [about, boxes, heat], [view, likely]
        asked = [state, answers, about]
        # One after the other, or a slow answer could replace that of a later click.
        turn = {"concurrency_id": "model", "concurrency_limit": 1}
        for event in (
            page.load(lambda: pick(None), None, asked, **turn),
            gallery.select(pick, None, asked, **turn),
            upload.upload(uploaded, upload, asked, **turn),
            typed.submit(ask, [state, typed], [*asked, typed], **turn),
        ):
            event.then(redraw, [state, *switches], shown, **turn)
        for switch in switches:
            switch.input(redraw, [state, *switches], shown, **turn)
    return page


def _handlers(gr, vlm: BaseVLM, images: list[str]):
    """What the page does on a picked frame, an uploaded image, a typed question, a switch."""

    def show(path: str, asked: list[str], before: Sequence[Reply] = ()):
        try:
            fresh = replies(vlm, path, asked)
        except InputError as error:
            gr.Warning(str(error))
            return gr.skip(), gr.skip(), gr.skip()
        found = [*(reply for reply in before if reply.question not in asked), *fresh]
        names = [reply.question for reply in found]
        return (path, found), table(found), gr.update(choices=names, value=asked[0])

    def pick(event):
        if not images:
            return None, "Upload an image.", gr.skip()
        path = images[event.index if event else 0]
        return show(path, suggestions(path))

    # gradio reads the type to pass the event; it could not resolve it as text.
    pick.__annotations__["event"] = gr.SelectData

    def uploaded(path: str):
        return show(path, suggestions(path))

    def ask(state: tuple[str, list[Reply]] | None, question: str):
        if not state or not question.strip():
            return gr.skip(), gr.skip(), gr.skip(), gr.skip()
        path, before = state
        return *show(path, [question.strip()], before), ""

    def redraw(state, about: str, boxes: bool, heat: bool):
        if not state:
            return None, None
        path, found = state
        reply = next((reply for reply in found if reply.question == about), found[0])
        likely = reply.probabilities or None
        image = drawn(vlm, path, (reply.question, reply.answer) if heat else None, boxes)
        return image, gr.update(value=likely, visible=bool(likely))

    return pick, uploaded, ask, redraw


def serve(page, port: int, wait: bool = True) -> str:
    """Serve the page to this machine alone, until Ctrl-C if `wait`; returns its address."""
    gr = _gradio()
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    # A website whose own name leads to this machine must not reach the page (DNS rebinding).
    own_name = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    try:
        _, address, _ = page.launch(
            app_kwargs={"middleware": [own_name]},
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            footer_links=[],
            theme=gr.themes.Default(font=FONTS, font_mono=("monospace",)),
            css=STYLE,
        )
    except OSError:
        raise InputError(f"--port: {port} is in use; give another port") from None
    print(f"the page is at {address} (Ctrl-C stops it)", flush=True)
    if wait:
        page.block_thread()
    return address


@cache
def _gradio():
    # A folder that this user alone can read; uploaded images go with it at the end.
    uploads = tempfile.mkdtemp(prefix="homework-demo-")
    atexit.register(shutil.rmtree, uploads, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = uploads
    # Before the import: without these, gradio reports usage and looks for newer versions.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio
    except ImportError:
        raise InputError("the demo needs gradio: pip install -r requirements-demo.txt") from None
    return gradio


if __name__ == "__main__":
    from .common.cli import run

    run(demo)
