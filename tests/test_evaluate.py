"""`evaluate`: the answers of any program, judged as an adapter's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from homework import base_vlm, finetune
from homework.base_vlm import BaseVLM
from homework.common import cli
from homework.common.errors import InputError
from homework.evaluate import evaluate

ROOT = Path(__file__).resolve().parent.parent
ASKED = 24  # questions


@pytest.fixture(scope="module")
def tested(trained, sample_data, tmp_path_factory) -> Path:
    """What `finetune test` writes about an adapter: `report` and `predictions.json`."""
    folder = tmp_path_factory.mktemp("tested")
    finetune.test(
        str(trained),
        "train",
        str(sample_data),
        max_samples=ASKED,
        report=str(folder / "report"),
        save_predictions=str(folder / "predictions.json"),
        heat_maps=2,
    )
    return folder


def data_of(report: Path) -> dict:
    return json.loads((report / "report.json").read_text())


def test_the_predictions_of_an_adapter_give_its_report(tested, sample_data, tmp_path, capsys):
    evaluate(
        str(tested / "predictions.json"),
        "train",
        str(sample_data),
        max_samples=ASKED,
        report=str(tmp_path / "out"),
        against=f"{tested / 'report'},{tested / 'predictions.json'}",
    )
    found, expected = data_of(tmp_path / "out"), data_of(tested / "report")
    for name in ("kinds", "confusions", "views", "split", "seen_known", "majority_source"):
        assert found[name] == expected[name], name
    for name in ("size", "karts", "seen"):
        assert found["breakdowns"][name] == expected["breakdowns"][name]
    for one, other in zip(found["samples"], expected["samples"], strict=True):
        for name in ("image_file", "question", "kind", "answer", "truth", "right", "kart", "size"):
            assert one[name] == other[name]
    for other in found["others"]:
        assert all(row["fixed"] == row["broken"] == 0 for row in other["kinds"])
    assert [other["checkpoint"] for other in found["others"]][1] == "predictions"
    assert f"{ASKED}" in capsys.readouterr().out


def test_a_report_has_the_base_alone_the_recipe_and_the_curves(tested, trained, base, sample_data):
    data = data_of(tested / "report")
    alone = data["others"][0]
    assert alone["checkpoint"] == f"{base.name} alone" and alone["kinds"][-1]["total"] == ASKED
    few = data["samples"][:4]
    paths = [str(sample_data / sample["image_file"]) for sample in few]
    answers = BaseVLM(base, verbose=False).answer(paths, [s["question"] for s in few])
    assert [sample["others"][0]["answer"] for sample in few] == answers
    assert data["recipe"]["max_steps"] == 4 and data["recipe"]["base"] == base.name
    assert len(data["curves"]["loss"]["training"]) >= 1
    assert data["ask"]["checkpoint"] == trained.name and str(trained.parent) not in str(data)


def test_the_base_alone_is_left_out_on_request(trained, sample_data, capsys):
    asked = (str(trained), "train", str(sample_data), 4)
    finetune.test(*asked)
    assert "base alone" not in capsys.readouterr().out
    finetune.test(*asked, base_alone=True)
    assert "base alone" in capsys.readouterr().out


def test_a_wrong_file_is_one_line_and_nothing_is_written(
    tested, sample_data, tmp_path, monkeypatch, capsys
):
    rows = json.loads((tested / "predictions.json").read_text())
    (tmp_path / "p.json").write_text(json.dumps(rows[1:]))
    options = [
        "--split",
        "train",
        "--data_dir",
        str(sample_data),
        "--report",
        str(tmp_path / "out"),
    ]
    monkeypatch.setattr(sys, "argv", ["evaluate", str(tmp_path / "p.json"), *options])
    with pytest.raises(SystemExit) as ended:
        cli.run(evaluate)
    assert ended.value.code == 1
    line = capsys.readouterr().err
    assert line.startswith(f"error: {tmp_path / 'p.json'}: ") and line.count("\n") == 1
    assert "have no answer" in line and not (tmp_path / "out").exists()


def test_a_misspelt_split_of_the_baseline_is_refused_before_anything_is_loaded(
    tested, sample_data, tmp_path, monkeypatch
):
    monkeypatch.setattr("homework.model.adapter.load", lambda *_, **__: pytest.fail("loaded"))
    monkeypatch.setattr("homework.base_vlm.BaseVLM", lambda *_, **__: pytest.fail("loaded"))
    given = {"split": "train", "data_dir": str(sample_data)}
    with pytest.raises(InputError, match=r"--baseline_split: .*trian: no such split"):
        finetune.test("homework/vlm_model", **given, baseline_split="trian")
    with pytest.raises(InputError, match=r"--baseline_split: .*trian: no such split"):
        base_vlm.benchmark_base("tiny", **given, baseline_split="trian")
    with pytest.raises(InputError, match=r"--train_split: .*trian: no such split"):
        evaluate(str(tested / "predictions.json"), **given, train_split="trian")


def test_help_and_judging_need_no_torch(tested, sample_data, tmp_path):
    code = """if True:
        import runpy, sys
        for arguments in (["--help"], sys.argv[1:]):
            sys.argv = ["evaluate", *arguments]
            try:
                runpy.run_module("homework.evaluate", run_name="__main__")
            except SystemExit as end:
                assert not end.code
            loaded = {name.partition(".")[0] for name in sys.modules}
            assert not loaded & {"torch", "transformers", "peft"}
            assert arguments != ["--help"] or not loaded & {"PIL", "numpy", "tqdm"}
    """
    file = str(tested / "predictions.json")
    options = ["--split", "train", "--data_dir", str(sample_data), "--max_samples", str(ASKED)]
    command = [sys.executable, "-c", code, file, *options, "--report", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--train_split" in done.stdout + done.stderr
    assert (tmp_path / "out" / "index.html").is_file()
