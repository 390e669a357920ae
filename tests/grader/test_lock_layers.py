"""Each layer of the lock by itself: the filter read as the kernel reads it, and layers missing."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from fake_submission import ROOT
from hypothesis import given
from hypothesis import strategies as st

from grader.lock import Policy, audit, syscalls

if sys.platform != "linux":
    pytest.skip("the kernel's layers need Linux", allow_module_level=True)

from grader.lock import seccomp

PID = 4321
DENY = seccomp.FAIL | 1
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def verdict(machine: str, number: int, *arguments: int, writing=False, arch=None) -> int:
    """What the filter returns for a system call: a small interpreter of its instructions."""
    code = seccomp.program(machine, PID, DENY, writing)
    arguments += (0,) * (6 - len(arguments))
    arch = seccomp.AUDIT_ARCH[machine] if arch is None else arch
    data = struct.pack("=IIQ6Q", number, arch, 0, *(a % 2**64 for a in arguments))
    lines = list(struct.iter_unpack("=HBBI", code))
    place = value = 0
    while True:
        operation, if_true, if_false, k = lines[place]
        place += 1
        if operation == seccomp.RETURN:
            return k
        if operation == seccomp.LOAD:
            value = struct.unpack_from("=I", data, k)[0]
            continue
        holds = {
            seccomp.EQUAL: value == k,
            seccomp.AT_LEAST: value >= k,
            seccomp.ANY_BIT: bool(value & k),
        }[operation]
        place += if_true if holds else if_false


def number(machine: str, numbers: syscalls.Numbers) -> int | None:
    return numbers[seccomp.MACHINES.index(machine)]


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_every_listed_call_is_denied_and_others_pass(machine):
    calls = [n for group in syscalls.DENIED.values() for n in group.values()]
    denied = {number(machine, n) for n in calls} - {None}
    for call in denied:
        assert verdict(machine, call) == DENY
    judged = {
        number(machine, n)
        for name, n in vars(syscalls).items()
        if name.isupper() and isinstance(n, tuple)
    }
    for call in set(range(480)) - denied - judged:
        assert verdict(machine, call) == seccomp.ALLOW


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_calls_that_depend_on_their_arguments(machine):
    def of(numbers, *arguments, **options):
        return verdict(machine, number(machine, numbers), *arguments, **options)

    no_such_call = seccomp.FAIL | 38
    assert of(syscalls.CLONE3) == no_such_call
    assert of(syscalls.CLONE, 0x3D0F00) == seccomp.ALLOW  # what the C library makes a thread with
    assert of(syscalls.CLONE, 0x1200011) == of(syscalls.CLONE, 0x4111) == DENY  # fork, vfork
    for call in (syscalls.KILL, syscalls.TGKILL):
        assert of(call, PID, 9) == seccomp.ALLOW
        assert {of(call, pid, 9) for pid in (0, 1, -1, -PID, PID + 1)} == {DENY}
    assert of(syscalls.PRLIMIT64, 0, 7, 0, 0x7FFF12345678) == seccomp.ALLOW
    assert of(syscalls.PRLIMIT64, 0, 7, 0x7FFF12345678) == DENY
    assert of(syscalls.PRLIMIT64, 0, 7, 0x7FFF00000000) == DENY
    assert of(seccomp.SOCKET, 2, 1) == DENY and of(seccomp.SOCKET, 1, 1) != seccomp.ALLOW
    writing = os.O_WRONLY | os.O_CREAT
    assert of(syscalls.OPENAT, -100, 1, writing) == seccomp.ALLOW  # left to Landlock
    assert of(syscalls.OPENAT, -100, 1, writing, writing=True) == DENY
    assert of(syscalls.OPENAT, -100, 1, os.O_RDONLY | os.O_CLOEXEC, writing=True) == seccomp.ALLOW
    assert of(syscalls.OPENAT2, writing=True) == no_such_call


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_another_architectures_calls_end_the_process(call, arch):
    if arch not in seccomp.AUDIT_ARCH.values():
        assert verdict("x86_64", call, arch=arch) == seccomp.KILL_PROCESS
    assert verdict("x86_64", call | seccomp.X32_CALLS) != seccomp.ALLOW


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_the_numbers_are_those_of_the_kernels_headers(machine):
    if not HEADERS[machine].exists():
        pytest.skip("no kernel headers here")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text())
    headers = {name: int(value) for name, value in found}
    for group in syscalls.DENIED.values():
        for name, numbers in group.items():
            if name in headers:  # an older header lacks the newest
                assert number(machine, numbers) == headers[name], name
            elif machine == "aarch64" and (value := number(machine, numbers)) is not None:
                assert value not in headers.values(), name


# What is left where a layer is missing

TRIES = """
import ctypes, json, os, sys, threading
sys.path.insert(0, {root!r})
from grader import lock
from grader.lock import landlock, seccomp
from grader.lock.linux import Unavailable
def gone(*_, **__):
    raise Unavailable("not in this test")
for name in {missing!r}:
    setattr({{"Landlock": landlock, "seccomp": seccomp}}[name], "install", gone)
libc = ctypes.CDLL(None, use_errno=True)
said = []
policy = {{"folder": {folder!r}, "data_dir": {folder!r} + "/x", "readable": [sys.base_prefix,
          sys.prefix, "/usr/lib", "/lib", "/proc/self"], "devices": ["/dev/null"]}}
layers = lock.apply(policy, said.append)
def stopped(action):
    try:
        return action() == -1
    except PermissionError:
        return True
new = ({folder!r} + "/new").encode()
tried = {{
    "python write": stopped(lambda: open(new, "w")),
    "python read": stopped(lambda: open("/etc/passwd")),
    "python socket": stopped(lambda: __import__("socket").socket()),
    "native write": stopped(lambda: libc.open(new, os.O_CREAT | os.O_WRONLY, 0o600)),
    "native read": stopped(lambda: libc.open(b"/etc/passwd", 0)),
    "native socket": stopped(lambda: libc.socket(2, 1, 0)),
    "native delete": stopped(lambda: libc.unlink(b"/etc/no such file")),
    "null device": stopped(lambda: open("/dev/null", "w").close()),
}}
thread = threading.Thread(target=said.append, args=("a thread ran",))
thread.start()
thread.join()
print(json.dumps([layers, [name for name, s in tried.items() if not s], said]))
"""


@pytest.mark.parametrize(
    ("missing", "not_stopped"),
    [
        ([], ["null device"]),
        # Writing is then left to seccomp, which cannot tell the null device from a file.
        (["Landlock"], ["native read"]),
        (["seccomp"], ["native socket", "null device"]),
        (["Landlock", "seccomp"], ["native write", "native read", "native socket", "null device"]),
    ],
    ids=str,
)
def test_what_is_left_where_a_layer_is_missing(tmp_path, missing, not_stopped):
    script = TRIES.format(root=str(ROOT), folder=str(tmp_path), missing=missing)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    layers, passed, said = json.loads(done.stdout)
    absent = {line.split(":")[0] for line in layers["missing"]}
    if absent != set(missing):
        pytest.skip(f"this kernel has no {absent - set(missing)}")
    # The call that deletes a file that is not there fails in any case.
    assert passed == not_stopped
    assert [line for line in said if "python" not in line][-1] == "a thread ran"
    assert any("read /etc/passwd" in line for line in said)


def test_the_hook_follows_links_only_where_they_matter(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "secret").write_text("")
    (tmp_path / "own" / "link").symlink_to(tmp_path)
    real = os.path.realpath(tmp_path)
    policy = Policy(folder=real, data_dir=f"{real}/data", readable=[f"{real}/own"])
    rule = audit._rules(policy)["open"]
    assert rule((f"{real}/own/x", "r", 0)) is None
    assert rule((f"{real}/own/../secret", "r", 0)) == "read secret, which is none of its files"
    assert rule((f"{real}/own/link/../{tmp_path.name}/secret", "r", 0)).startswith("read ")
    assert rule((f"{real}/missing", "r", 0)) is None, "it does not exist: let that be said"
    assert rule((3, "w", os.O_WRONLY)) is None, "open already"
    assert rule((os.fsencode(f"{real}/secret"), "r", 0)) == (
        "read secret, which is none of its files"
    )
