"""Progress told by time."""

from homework.common import progress
from homework.common.progress import Heartbeat, Progress


def at(monkeypatch) -> list[float]:
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_total_is_said_within_seconds_and_then_what_is_left(monkeypatch, capsys):
    now = at(monkeypatch)
    work = Progress("answers 120 questions", 120, "pictures")
    for _ in range(3):
        now[0] += 4.5
        work.add(1)
    assert capsys.readouterr().err.splitlines() == [
        "answers 120 questions: about 9.0 min",
        "1 of 120 pictures, 0.22 a second, 8.9 min left",
        "3 of 120 pictures, 0.22 a second, 8.8 min left",
    ]


def test_short_work_is_silent(monkeypatch, capsys):
    now = at(monkeypatch)
    work = Progress("answers", 4, "pictures")
    for _ in range(4):
        now[0] += 0.5
        work.add(1)
    assert capsys.readouterr() == ("", "")


def test_a_block_that_ends_leaves_no_thread(capsys):
    with Heartbeat(lambda: "never so soon") as heartbeat:
        heartbeat.say("at once")
    assert capsys.readouterr().out == "at once\n"
    assert not heartbeat._thread.is_alive()
