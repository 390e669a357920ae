"""Options: any value gets the form that its annotation names, or one line says why not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pytest
from helpers import make_split
from hypothesis import given
from hypothesis import strategies as st

from homework import generate_qa
from homework.common import options
from homework.common.errors import InputError
from homework.common.files import DATA_DIR
from homework.common.options import Count, Fraction, Natural, Positive, coerce, data_folder
from homework.data import VQADataset
from homework.frames.qa_read import find_qa_files
from homework.model import adapter_files, loading

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["~", "~/a", "~nobody-of-this-name"]),
    st.lists(st.text(max_size=2), max_size=2),
    st.dictionaries(st.text(max_size=1), st.none(), max_size=1),
    st.just(Path("~/x")),
)
KINDS = {
    str: lambda value: type(value) is str,
    Path: lambda value: isinstance(value, Path) and not str(value).startswith("~/"),
    bool: lambda value: type(value) is bool,
    Count: lambda value: type(value) is int and value >= 1,
    Natural: lambda value: type(value) is int and value >= 0,
    Annotated[int, 1, 2]: lambda value: value in (1, 2),
    Positive: lambda value: type(value) in (int, float) and value > 0,
    Fraction: lambda value: 0 < value < 1,
    Sequence[str]: lambda value: type(value) is tuple and all(type(v) is str for v in value),
    Literal["a", "b"]: lambda value: value in ("a", "b"),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(VALUES)
def test_a_value_is_of_its_kind_or_refused_by_its_flag(kind, value):
    try:
        found = coerce("--flag", value, kind)
    except InputError as error:
        assert str(error).startswith("--flag: ") and "\n" not in str(error)
    else:
        assert KINDS[kind](found)
        assert coerce("--flag", found, kind) == found
    assert coerce("--flag", None, kind | None) is None


def test_a_flag_names_its_bounds_and_its_words():
    for kind, said in (
        (Count | Literal[-1], "a whole number of 1 or more, or -1, not 0"),
        (Annotated[int, 1, 9], "a whole number from 1 to 9, not 0"),
        (Positive, "a number above 0, not 0"),
        (Literal["a", "b"], "one of a, b, not 0"),
        (bool, "True or False, not 0"),
    ):
        with pytest.raises(InputError, match=f"^--flag: give {said}$"):
            coerce("--flag", 0, kind)
    assert coerce("--flag", -1, Count | Literal[-1]) == -1


def test_every_command_finds_its_data_in_the_same_way(monkeypatch, tmp_path):
    make_split(tmp_path / "home" / "data" / "train", frames=1, seed=0)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    there = tmp_path / "home" / "data"
    assert data_folder("~/data") == there and data_folder(Path("~/data")) == there
    assert data_folder() == data_folder("") == DATA_DIR
    assert data_folder(None, "train") == DATA_DIR / "train" and data_folder(7) == Path("7")
    generate_qa.generate("~/data/train", num_workers=1)
    assert len(VQADataset("train", "~/data")) and find_qa_files(data_folder("~/data"), "train")
    with pytest.raises(InputError, match=r"^--data_dir: True is no path; give one"):
        VQADataset("train", True)  # as Fire passes on --data_dir without a value
    with pytest.raises(InputError, match=re.escape(f"{there}: not a whole checkpoint")):
        adapter_files.find("~/data")
    with pytest.raises(InputError, match=re.escape(str(there))):
        loading.find_checkpoint("~/data")


def test_a_command_gets_the_values_of_its_annotations():
    @options.checked
    def command(
        folder: Path, names: Sequence[str] = "a,b", steps: Count = 3, start: Path | None = None
    ) -> None:
        got.append((folder, names, steps, start))

    got = []
    command(7)  # Fire reads a folder's name of digits as a number
    command("~", ("a", 1), start=Path("x"))
    assert got == [(Path("7"), ("a", "b"), 3, None), (Path.home(), ("a", "1"), 3, Path("x"))]
    with pytest.raises(InputError, match=r"^--steps: give a whole number of 1 or more, not True"):
        command("a", steps=True)
    with pytest.raises(InputError, match=r"^--folder: True is no path; give one"):
        command(True)
