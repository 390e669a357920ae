"""One form of the stem is trained for a moment and measured; what is there is not made again."""

import json

import pytest
from helpers import make_split

from homework.common.errors import InputError
from lab.benchmarks import stems
from lab.pretraining import architecture


@pytest.mark.slow
def test_a_form_is_trained_and_measured_once(tmp_path, monkeypatch, capsys):
    train = str(make_split(tmp_path / "train", frames=10, seed=0))
    monkeypatch.setitem(
        stems.FORMS, "narrow", {"stem_channels": [4, 8, 12], "stem_blocks": [0] * 3}
    )
    options = {"seconds": 0.01, "forms": "narrow", "output": str(tmp_path / "out")}
    stems.run(train, **options)
    assert architecture.STEM["stem_channels"] == [32, 96, 192]  # as it was
    row = json.loads((tmp_path / "out" / "narrow.json").read_text())["result"]
    assert row["pictures"] == 32 and row["karts"] > 0
    assert all(value > 0 for value in row["losses"].values())
    printed = capsys.readouterr().out
    assert "| narrow |" in printed

    stems.run(train, **options)
    again = capsys.readouterr().out
    assert "views to learn from" not in again
    before, after = (text.splitlines() for text in (printed, again))
    assert after[:-1] == before[-len(after) : -1]  # the same table
    assert json.loads(after[-1])["results"] == json.loads(before[-1])["results"]
    with pytest.raises(InputError, match="made with other options"):
        stems.run(train, **options | {"seconds": 0.02})
    with pytest.raises(InputError, match="--forms"):
        stems.run(train, **options | {"forms": "round"})
