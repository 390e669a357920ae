"""The quick start: what it installs, what it runs, and what makes it fail."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from fake_submission import ROOT, write_files

import quickstart

ADAPTER = {"base.json": "{}", "adapter_model.safetensors": "shipped"}


class Runs:
    """Stands for the commands: remembers them, and leaves what the next ones need."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.lines: list[str] = []
        self.totals = {"quickstart_shipped.zip": 105.0, "quickstart.zip": 20.0}
        self.cases: list[dict[str, str]] = []
        self.denied: list[str] = []
        self.fails = ""

    def __call__(self, *arguments: str) -> None:
        line = " ".join(arguments)
        self.lines.append(line)
        if self.fails and self.fails in line:
            raise subprocess.CalledProcessError(1, line)
        if "finetune train" in line:
            folder = self._root / arguments[arguments.index("--output_dir") + 1]
            write_files(folder, {"base.json": "{}", "adapter_model.safetensors": "own"})
            write_files(folder, {"checkpoint-2/optimizer.pt": ""})
        if "grader" in arguments:
            result = {"total": self.totals[arguments[2]], "cases": self.cases}
            log = self._root / arguments[arguments.index("--log_path") + 1]
            log.write_text(f"Grading\n{json.dumps(result | {'denied': self.denied})}\n")


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Runs:
    """A repository with a package, an adapter and samples, in which nothing is really run."""
    write_files(tmp_path / "homework" / "vlm_model", ADAPTER)
    write_files(tmp_path / "homework", {"__init__.py": "", "__pycache__/x.pyc": ""})
    write_files(tmp_path / "data", {"sample/1_info.json": "", "sample_valid/0_info.json": ""})
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(quickstart, "ROOT", tmp_path)
    monkeypatch.setattr(quickstart, "DATA", tmp_path / "data")
    monkeypatch.setattr(quickstart, "PACKAGE", tmp_path / "homework")
    return Runs(tmp_path)


def adapter(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_adapter_that_is_there_is_graded_first_and_stays(runs, tmp_path, capsys):
    assert quickstart.main_job(runs, 2) == []
    order = [line for line in runs.lines if "finetune" in line or "grader" in line]
    assert [line.split(" --")[0] for line in order] == [
        "-m homework.finetune test homework/vlm_model",
        "-m grader quickstart_shipped.zip -v",
        "-m homework.finetune train",
        "-m homework.finetune test runs/quickstart",
        "-m grader quickstart.zip -v",
    ]
    assert "bundle.py runs/quickstart_package/homework quickstart" in runs.lines
    assert adapter(tmp_path / "homework" / "vlm_model") == ADAPTER
    copy = tmp_path / "runs" / "quickstart_package" / "homework"
    assert adapter(copy / "vlm_model") == ADAPTER | {"adapter_model.safetensors": "own"}
    assert not (copy / "__pycache__").exists()
    assert "the adapter in runs/quickstart: 20.0 points" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["finetune test homework", "finetune train", "grader"])
def test_whatever_fails_the_adapter_stays(runs, tmp_path, command):
    runs.fails = command
    with pytest.raises(subprocess.CalledProcessError):
        quickstart.main_job(runs, 2)
    assert adapter(tmp_path / "homework" / "vlm_model") == ADAPTER


def test_less_than_full_points_for_the_shipped_adapter_is_a_failure(runs):
    runs.totals["quickstart_shipped.zip"] = 99.9
    assert quickstart.main_job(runs, 2) == [
        "homework/vlm_model: 99.9 points, 100 were expected; "
        "git checkout homework/vlm_model brings the shipped adapter back"
    ]


def test_what_was_denied_or_not_graded_is_a_failure(runs):
    runs.denied = ["tried to open a socket"]
    runs.cases = [{"name": "Model loads", "status": "failed", "detail": "KeyError"}]
    assert quickstart.main_job(runs, 2) == [
        f"{name}.zip: {problem}"
        for name in ("quickstart_shipped", "quickstart")
        for problem in ("Model loads: KeyError", "tried to open a socket")
    ]


def test_the_exit_code_says_that_something_was_wrong(monkeypatch, capsys):
    monkeypatch.setattr(quickstart.Environment, "set_up", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["quickstart.py"])
    monkeypatch.setattr(quickstart, "main_job", lambda *_: ["it went wrong"])
    assert quickstart.main() == 1 and "error: it went wrong" in capsys.readouterr().err
    monkeypatch.setattr(quickstart, "main_job", lambda *_: [])
    assert quickstart.main() == 0


# Installing

CPU = f"--index-url {quickstart.CPU_INDEX}"


@pytest.fixture
def installs(tmp_path, monkeypatch):
    """Set up an environment in which nothing is installed; the pip commands."""
    lines: list[str] = []
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)

    def run(*build: str, gpu=False, reachable=True, fails="") -> list[str]:
        def note(_, *arguments: str) -> None:
            lines.append(" ".join(arguments))
            if fails and fails in lines[-1]:
                raise subprocess.CalledProcessError(1, "pip")

        monkeypatch.setattr(quickstart, "has_nvidia_gpu", lambda: gpu)
        monkeypatch.setattr(quickstart, "reachable", lambda url: reachable)
        monkeypatch.setattr("sys.platform", "linux")
        monkeypatch.setattr(quickstart.Environment, "run", note)
        quickstart.Environment(tmp_path / "env").set_up("requirements.txt", *build)
        return lines

    return run


def test_without_a_gpu_torch_comes_from_the_index_of_cpu_builds(installs, capsys):
    torch, rest = installs("auto")
    pinned = (ROOT / "requirements.txt").read_text().split("torch==")[1].split()[0]
    assert torch.endswith(f"install torch=={pinned} {CPU}")
    assert rest.endswith("install -r requirements.txt") and "--quiet" not in rest
    assert quickstart.SIZES["cpu"] in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"gpu": True}, {"reachable": False}], ids=str)
def test_with_a_gpu_or_without_that_index_pip_takes_its_default(installs, capsys, options):
    assert len(installs("auto", **options)) == 1
    out = capsys.readouterr().out
    assert quickstart.SIZES["default"] in out
    assert ("cannot be reached" in out) == ("reachable" in options)


def test_a_failure_of_that_index_leads_to_the_default(installs, capsys):
    assert len(installs("cpu", fails=CPU)) == 2
    assert quickstart.SIZES["default"] in capsys.readouterr().out


def test_installed_packages_are_only_checked(installs):
    installs("default")
    assert "--quiet" in installs("default")[-1]


def test_an_address_that_is_not_there_is_not_reachable(monkeypatch):
    monkeypatch.setattr("urllib.request.getproxies", dict)
    assert not quickstart.reachable("http://127.0.0.1:9/torch/")


def test_a_folder_that_it_has_not_made_is_left_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart.subprocess, "run", lambda *_, **__: pytest.fail("run"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    for folder in (tmp_path / "mine", tmp_path / "mine" / "file"):
        with pytest.raises(SystemExit, match="not an environment that quickstart"):
            quickstart.Environment(folder).set_up("requirements.txt", "auto")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]
