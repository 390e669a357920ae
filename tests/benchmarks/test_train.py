"""Options of the benchmark of training that leave nothing to measure."""

import sys

import pytest

from benchmarks import train


@pytest.mark.parametrize(
    "options, line",
    [
        ("--shapes embedded --ways|ours, default passes", "embedded has only ours; usual;"),
        ("--shapes embedded --ways|ours|nonsense", "--ways: invalid choice: 'nonsense'"),
        ("--ways|ours, text side", "smolvlm has only ours; ours, default passes; usual;"),
        ("--turns 0", "--turns of 1 or more"),
        ("--steps 1", "--steps of 2 or more"),
    ],
)
def test_what_measures_nothing_is_one_line(options, line, monkeypatch, capsys):
    first, *ways = options.split("|")
    monkeypatch.setattr(sys, "argv", ["train.py", *first.split(), *ways])
    monkeypatch.setattr(train, "measure", lambda *_: pytest.fail("a run was started"))
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert ended.value.code == 2
    assert line in capsys.readouterr().err.splitlines()[-1]
