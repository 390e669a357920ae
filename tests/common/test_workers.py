"""Several processes: results in order, errors and kills told."""

import os
import time

import pytest

from homework.common.errors import InputError
from homework.common.workers import ordered_map


def test_results_come_in_order():
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * number

    with ordered_map(slow_first, range(20), 3) as results:
        assert list(results) == [number * number for number in range(20)]


def test_a_workers_error_arrives_with_its_traceback():
    def fail(number: int) -> int:
        return 1 // number

    with pytest.raises(ZeroDivisionError) as raised, ordered_map(fail, [1, 0], 2) as results:
        list(results)
    assert "return 1 // number" in raised.value.__notes__[0]


def test_a_killed_worker_is_one_line():
    with (
        pytest.raises(InputError, match="a worker process was killed"),
        ordered_map(lambda _: os._exit(1), [1, 2], 2) as results,
    ):
        list(results)
