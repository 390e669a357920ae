"""JSON with and without orjson: the same values and the same bytes."""

import builtins
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homework.common import quick_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
)


def without_orjson(patch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name == "orjson":
            raise ImportError(name)
        return real(name, *rest, **more)

    patch.setattr(builtins, "__import__", refuse)


@given(VALUES)
def test_both_ways_give_the_same_bytes_and_values(value):
    quick = quick_json.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        without_orjson(patch)
        assert quick_json.dumps(value) == quick
        assert quick_json.loads(quick) == value
    assert quick_json.loads(quick) == value


def test_what_is_not_quite_json_is_read_and_what_is_none_refused(monkeypatch):
    for _ in range(2):
        assert math.isnan(quick_json.loads(b'{"a": NaN}')["a"])
        assert quick_json.loads('\ufeff{"a": 1}'.encode()) == {"a": 1}
        for broken in (b"", b"{", b"\xff", b"[" * 100_000):
            with pytest.raises(ValueError):
                quick_json.loads(broken)
        without_orjson(monkeypatch)
