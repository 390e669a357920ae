"""A cgroup around a submission: the kernel's own count of memory and threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from grading import failure, model
from hostile_submissions import OVER_A_LIMIT

from grader import usage

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cgroups are Linux's")


@pytest.fixture
def made():
    """A cgroup around a process, if this user may make one."""
    process = subprocess.Popen(["sleep", "60"])
    folder = usage.make_cgroup(process.pid, 10**9, 50)
    yield folder
    process.kill()
    process.wait()
    if folder:
        usage.remove_cgroup(folder)
        assert not folder.exists()


def test_a_process_is_put_into_a_cgroup_of_its_own(made):
    if not made:
        pytest.skip("this user may make no cgroup")
    assert (made / "cgroup.procs").read_text().count("\n") == 1
    assert int((made / "memory.max").read_text()) == 10**9 // 4096 * 4096
    assert not usage.ran_out_of_memory(made)
    usage.remove_cgroup(made)
    assert made.exists(), "a process is in it"


def test_shared_memory_and_threads_are_the_kernels_to_count(made, graded, monkeypatch):
    if not made:
        pytest.skip("this user may make no cgroup")
    monkeypatch.setattr("grader.usage.MEMORY_LIMIT_BYTES", 500_000_000)
    monkeypatch.setattr("grader.usage.THREAD_LIMIT", 50)
    monkeypatch.setattr("grader.usage.excess", lambda *_: None)
    for name in ("shared memory given back", "shared memory all but unmapped",
                 "shared memory of a thread that outlives the first"):  # fmt: skip
        out, result = graded(model(OVER_A_LIMIT[name][0]))
        assert failure(result, out)[1] == "used over 0.5 GB of memory and was stopped", name
        assert result["lock"]["active"][-1] == "cgroup"
    out, result = graded(model(OVER_A_LIMIT["threads without end"][0]))
    assert "can't start new thread" in failure(result, out)[1]
    assert graded()[1]["total"] == 105


@pytest.mark.parametrize(
    ("own", "controllers"),
    [("0::/a/b\n", "cpu"), ("0::/a/b\n", None), ("5:memory:/x\n0::/\n", None), ("", None)],
)
def test_where_none_can_be_made_nothing_is_left(tmp_path, monkeypatch, own, controllers):
    (tmp_path / "own").write_text(own)
    (tmp_path / "root" / "a").mkdir(parents=True)
    if controllers:
        (tmp_path / "root" / "a" / "cgroup.subtree_control").write_text(controllers)
    monkeypatch.setattr(usage, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(usage, "CGROUPS", tmp_path / "root")
    before = {*tmp_path.rglob("*")}
    assert usage.make_cgroup(os.getpid(), 10**9, 50) is None
    assert {*tmp_path.rglob("*")} == before
