"""python -m homework.demo homework/vlm_model [--split valid] [--data_dir data]

A page on this machine to ask a model questions: pick a frame of a split or drop a picture, ask
any of the five kinds of question or one of your own, and see the answer, the runners-up, the
boxes that the labels give and where the model looks. Needs one package more:

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

HOST = "127.0.0.1"  # this machine, and no other one
FRAMES = 24  # of the split, drawn by a seed, to pick from
# Without it every font would be looked for at a font service.
FONTS = ("system-ui", "sans-serif")


def demo(
    checkpoint: str,
    split: str = "valid",
    data_dir: str | None = None,
    port: int = 7860,
) -> None:
    """Open the page and serve it until Ctrl-C.

    Args:
        checkpoint: a LoRA checkpoint, such as homework/vlm_model, or "embedded_base".
        split: whose frames there are to pick from.
        data_dir: the data folder; the one beside the package if not given.
        port: where the page is: http://127.0.0.1:PORT.

    Raises:
        InputError: gradio is not installed, or the checkpoint or the data is wrong.
    """
    options.whole("--port", port, 1, 65535)
    _gradio()
    vlm = _load(str(checkpoint))
    folder = (options.path("--data_dir", data_dir) or DATA_DIR) / str(split)
    serve(build(vlm, frames(folder)), port)


def frames(folder: Path) -> list[str]:
    """Pictures of a split to pick from: a seeded draw; none where there is no such split."""
    if not folder.is_dir():
        return []
    names = sorted(path for path in folder.glob("*_im.jpg") if path.name[0] != ".")
    return [str(path) for path in random.Random(0).sample(names, min(FRAMES, len(names)))]


def suggestions(picture: str | None) -> list[str]:
    """Questions to ask: about a labelled frame those that its labels answer, else all kinds."""
    from .frames.split import scenes
    from .labels.questions import COUNT, EGO, HOW_MANY, REGIONS, TRACK, WHERE, pairs

    scene = scenes([picture])[picture] if picture else None
    if scene:
        return [question for question, _ in pairs(scene)]
    return [EGO, COUNT, TRACK, *map(HOW_MANY.format, REGIONS), WHERE.format("tux")]


def reply(vlm: BaseVLM, picture: str, question: str) -> dict[str, Any]:
    """What there is to show for one question about one picture file.

    Returns:
        answer, truth (None where no label says it), scores (answer -> probability, {} for a
        question without a closed list of answers), boxes and heat (pictures to show).
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
        "scores": dict(model.scores[0]),
        "boxes": draw_scene(image, scene) if scene else None,
        "heat": overlay(image, heat),
    }


def build(vlm: BaseVLM, pictures: list[str]):
    """The page: gradio's Blocks."""
    from .frames.pictures import open_picture

    gr = _gradio()

    def pick(event):
        path = pictures[event.index]
        return path, open_picture(path), *choose(path)

    # By this gradio knows what to hand over; as text it could not look it up here.
    pick.__annotations__["event"] = gr.SelectData

    def drop(path: str | None):
        return None, *choose(path)

    def choose(path: str | None):
        asked = suggestions(path)
        return gr.update(choices=asked, value=asked[0]), "", None, None, None

    def ask(picked: str | None, dropped: str | None, question: str | None):
        path = picked or dropped
        if not path or not question:
            return "Pick or drop a picture, and choose or type a question.", None, None, None
        try:
            found = reply(vlm, path, question)
        except InputError as error:
            return str(error), None, None, None
        truth = f"  \n*The labels say: {found['truth']}*" if found["truth"] is not None else ""
        text = f"### {found['answer'] or '(nothing)'}{truth}"
        return text, found["scores"] or None, found["boxes"], found["heat"]

    with gr.Blocks(title="Ask about a frame", analytics_enabled=False) as page:
        gr.Markdown("# Ask about a frame\nPick a frame or drop a picture, then ask.")
        # What gradio shows is a copy of its own; the labels lie beside the frame that was picked.
        picked = gr.State(None)
        with gr.Row():
            with gr.Column():
                picture = gr.Image(type="filepath", label="Picture", sources=["upload"])
                if pictures:
                    gallery = gr.Gallery(
                        [open_picture(path) for path in pictures],
                        label="Frames",
                        columns=4,
                        height=260,
                        allow_preview=False,
                        buttons=[],
                    )
            with gr.Column():
                question = gr.Dropdown(
                    suggestions(None), label="Question", allow_custom_value=True, elem_id="question"
                )
                button = gr.Button("Ask", variant="primary", elem_id="ask")
                answer = gr.Markdown(elem_id="answer")
                scores = gr.Label(label="Runners-up", num_top_classes=5, elem_id="scores")
        with gr.Row():
            # Without gradio's button that shares a picture on the web.
            plain = {"interactive": False, "buttons": ["download", "fullscreen"]}
            boxes = gr.Image(label="What the labels say", elem_id="boxes", **plain)
            heat = gr.Image(label="Where it looks", elem_id="heat", **plain)
        shown = [answer, scores, boxes, heat]
        if pictures:
            gallery.select(pick, None, [picked, picture, question, *shown])
        picture.upload(drop, picture, [picked, question, *shown])
        picture.clear(drop, picture, [picked, question, *shown])
        button.click(ask, [picked, picture, question], shown)
    return page


def serve(page, port: int, wait: bool = True) -> str:
    """Serve the page to this machine alone; its address.

    Args:
        wait: until Ctrl-C.

    Raises:
        InputError: the port is taken.
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
        raise InputError(f"--port: {port} is taken; give another one") from None
    print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
    if wait:
        page.block_thread()
    return address


def _load(checkpoint: str) -> BaseVLM:
    from .base_vlm import BaseVLM, load
    from .model.loading import EMBEDDED

    return BaseVLM(EMBEDDED) if checkpoint == EMBEDDED else load(checkpoint)


def _gradio():
    # Before it is imported: nothing is reported to anyone, and no newer version looked for.
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
