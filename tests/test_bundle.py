"""bundle.py: what is packed, the same bytes every time, and one line for every mistake."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fake_submission import ADAPTER, GOOD, WEIGHTS, write_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bundle
from grader import packing

EXTRA = {
    "embedded_base/model.safetensors": "base",
    "embedded_base/config.json": "{}",
    "training/model_card.md": "template",
}
PACKED = GOOD | ADAPTER | EXTRA
LEFT_OUT = (
    "__pycache__/vlm.cpython-311.pyc",
    ".hidden",
    ".mypy_cache/3.11/cache.json",
    "vlm_model/.cache/x",
    "vlm_model/checkpoint-100/adapter_model.safetensors",
    "vlm_model/optimizer.pt",
    "vlm_model/scheduler.pt",
    "vlm_model/rng_state.pth",
    "vlm_model/rng_state_0.pth",
    "vlm_model/training_args.bin",
    "vlm_model/trainer_state.json",
    "vlm_model/curves.png",
    "vlm_model/adapter_model.safetensors.12.partial",
    "vlm_model/half.tmp",
    "vlm_model/train.log",
    "vlm_model/runs/today/events",
    "events.out.tfevents.1.host",
    "old.zip",
    "vlm_model/README.md",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A homework folder ready to pack, in the current directory."""
    monkeypatch.chdir(tmp_path)
    return write_files(tmp_path / "homework", PACKED)


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> str:
    """Run the command, expect one line on stderr and no zip; returns the line."""
    assert bundle.main(arguments) == code
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and not out
    assert not list(Path().glob("*.zip*"))
    return err


@pytest.mark.parametrize("argument", ["homework", "./homework/", "absolute"])
def test_packs_what_is_needed_and_nothing_else(folder, capsys, argument):
    write_files(folder, dict.fromkeys(LEFT_OUT, "x"))
    argument = str(folder) if argument == "absolute" else argument
    assert bundle.main([argument, "abc123"]) == 0
    with zipfile.ZipFile("abc123.zip") as archive:
        assert archive.namelist() == sorted(f"homework/{name}" for name in PACKED)
        assert archive.testzip() is None
        assert archive.read("homework/vlm_model/adapter_model.safetensors") == WEIGHTS
    out = capsys.readouterr().out
    assert "README.md" not in out  # known, and no use to a grader
    assert "homework/vlm.py" in out and "abc123.zip: " in out and "at most 50.00 MB" in out
    assert not list(Path().glob("*.partial"))


def test_another_name_of_the_folder_still_packs_as_homework(folder):
    folder.rename("mine")
    assert bundle.main(["mine", "ID"]) == 0
    assert all(name.startswith("homework/") for name in zipfile.ZipFile("ID.zip").namelist())


def test_the_packed_zip_replaces_the_old_one(folder):
    assert bundle.main(["homework", "ID"]) == 0
    (folder / "new.py").touch()
    assert bundle.main(["homework", "ID"]) == 0
    assert "homework/new.py" in zipfile.ZipFile("ID.zip").namelist()


_NAMES = st.from_regex(r"[a-z]{1,3}(/[A-Z]{1,2}){0,2}\.py", fullmatch=True)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(files=st.dictionaries(_NAMES, st.binary(max_size=200), max_size=6), seed=st.randoms())
def test_the_same_tree_gives_the_same_bytes(tmp_path, files, seed):
    zips = []
    for turn in range(2):
        folder = tmp_path / "homework"
        shutil.rmtree(folder, ignore_errors=True)
        names = sorted(files)
        seed.shuffle(names)  # order of creation, times and permissions must not matter
        write_files(folder, {"__init__.py": ""} | {name: files[name] for name in names})
        for path in folder.rglob("*.py"):
            os.utime(path, (turn * 1e9, turn * 1e9))
            path.chmod(0o600 + 0o100 * turn)
        target = tmp_path / "x.zip"
        bundle.write_zip(bundle.members(folder), target)
        zips.append(target.read_bytes())
    assert zips[0] == zips[1]
    with zipfile.ZipFile(target) as archive:
        assert {name: archive.read(f"homework/{name}") for name in files} == files


def test_over_the_limit_names_the_files_to_delete(folder, capsys, monkeypatch):
    monkeypatch.setattr(packing, "LIMIT_BYTES", 60_000)
    write_files(
        folder,
        {
            "embedded_base/model.safetensors": os.urandom(40_000),
            "big.bin": os.urandom(45_000),
            "small.bin": os.urandom(1_000),
        },
    )
    line = fails(capsys, "homework", "ID")
    assert line.endswith("over 60.0 kB: delete homework/big.bin (45.0 kB)\n")


def test_over_the_limit_with_nothing_to_delete_names_the_largest_file(folder, capsys, monkeypatch):
    monkeypatch.setattr(packing, "LIMIT_BYTES", 30_000)
    write_files(folder, {"embedded_base/model.safetensors": os.urandom(40_000)})
    line = fails(capsys, "homework", "ID")
    assert "shrink" in line and "homework/embedded_base/model.safetensors (40.0 kB)" in line


def test_an_adapter_of_peft_has_two_files_and_half_of_two_trainings_is_refused(folder, capsys):
    (folder / "vlm_model/base.json").unlink()
    assert bundle.main(["homework", "ID"]) == 0
    Path("ID.zip").unlink()
    capsys.readouterr()
    # A killed training has moved the configuration, and not yet the weights.
    write_files(folder, {"vlm_model/adapter.partial/adapter_model.safetensors": WEIGHTS})
    assert "base.json: missing" in fails(capsys, "homework", "ID")


def test_a_pickle_of_weights_is_named_with_the_command_that_tells_of_it(folder, capsys):
    weights = folder / "vlm_model/adapter_model.safetensors"
    weights.rename(weights.with_name("adapter_model.bin"))
    assert "python -m homework.finetune test homework/vlm_model" in fails(capsys, "homework", "ID")


@pytest.mark.parametrize("name", sorted(ADAPTER)[:2])
def test_a_missing_adapter_file_is_named_with_the_command_that_makes_it(folder, capsys, name):
    (folder / name).unlink()
    line = fails(capsys, "homework", "ID")
    assert name in line and "python -m homework.finetune train" in line


def test_a_missing_folder_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "nowhere: no such folder" in fails(capsys, "nowhere", "ID")


def test_a_folder_that_is_not_a_package_is_refused(folder, capsys):
    (folder / "__init__.py").unlink()
    assert "no __init__.py" in fails(capsys, "homework", "ID")


@pytest.mark.parametrize("name", ["a/b", "../x", "", "a b", "x.zip", "ID\n", "ä", ".x"])
def test_an_id_with_other_characters_is_refused(folder, capsys, name):
    assert "letters, digits" in fails(capsys, "homework", name)


@pytest.mark.parametrize("arguments", [(), ("homework",), ("a", "b", "c"), ("a", "b", "--x")])
def test_wrong_arguments_are_one_line(folder, capsys, arguments):
    assert "see python3 bundle.py --help" in fails(capsys, *arguments, code=2)


SECRETS = (
    "id_rsa", "token", "secrets.json", "credentials.txt", "config.env", "cookies.sqlite",
    "vlm_model/notes.txt", "mlruns/0/meta.yaml", "mlruns/0/model.safetensors", "mlruns/x.py",
)  # fmt: skip


def test_what_is_neither_code_nor_model_is_named_and_not_packed(folder, capsys):
    write_files(folder, dict.fromkeys(SECRETS, "x"))
    write_files(folder, {"venv/pyvenv.cfg": "", "venv/lib/x.py": ""})
    (folder / "venv" / "lib64").symlink_to("lib")
    assert bundle.main(["homework", "ID"]) == 0
    assert zipfile.ZipFile("ID.zip").namelist() == sorted(f"homework/{name}" for name in PACKED)
    named = [line.strip() for line in capsys.readouterr().out.splitlines() if line[:4] == "    "]
    alone = [name for name in SECRETS if not name.startswith("mlruns")]
    expected = [f"homework/{name}" for name in alone]
    expected += ["homework/mlruns/ (3 files)", "homework/venv/"]
    assert sorted(line for line in named if line.startswith("homework")) == sorted(expected)


@pytest.mark.parametrize(
    "asked", ["words.txt", "lists/*.csv", "homework/lists/a.csv", "./lists/a.csv", "a.csv"]
)
def test_a_file_that_is_asked_for_is_packed(folder, asked):
    write_files(folder, {"words.txt": "", "lists/a.csv": "", "token": ""})
    assert bundle.main(["homework", "ID", "--include", asked]) == 0
    more = set(zipfile.ZipFile("ID.zip").namelist()) - {f"homework/{name}" for name in PACKED}
    assert more == {"homework/words.txt" if asked == "words.txt" else "homework/lists/a.csv"}


@pytest.mark.parametrize("asked", ["words.txt", "vlm_model/optimizer.pt"])
def test_a_file_that_is_asked_for_and_not_there_is_one_line(folder, capsys, asked):
    write_files(folder, {"vlm_model/optimizer.pt": ""})
    assert f"--include {asked}: no such file" in fails(capsys, "homework", "ID", "--include", asked)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("base.json", '{"base": "embedded_base", "sha2'),
        ("base.json", "[]"),
        ("base.json", "{}"),
        ("base.json", b"\xff\xfe"),
        ("adapter_config.json", ""),
        ("adapter_model.safetensors", WEIGHTS[:5]),
        ("adapter_model.safetensors", WEIGHTS + b"\0"),
        ("adapter_model.safetensors", b"\xff" * 16),
        ("adapter_model.safetensors", b"\x04\0\0\0\0\0\0\0null"),
    ],
)
def test_a_damaged_adapter_is_refused(folder, capsys, name, content):
    write_files(folder / "vlm_model", {name: content})
    line = fails(capsys, "homework", "ID")
    assert name in line and "python -m homework.finetune" in line


@pytest.mark.parametrize("base", ["embedded_base", "HuggingFaceTB/SmolVLM-256M-Instruct", None])
def test_a_base_that_a_grader_can_have_is_no_warning(folder, capsys, base):
    if base is None:  # an adapter of PEFT's own
        (folder / "vlm_model" / "base.json").unlink()
    else:
        write_files(folder / "vlm_model", {"base.json": json.dumps({"base": base})})
    assert bundle.main(["homework", "ID"]) == 0
    assert "WARNING" not in capsys.readouterr().out


def test_a_base_that_lies_on_this_machine_alone_is_a_warning(folder, tmp_path, capsys):
    base = str(tmp_path / "homework" / "tiny")  # even in the package: the name has its whole path
    write_files(folder / "vlm_model", {"base.json": json.dumps({"base": base})})
    assert bundle.main(["homework", "ID"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "WARNING" in line)
    assert base in line and "--base embedded_base" in line


def test_a_link_in_the_place_of_the_partial_file_is_not_followed(folder, tmp_path):
    (tmp_path / "mine").write_text("kept")
    Path("ID.zip.partial").symlink_to(tmp_path / "mine")
    assert bundle.main(["homework", "ID"]) == 0
    assert (tmp_path / "mine").read_text() == "kept"
    assert zipfile.is_zipfile("ID.zip") and not Path("ID.zip").is_symlink()


@pytest.mark.parametrize("where", ["link.py", "embedded_base/sub"])
def test_a_link_is_refused(folder, tmp_path, capsys, where):
    (folder / where).symlink_to(tmp_path)
    line = fails(capsys, "homework", "ID")
    assert "is a link" in line and Path(where).name in line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_not_read(folder, capsys):
    os.mkfifo(folder / "pipe")
    assert "not a plain file" in fails(capsys, "homework", "ID")


def test_a_file_name_that_the_grader_would_refuse_is_refused(folder, capsys):
    (folder / "a\nb.py").touch()
    assert "rename" in fails(capsys, "homework", "ID")


def test_a_failed_write_leaves_the_old_zip(folder, capsys, monkeypatch):
    assert bundle.main(["homework", "ID"]) == 0
    old = Path("ID.zip").read_bytes()
    capsys.readouterr()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, "_add", stop)
    assert bundle.main(["homework", "ID"]) == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C; ID.zip was not written\n"
    assert Path("ID.zip").read_bytes() == old and not list(Path().glob("*.partial"))


def test_a_zip_that_cannot_be_written_is_one_line(folder, capsys):
    Path("ID.zip").mkdir()
    assert bundle.main(["homework", "ID"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_name_outside_ascii_is_printed_on_an_ascii_terminal(folder):
    (folder / "caf\u00e9.bin").write_bytes(os.urandom(200_000))
    ended = subprocess.run(
        [sys.executable, bundle.__file__, "homework", "my_id"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert "homework/caf\\xe9.bin" in ended.stdout


def test_bundle_on_a_full_disk_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "homework"
    (package / "vlm_model").mkdir(parents=True)
    write_files(package, {"__init__.py": ""} | ADAPTER)
    assert bundle.main(["homework", "ID"]) == 0
    before = (tmp_path / "ID.zip").read_bytes()
    capsys.readouterr()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(packing, "_add", full)
    assert bundle.main(["homework", "ID"]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "ID.zip" in line and "No space left on device" in line
    assert {path.name for path in tmp_path.iterdir()} == {"homework", "ID.zip"}
    assert (tmp_path / "ID.zip").read_bytes() == before


@pytest.mark.parametrize("depth", [33, 300])
def test_a_deep_tree_is_one_line(tmp_path, monkeypatch, capsys, depth):
    folder = write_files(tmp_path / "homework", GOOD | ADAPTER)
    monkeypatch.chdir(folder)
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    Path("x.py").touch()
    monkeypatch.chdir(tmp_path)
    assert bundle.main(["homework", "ID"]) == 1
    err = capsys.readouterr().err
    assert "d: is over 32 folders deep; move or delete it" in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["homework"]


@pytest.mark.parametrize("content", [b"mine", b"PK\x05\x06" + b"x" * 40, "notes.txt", "homework/a"])
def test_a_file_that_it_did_not_pack_is_not_replaced(folder, capsys, content):
    target = Path("ID.zip")
    if isinstance(content, bytes):
        target.write_bytes(content)
    else:
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(zipfile.ZipInfo(content, (2026, 1, 2, 3, 4, 6)), "mine")
    before = target.read_bytes()
    assert bundle.main(["homework", "ID"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "replace it with --overwrite" in err
    assert target.read_bytes() == before
    assert bundle.main(["homework", "ID", "--overwrite"]) == 0
    assert bundle.main(["homework", "ID"]) == 0  # its own
