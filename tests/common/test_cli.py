"""The command line: help of every command, and one line for a wrong one."""

import errno
import inspect
import os
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from homework.common import cli
from homework.common.errors import InputError

ROOT = Path(__file__).resolve().parent.parent.parent
FRONT_DOORS = [
    f"{package}.{path.stem}"
    for package in ("homework", "lab")
    for path in sorted((ROOT / package).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text()
]


def start(module: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the tests have imported it already
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def commands_of(module: str) -> dict:
    """Subcommand -> function; "" -> function where there is one only."""
    with pytest.MonkeyPatch.context() as patch:
        found = []
        patch.setattr(cli, "run", found.append)
        start(module)
    return {"": found[0]} if callable(found[0]) else found[0]


COMMANDS = [
    (module, name, command)
    for module in FRONT_DOORS
    for name, command in commands_of(module).items()
]


def outcome(monkeypatch, capsys, module: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `python -m <module> <arguments>`."""
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.setenv("COLUMNS", "500")
    code = 0
    try:
        start(module)
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_all_front_doors_are_found():
    doors = ("finetune", "generate_qa", "base_vlm", "demo", "download")
    assert {*(f"homework.{door}" for door in doors), "lab.record", "lab.pretrain"} <= {*FRONT_DOORS}
    found = {(door, name) for door, name, _ in COMMANDS}
    assert {("homework.finetune", "train"), ("homework.download", "")} <= found


@pytest.mark.parametrize("asked", [("-h",), ("--help",), ("--", "--help")], ids=" ".join)
@pytest.mark.parametrize("module, name, command", COMMANDS)
def test_help_names_each_option_with_its_type_meaning_and_default(
    monkeypatch, capsys, module, name, command, asked
):
    arguments = [*filter(None, [name]), *asked]
    code, out, err = outcome(monkeypatch, capsys, module, *arguments)
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: python -m {module}{' ' * bool(name)}{name} ")
    text = " ".join(out.split())
    assert inspect.getdoc(command).partition("\n")[0] in out
    for each in inspect.signature(command).parameters.values():
        option = re.search(rf"--{each.name} (TEXT|INT|FLOAT|True\|False|TEXT,\.\.\.) \w?", text)
        assert option, f"{each.name} has no type or no meaning"
        if each.default not in (None, each.empty) and not isinstance(each.default, tuple):
            assert f"Default: {each.default}." in text
    assert not re.search(r"Optional|None'|NoneType", out)


@pytest.mark.parametrize("module", FRONT_DOORS)
def test_without_arguments_the_commands_are_listed(monkeypatch, capsys, module):
    names = [name for door, name, _ in COMMANDS if door == module and name]
    if names:
        code, out, err = outcome(monkeypatch, capsys, module)
        assert (code, err) == (0, "")
        assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in names)
        assert outcome(monkeypatch, capsys, module, "--help") == (0, out, "")


def test_h_is_help_wherever_it_stands(monkeypatch, capsys):
    whole = outcome(monkeypatch, capsys, "homework.finetune", "test", "--help")
    assert "--heat_maps INT" in whole[1]
    for arguments in (["test", "CKPT", "-h"], ["-h", "test"], ["test", "-h", "--split", "x"]):
        assert outcome(monkeypatch, capsys, "homework.finetune", *arguments) == whole


@pytest.mark.parametrize(
    "module, arguments, said",
    [
        ("homework.finetune", "train --lora 3", "no option '--lora'; the nearest is --lora_r"),
        (
            "homework.finetune",
            "train --max-step=3",
            "'--max-step'; the nearest is --max_steps",
        ),
        ("homework.finetune", "test --splt valid", "no option '--splt'; the nearest is --split"),
        ("homework.finetune", "test CKPT -x", "no option '-x'; the nearest is --"),
        ("homework.finetune", "test", "give a value for checkpoint"),
        ("homework.finetune", "test CKPT -d x -s y", "ambiguous"),
        ("homework.finetune", "tset", "no command 'tset'; the nearest is test"),
        ("homework.finetune", "restore a b c", "one argument too many: c"),
        ("homework.download", "--ulr x", "no option '--ulr'; the nearest is --url"),
        ("lab.record", "setup --fast", "no option '--fast'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_runs_nothing(
    monkeypatch, capsys, module, arguments, said
):
    code, out, err = outcome(monkeypatch, capsys, module, *arguments.split())
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert err.startswith("error: ") and said in err
    assert re.search(rf"; see python -m {re.escape(module)}( \w+)? --help$", err)


def test_options_reach_the_command_as_fire_reads_them(monkeypatch):
    def command(folder: str, sizes: tuple = (), rate: float = 0.1, keep: bool = True) -> None:
        """Nothing."""
        given.append((folder, sizes, rate, keep))

    given = []
    for line in ("a 1,2 --rate=-0.5 --nokeep", "--keep --folder a", "-f a -r 3 --keep False"):
        monkeypatch.setattr(sys, "argv", ["program", *line.split()])
        cli.run(command)
    assert given == [("a", (1, 2), -0.5, False), ("a", (), 0.1, True), ("a", (), 3, False)]


def test_help_loads_no_model_library():
    code = f"""if True:
        import runpy, sys
        for door in {FRONT_DOORS}:
            sys.argv = [door, "--help"]
            sys.modules.pop(door, None)
            runpy.run_module(door, run_name="__main__", alter_sys=True)
        heavy = {{"torch", "PIL", "matplotlib", "transformers", "numpy", "tqdm", "gradio"}}
        assert not heavy & {{name.partition(".")[0] for name in sys.modules}}
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_message_quotes_is_printable_and_cut():
    name = "a\x1b[31m\u202e\ud800" + "b" * 30_000
    message = str(InputError(f"{name}: not the name of a base; give its base"))
    assert message.isprintable() and message.startswith(r"a\x1b[31m\u202e\ud800bbb")
    assert len(message) < 400 and message.endswith("; give its base")
    assert len(str(InputError("a b " * 30_000))) <= 2000


# A bar that Ctrl-C stops in its constructor: before and after it has been given `disable`.
HALF_MADE = """if True:
    import sys, tqdm
    from homework.common import cli
    def stopped():
        bar = tqdm.tqdm.__new__(tqdm.tqdm)
        if {late}:
            bar.disable, bar.last_print_t, bar.start_t, bar.leave = False, 0, 0, True
        raise KeyboardInterrupt
    tqdm.tqdm.__del__ = lambda bar: bar.disable or bar.pos
    sys.argv = ["command"]
    cli.run(stopped)
"""


@pytest.mark.parametrize("late", [False, True])
def test_a_bar_that_ctrl_c_stops_half_made_says_nothing(late):
    ended = subprocess.run(
        [sys.executable, "-c", HALF_MADE.format(late=late)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 130
    assert ended.stderr == "stopped by Ctrl-C; what was complete is kept\n"


@pytest.mark.parametrize(
    "number, line",
    [
        (errno.EACCES, "cannot be read or written (Permission denied); change its permissions"),
        (errno.ENOTDIR, "cannot be read or written (Not a directory)"),
        (errno.EROFS, "cannot be written (Read-only file system); give a folder that you may"),
        (errno.ENOSPC, "cannot be written (No space left on device); make room there"),
    ],
)
def test_an_error_of_the_system_is_called_one_of_writing_where_it_must_be(
    monkeypatch, capsys, number, line
):
    def refused() -> None:
        raise OSError(number, os.strerror(number), "data/train")

    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit, match="1"):
        cli.run(refused)
    assert capsys.readouterr().err.startswith(f"error: data/train: {line}")
