"""The report's files: what is in them, that they hold nothing foreign, and that they stay small."""

import base64
import hashlib
import io
import json
import re

import pytest
from PIL import Image
from reports import make_outcomes, make_report
from tiny import score, write_tiny_base

from homework.base_vlm import BaseVLM
from homework.evaluation.measure import scenes, training_pairs
from homework.frames.images import webp_texts
from homework.labels.questions import COUNT, EGO, KARTS, KINDS
from homework.model import generation


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A data folder, a report's folder and the report's data."""
    from helpers import make_split

    data_dir = tmp_path_factory.mktemp("data")
    make_split(data_dir / "train", frames=3, seed=0)
    make_split(data_dir / "valid", frames=4, seed=1)
    folder = tmp_path_factory.mktemp("report")
    return data_dir, folder, make_report(folder, data_dir)


def block(page: str, name: str):
    return json.loads(re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)[1])


def test_the_folder_holds_the_page_and_its_data(report):
    _, folder, data = report
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "report.json"]
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(data))
    page = (folder / "index.html").read_text()
    assert block(page, "data") == json.loads(json.dumps(data))
    assert base64.b64decode(block(page, "heat-maps")["0"])[:13] == bytes([255] + [0] * 12)
    image = Image.open(io.BytesIO(base64.b64decode(next(iter(block(page, "pictures").values())))))
    assert image.size == (150, 100) and image.format == "WEBP"


def test_samples_say_what_was_asked_answered_and_shown(report):
    data_dir, _, data = report
    assert len(data["samples"]) == 12 * len(KINDS)
    for sample in data["samples"]:
        view = data["views"][sample["image_file"]]
        assert (data_dir / sample["image_file"]).is_file()
        names = [kart[0] for kart in view["karts"]]
        if sample["kind"] == "ego":
            assert names[view["ego"]] == sample["truth"] == sample["kart"]
        if sample["kind"] == "relative position":
            assert sample["kart"] in names and sample["size"] >= 5
            assert isinstance(sample["seen"], bool)
        assert sample["probability"] == sample["scores"][0][1]
        assert sample["truth"] in [answer for answer, _ in sample["scores"]]
        assert sample["right"] == (sample["answer"] == sample["truth"])
    total = data["kinds"][-1]
    assert total["right"] == sum(sample["right"] for sample in data["samples"])


def test_probabilities_of_a_vocabulary_add_up_to_one(report):
    data_dir, _, _ = report
    for outcome in make_outcomes(data_dir, 3)[0]:
        assert sum(probability for _, probability in outcome.probabilities) == pytest.approx(1)


def test_scores_come_with_the_models_own_answers(tmp_path):
    vlm = BaseVLM(write_tiny_base(tmp_path / "base"), verbose=False)
    image = str(tmp_path / "p.png")
    Image.new("RGB", (150, 100), "teal").save(image)
    asked = [COUNT, "Free?", EGO, EGO.replace("ego", "other")]
    model = generation.ScoringModel(vlm)
    assert model.answer([image] * 4, asked) == vlm.answer([image] * 4, asked)
    count, free, ego, _ = model.probabilities
    assert free == () and len(count) == 10 and len(ego) == 18
    apart = generation.softmax(KARTS, score(vlm, [image], [EGO], [KARTS])[0])
    assert dict(ego) == pytest.approx(dict(apart), rel=0.02)
    assert sum(probability for _, probability in ego) == pytest.approx(1)


def test_the_page_holds_text_as_text_and_allows_its_own_script_alone(report):
    page = (report[1] / "index.html").read_text()
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)[1]
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert page.count("</script>") == 4
    assert not re.findall(r"(?:src|href)=\"?https?:", page)


def test_classes_of_the_samples_are_those_of_the_breakdowns(report):
    for name, by_kind in report[2]["breakdowns"].items():
        for kind, rows in by_kind.items():
            for row in rows:
                members = [
                    sample["right"]
                    for sample in report[2]["samples"]
                    if kind in (sample["kind"], "all")
                    and sample["classes"].get(name) == row["label"]
                ]
                assert (sum(members), len(members)) == (row["right"], row["total"])


def test_other_runs_are_compared_question_by_question(report, tmp_path):
    data_dir, folder, before = report
    others = [folder, tmp_path / "third"]
    make_report(others[1], data_dir, per_kind=6, seed=2)
    data = make_report(tmp_path / "out", data_dir, seed=1, against=others)
    assert [other["date"][:10] for other in data["others"]] == ["2026-01-01", "2026-01-03"]
    row = data["others"][0]["kinds"][-1]
    known = {(s["image_file"], s["question"]): s for s in before["samples"]}
    pairs = [(s, known[s["image_file"], s["question"]]) for s in data["samples"]]
    assert row["total"] == 12 * len(KINDS)
    assert row["fixed"] == sum(s["right"] and not old["right"] for s, old in pairs)
    assert row["broken"] == sum(old["right"] and not s["right"] for s, old in pairs)
    assert all(s["others"][0]["answer"] == old["answer"] for s, old in pairs)
    asked = [s["others"][1] for s in data["samples"] if s["others"][1]]
    assert 0 < len(asked) == data["others"][1]["kinds"][-1]["total"] <= 6 * len(KINDS)


def test_large_images_are_made_small(tmp_path):
    Image.new("RGB", (100, 4000), "teal").save(tmp_path / "tall.png")
    small = Image.open(
        io.BytesIO(base64.b64decode(webp_texts({"tall": tmp_path / "tall.png"})["tall"]))
    )
    assert small.size == (150, 100)


def test_an_image_without_labels_is_shown_without_boxes(report, tmp_path):
    data_dir, _, _ = report
    image = next((data_dir / "valid").glob("*_im.jpg"))
    (tmp_path / "lone.jpg").write_bytes(image.read_bytes())
    assert scenes([str(tmp_path / "lone.jpg")]) == {str(tmp_path / "lone.jpg"): None}
    assert training_pairs(tmp_path) is None
