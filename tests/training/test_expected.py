"""How long a training takes: the line before it, and the question where it takes days."""

from __future__ import annotations

import io

import pytest

from homework import finetune
from homework.common.distributed import duration
from homework.common.errors import InputError
from homework.training import expected
from homework.training.expected import Work
from homework.training.task import FineTuning

SLOW = Work(3281, 16, 17 * 231, 52_490, 296_621, 2.85)  # SmolVLM-256M on a laptop


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (7, "7 s"),
        (99.4, "99 s"),
        (100, "1.7 min"),
        (15 * 60, "15 min"),
        (3.4 * 3600, "3.4 h"),
        (42 * 3600, "42 h"),
        (257 * 3600, "11 days"),
    ],
)
def test_a_time_in_few_digits(seconds, text):
    assert duration(seconds) == text


def test_the_line_says_what_would_take_less():
    assert expected.line(SLOW, 280.0) == (
        "about 43 h on this machine; with --base embedded_base about 4.7 min; "
        "with --max_samples 5000 about 3.9 h"
    )
    assert expected.line(SLOW._replace(seconds=0.05), 5.0) == "about 45 min on this machine"
    assert "embedded_base" not in expected.line(SLOW, None)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_more_than_a_day_is_asked_about(monkeypatch):
    expected.confirm(SLOW, "about 43 h", True)
    expected.confirm(SLOW._replace(seconds=1), "about 15 h", False)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(InputError, match="about 43 h; give --yes"):
        expected.confirm(SLOW, "about 43 h", False)
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    expected.confirm(SLOW, "about 43 h", False)
    monkeypatch.setattr("sys.stdin", Terminal("\n"))
    with pytest.raises(InputError, match="not begun"):
        expected.confirm(SLOW, "about 43 h", False)


def test_a_run_of_days_is_refused_before_anything_goes(unfinished, options, monkeypatch):
    monkeypatch.setattr(FineTuning, "prepare", lambda self, **_: 1e6)
    before = sorted(unfinished.iterdir())
    with pytest.raises(InputError, match=r"about \d+ days on this machine; .*give --yes"):
        finetune.train(**options | {"overwrite": True, "seed": 1})
    assert sorted(unfinished.iterdir()) == before
    finetune.train(**options | {"yes": True})


def test_the_time_of_the_embedded_base_is_tried(options, tmp_path, monkeypatch, capsys):
    """A run that is expected to be long names the time that the embedded base would take here."""
    prepare, tried = FineTuning.prepare, []

    def slow(self, verbose=True):
        found = prepare(self, verbose)
        tried.append((self.vlm.base, found))
        return 4000.0 if verbose else found

    monkeypatch.setattr(FineTuning, "prepare", slow)
    finetune.train(**options, yes=True)
    (_, _), (base, seconds) = tried
    assert base == "embedded_base"
    said = capsys.readouterr().out
    told = duration(4 * 4 * seconds)  # four steps of four pictures
    assert f"; with --base embedded_base about {told}\n" in said and said.count("in a pass") == 1


def test_what_is_left_of_a_resumed_run_counts(unfinished, options, monkeypatch, capsys):
    monkeypatch.setattr(FineTuning, "prepare", lambda self: 1.0)
    finetune.train(**options)
    assert "about 4 s on this machine" in capsys.readouterr().out  # one step of four pictures
