"""python -m homework.demo homework/vlm_model [--split valid] [--data_dir data]

A local web page to ask a model questions: pick a frame of a split or upload a picture, ask a
question, and see the answer, the most probable answers, the boxes of the labels and where the model
looks. It needs one more package:

    pip install -r requirements-demo.txt
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import options
from .common.errors import InputError
from .common.files import DATA_DIR

if TYPE_CHECKING:
    from .base_vlm import BaseVLM

HOST = "127.0.0.1"  # reachable from this machine alone
FRAMES = 24  # frames of the split to pick from
# System fonts: the default theme would request its fonts from a web service.
FONTS = ("system-ui", "sans-serif")


def demo(
    checkpoint: str,
    split: str = "valid",
    data_dir: str | None = None,
    port: int = 7860,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        checkpoint: folder of an adapter, such as homework/vlm_model, or "embedded_base".
        split: the split whose frames are offered.
        data_dir: the data folder; the one beside the package if omitted.
        port: the page is at http://127.0.0.1:PORT.

    Raises:
        InputError: gradio is not installed, or the checkpoint or the data is wrong.
    """
    options.whole("--port", port, 1, 65535)
    _gradio()
    vlm = _load(str(checkpoint))
    folder = (options.path("--data_dir", data_dir) or DATA_DIR) / str(split)
    serve(build(vlm, frames(folder)), port)


def frames(folder: Path) -> list[str]:
    """Pictures of a split, drawn with a fixed seed; none if the split does not exist."""
    if not folder.is_dir():
        return []
    names = sorted(path for path in folder.glob("*_im.jpg") if path.name[0] != ".")
    return [str(path) for path in random.Random(0).sample(names, min(FRAMES, len(names)))]


def suggestions(picture: str | None) -> list[str]:
    """Questions about a picture: those that its labels answer, or all kinds without labels."""
    from .frames.split import scenes
    from .labels.questions import FORMS, pairs

    scene = scenes([picture])[picture] if picture else None
    if scene:
        return [question for question, _ in pairs(scene)]
    return [form.format("tux") for form in FORMS]


def reply(vlm: BaseVLM, picture: str, question: str) -> dict[str, Any]:
    """Everything that the page shows for one question about one picture file.

    Returns:
        answer; truth (None if the labels have none); probabilities (answer -> probability, {} if
        the question has no closed list of answers); boxes and heat (pictures).
    """
    from .frames.pictures import open_picture
    from .frames.split import scenes
    from .inspection.draw import draw_scene
    from .labels.questions import pairs
    from .model.heat_map import heat_maps, overlay
    from .model.likelihood import ScoringModel

    model = ScoringModel(vlm)
    (answer,) = model.answer([picture], [question])
    image, scene = open_picture(picture), scenes([picture])[picture]
    heat = heat_maps(vlm, [picture], [question], [answer])[0]
    return {
        "answer": answer,
        "truth": dict(pairs(scene)).get(question) if scene else None,
        "probabilities": dict(model.probabilities[0]),
        "boxes": draw_scene(image, scene) if scene else None,
        "heat": overlay(image, heat),
    }


def build(vlm: BaseVLM, pictures: list[str]):
    """The page: gradio's Blocks."""
    gr = _gradio()
    with gr.Blocks(title="Ask about a frame", analytics_enabled=False) as page:
        gr.Markdown("# Ask about a frame\nPick a frame or upload a picture, then ask.")
        # gradio shows a copy of the picked frame; its labels are beside the original.
        picked = gr.State(None)
        with gr.Row():
            with gr.Column():
                picture = gr.Image(type="filepath", label="Picture", sources=["upload"])
                gallery = _gallery(gr, pictures) if pictures else None
            with gr.Column():
                question = gr.Dropdown(
                    suggestions(None), label="Question", allow_custom_value=True, elem_id="question"
                )
                button = gr.Button("Ask", variant="primary", elem_id="ask")
                answer = gr.Markdown(elem_id="answer")
                probabilities = gr.Label(
                    label="Most probable answers", num_top_classes=5, elem_id="probabilities"
                )
        with gr.Row():
            # Without the button of gradio that shares a picture on the web.
            plain = {"interactive": False, "buttons": ["download", "fullscreen"]}
            boxes = gr.Image(label="Boxes of the labels", elem_id="boxes", **plain)
            heat = gr.Image(label="Where the model looks", elem_id="heat", **plain)
        results = [answer, probabilities, boxes, heat]
        pick, upload, ask = _handlers(gr, vlm, pictures)
        if gallery is not None:
            gallery.select(pick, None, [picked, picture, question, *results])
        picture.upload(upload, picture, [picked, question, *results])
        picture.clear(upload, picture, [picked, question, *results])
        button.click(ask, [picked, picture, question], results)
    return page


def _gallery(gr, pictures: list[str]):
    from .frames.pictures import open_picture

    return gr.Gallery(
        [open_picture(path) for path in pictures],
        label="Frames",
        columns=4,
        height=260,
        allow_preview=False,
        buttons=[],
    )


def _handlers(gr, vlm: BaseVLM, pictures: list[str]):
    """What the page does on a picked frame, an uploaded or removed picture, and "Ask"."""
    from .frames.pictures import open_picture

    def choose(path: str | None):
        choices = suggestions(path)
        return gr.update(choices=choices, value=choices[0]), "", None, None, None

    def pick(event):
        path = pictures[event.index]
        return path, open_picture(path), *choose(path)

    # gradio reads the type to pass the event; it could not resolve it as text.
    pick.__annotations__["event"] = gr.SelectData

    def upload(path: str | None):
        return None, *choose(path)

    def ask(picked: str | None, uploaded: str | None, question: str | None):
        path = picked or uploaded
        if not path or not question:
            return "Pick or upload a picture, and choose or type a question.", None, None, None
        try:
            found = reply(vlm, path, question)
        except InputError as error:
            return str(error), None, None, None
        truth = f"  \n*The labels say: {found['truth']}*" if found["truth"] is not None else ""
        text = f"### {found['answer'] or '(nothing)'}{truth}"
        return text, found["probabilities"] or None, found["boxes"], found["heat"]

    return pick, upload, ask


def serve(page, port: int, wait: bool = True) -> str:
    """Serve the page to this machine alone and return its address.

    Args:
        wait: block until Ctrl-C.

    Raises:
        InputError: the port is in use.
    """
    gr = _gradio()
    try:
        _, address, _ = page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            footer_links=[],
            theme=gr.themes.Default(font=FONTS, font_mono=("monospace",)),
        )
    except OSError:
        raise InputError(f"--port: {port} is in use; give another port") from None
    print(f"the page is at {address} (Ctrl-C stops it)", flush=True)
    if wait:
        page.block_thread()
    return address


def _load(checkpoint: str) -> BaseVLM:
    from .base_vlm import BaseVLM, load
    from .model.loading import EMBEDDED

    return BaseVLM(EMBEDDED) if checkpoint == EMBEDDED else load(checkpoint)


def _gradio():
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
