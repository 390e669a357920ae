"""python docs/make_pictures.py [--checkpoint homework/vlm_model] [--output docs/pictures]

Makes the images of README.md and docs/: a frame with the five kinds of question and the contact
sheet of the shipped sample; with a checkpoint also where the model looks and what it answers, and
the heads of a report and of the page of `explore`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from homework.common import cli, options
from homework.frames.images import open_image
from homework.frames.split import Skipped, list_split, read_frames
from homework.inspection.figures import contact_sheet, draw_scene
from homework.inspection.survey import survey
from homework.labels.questions import EGO, KINDS, pairs
from homework.labels.scene import IMAGE_SIZE, Scene

WIDE, HIGH = IMAGE_SIZE
WIDTH = 620  # drawn pixels for the questions beside the frame
INK, SOFT, GROUND = "#e6e4df", "#9aa1a8", "#15181b"
RIGHT, WRONG = "#ffd400", "#ff5a4d"
SHEET_WIDTH = 1100
QUALITY = 85  # of JPEG: a tenth of PNG's size


def make(
    checkpoint: str | None = None, output: str = "docs/pictures", data_dir: str | None = None
) -> None:
    """Write the images.

    Args:
        checkpoint: a LoRA checkpoint; None leaves the last three images out.
        output: the folder they go to.
        data_dir: the folder with `sample` and `sample_valid`; None: beside the package.
    """
    folder, data = Path(output), options.data_folder(data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    image, scene = clearest([data / "sample", data / "sample_valid"])
    frame = draw_scene(open_image(image), scene)
    five_kinds(frame, scene).save(folder / "five_kinds.jpg", quality=QUALITY)
    sheet = contact_sheet(survey(list_split(data / "sample"), 1))
    sheet.thumbnail((SHEET_WIDTH, SHEET_WIDTH * 2))
    sheet.save(folder / "contact_sheet.jpg", quality=QUALITY)
    if checkpoint:
        looks(str(checkpoint), data / "sample_valid").save(
            folder / "where_it_looks.jpg", quality=QUALITY
        )
        report(str(checkpoint), data, folder / "report.png")
        explored(data / "sample", folder / "explore.png")
    for path in sorted(folder.glob("*.*")):
        print(f"{path} ({path.stat().st_size / 1e3:.0f} kB)")


def clearest(folders: list[Path]) -> tuple[Path, Scene]:
    """The clearest view of some splits: several karts, whole, separate and large."""
    views = []
    for split in map(list_split, folders):
        for frame in read_frames(split, split.info_files, Skipped()):
            views += [(split.folder / name, scene) for name, scene in frame.views if scene.karts]
    return max(views, key=lambda view: (_clarity(view[1]), str(view[0])))


def _clarity(scene: Scene) -> tuple[bool, bool, int]:
    boxes = [kart.box for kart in scene.karts]
    whole = all(x1 > 1 and y1 > 1 and x2 < WIDE - 1 and y2 < HIGH - 1 for x1, y1, x2, y2 in boxes)
    apart = not any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
        for a, b in combinations(boxes, 2)
    )
    smallest = min(min(x2 - x1, y2 - y1) for x1, y1, x2, y2 in boxes)
    return len(boxes) in (3, 4), whole and apart, smallest


def five_kinds(frame, scene: Scene, answers: Mapping[str, str] | None = None):
    """The frame, and beside it a question or more of each kind, answered.

    Args:
        frame: the image as it is to be shown.
        answers: of a model to the questions of the scene, red where wrong; None shows the labels.
    """
    from PIL import Image, ImageDraw, ImageFont

    drawn = Image.new("RGB", (frame.width + WIDTH, frame.height), GROUND)
    drawn.paste(frame, (0, 0))
    draw, top = ImageDraw.Draw(drawn), 22
    left = frame.width + 28
    for name, kind in KINDS.items():
        draw.text((left, top), name, SOFT, ImageFont.load_default(15))
        top += 24
        for question, label in list(kind.pairs(scene))[: 3 if name == "relative position" else 2]:
            said = answers[question] if answers else label
            draw.text((left, top), question, INK, ImageFont.load_default(19))
            width = draw.textlength(question, ImageFont.load_default(19))
            colour = RIGHT if said == label else WRONG
            draw.text((left + width + 12, top), said, colour, ImageFont.load_default(19))
            top += 29
        top += 18
    return drawn


def looks(checkpoint: str, split: Path):
    """A frame never trained on: where the model looks for the ego kart, and what it answers."""
    from homework.base_vlm import load
    from homework.model.heat_map import heat_maps, overlay

    vlm = load(checkpoint)
    image, scene = clearest([split])
    asked = [question for question, _ in pairs(scene)]
    answers = dict(zip(asked, vlm.answer([image] * len(asked), asked), strict=True))
    heat = heat_maps(vlm, [image], [EGO], [answers[EGO]])[0]
    return five_kinds(overlay(open_image(image), heat), scene, answers)


def report(checkpoint: str, data: Path, target: Path) -> None:
    """The head of a report."""
    from homework.finetune import test
    from homework.generate_qa import balance

    with tempfile.TemporaryDirectory() as folder:
        for split in ("sample", "sample_valid"):
            (Path(folder) / split).symlink_to((data / split).resolve())
        balance("sample_valid", data_dir=folder)
        test(checkpoint, "sample_valid_grader", folder, None, report=f"{folder}/report")
        screenshot(f"{folder}/report/index.html", target, 1120)


def explored(split: Path, target: Path) -> None:
    """The page of `explore` with some filters set."""
    from homework.generate_qa import explore

    with tempfile.TemporaryDirectory() as folder:
        explore(str(split), folder)
        state = "kind=relative+position&karts=3&size=18"
        screenshot(f"{folder}/index.html#{state}", target)


def screenshot(page: str, target: Path, height: int = 820) -> None:
    """The head of a page, as a browser shows it; left out without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if not executable:
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1180, "height": height})
        tab.goto(f"file://{page}")
        tab.wait_for_selector("html[data-ready]")
        tab.wait_for_load_state()
        tab.wait_for_timeout(500)  # images of the page are decoded
        tab.screenshot(path=str(target))
        browser.close()


if __name__ == "__main__":
    cli.run(make)
