"""Balanced sets: equal shares of the kinds, drawn by a seed."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from helpers import expected_pairs

from homework import generate_qa
from homework.common.errors import InputError
from homework.labels.questions import KINDS, kind_of


def test_balance_has_equal_shares_and_only_pairs_of_the_split(data_dir, capsys):
    generate_qa.balance("valid", per_kind=4, data_dir=str(data_dir))
    file = data_dir / "valid_grader" / "balanced_qa_pairs.json"
    drawn = json.loads(file.read_bytes())
    shares = Counter(kind_of(pair["question"]) for pair in drawn)
    assert shares.keys() == KINDS.keys()
    assert set(shares.values()) == {4}
    possible = {tuple(pair.values()) for pair in expected_pairs(data_dir / "valid")}
    assert {tuple(pair.values()) for pair in drawn} <= possible
    assert len({(pair["question"], pair["image_file"]) for pair in drawn}) == len(drawn)
    assert "skipped: nothing" in capsys.readouterr().out


def test_balance_is_drawn_by_its_seed_and_overwrites_no_other_set(data_dir):
    file = data_dir / "valid_grader" / "balanced_qa_pairs.json"
    generate_qa.balance(per_kind=4, data_dir=str(data_dir))
    first = file.read_bytes()
    generate_qa.balance(per_kind=4, data_dir=str(data_dir))
    assert file.read_bytes() == first
    with pytest.raises(InputError, match="balance --per_kind 4 --seed 1 did not write"):
        generate_qa.balance(per_kind=4, seed=1, data_dir=str(data_dir))
    assert file.read_bytes() == first
    generate_qa.balance(per_kind=4, seed=1, data_dir=str(data_dir), overwrite=True)
    assert file.read_bytes() != first


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"per_kind": 20}, "has 19 pairs of kind 'ego', not 20; give a smaller --per_kind"),
        ({"per_kind": 0}, "--per_kind: give a whole number of 1 or more, not 0"),
        ({"seed": "x"}, "--seed"),
        ({"split": "test"}, "test: no such folder"),
    ],
)
def test_wrong_input_to_balance_is_one_line(data_dir, flags, message):
    with pytest.raises(InputError, match=message):
        generate_qa.balance(data_dir=str(data_dir), **flags)
    assert not (data_dir / "valid_grader").exists()
