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

from grader.lock import Policy, audit, limit_resources, syscalls

if sys.platform != "linux":
    pytest.skip("the kernel's layers need Linux", allow_module_level=True)

from grader.lock import seccomp

PID = 4321
DENY = seccomp.FAIL | 1
NO_SUCH_CALL = seccomp.FAIL | 38
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def verdict(machine: str, number: int, *arguments: int, arch=None, **options) -> int:
    """What the filter returns for a system call: a small interpreter of its instructions."""
    code = seccomp.program(machine, PID, DENY, **options)
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
        if operation == seccomp.AND:
            value &= k
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
def test_the_listed_calls_pass_and_every_other_is_denied(machine):
    allowed = {number(machine, n) for calls in syscalls.ALLOWED.values() for n in calls.values()}
    judged = {number(machine, n) for n in syscalls.JUDGED.values()}
    missing = {number(machine, n) for n in syscalls.MISSING.values()}
    for call in {*range(600), 2**30 - 1}:
        if call in allowed:
            assert verdict(machine, call, *[2**64 - 1] * 6) == seccomp.ALLOW
        elif call in missing:
            assert verdict(machine, call) == NO_SUCH_CALL
        elif call not in judged:
            assert verdict(machine, call) == DENY
    assert not allowed & (judged | missing) - {None}


def test_a_limit_that_cannot_be_set_is_an_error(monkeypatch):
    def refused(*_):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr("resource.setrlimit", refused)
    with pytest.raises(ValueError, match="maximum limit"):
        limit_resources(Policy("/nowhere", "/nowhere", []))


def test_no_call_is_both_allowed_and_described_as_denied():
    denied = [name for calls in syscalls.DENIED.values() for name in calls]
    allowed = [name for calls in syscalls.ALLOWED.values() for name in calls]
    assert len({*denied, *allowed}) == len(denied) + len(allowed)
    assert len(syscalls.JUDGED) == 13


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_calls_that_depend_on_their_arguments(machine):
    def of(name, *arguments, **options):
        return verdict(machine, number(machine, syscalls.JUDGED[name]), *arguments, **options)

    # What the C library makes a thread with; then fork, vfork, and a thread in a namespace.
    assert of("clone", 0x3D0F00) == seccomp.ALLOW
    assert {of("clone", flags) for flags in (0x1200011, 0x4111, 0x103D0F00, 0x3D4F00)} == {DENY}
    for call in ("kill", "tgkill"):
        assert of(call, PID, 9) == seccomp.ALLOW
        assert {of(call, pid, 9) for pid in (0, 1, -1, -PID, PID + 1)} == {DENY}
    assert of("prlimit64", 0, 7, 0, 0x7FFF12345678) == seccomp.ALLOW
    assert of("prlimit64", PID, 7, 0) == seccomp.ALLOW and of("prlimit64", 1, 7, 0) == DENY
    assert of("prlimit64", 0, 7, 0x7FFF12345678) == of("prlimit64", 0, 7, 0x7FFF00000000) == DENY
    assert of("socket", 2, 1) == DENY and of("socket", 1, 1) == seccomp.FAIL | 1
    assert of("sendmsg", 5, channel=5) == seccomp.ALLOW
    assert of("sendmsg", 6, channel=5) == of("sendmsg", 0) == DENY
    assert of("prctl", 0x53564D41) == seccomp.FAIL | 22  # names of memory, without a report
    assert of("sched_setaffinity", 0) == seccomp.ALLOW
    assert of("sched_setaffinity", 0, one_processor=True) == DENY
    assert of("sched_setaffinity", PID) == of("sched_setaffinity", 1) == DENY


@pytest.mark.parametrize("machine", seccomp.MACHINES)
@pytest.mark.parametrize(
    ("call", "place", "allowed", "denied"),
    [
        # isatty, the terminal's width; FS_IOC_SETFLAGS, TIOCSTI, FIOSETOWN, FIOASYNC
        ("ioctl", 1, [0x5401, 0x5413], [0x40086602, 0x5412, 0x8901, 0x5452, 0xC00846D6]),
        # F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETPIPE_SZ, F_SETLEASE, F_NOTIFY, F_ADD_SEALS
        ("fcntl", 1, [0, 2, 4, 1030], [8, 10, 15, 1031, 1024, 1026, 1033]),
        # PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_PTRACER
        ("prctl", 0, [15, 16], [1, 4, 22, 0x59616D61]),
        # MADV_MERGEABLE, MADV_PAGEOUT, MADV_HWPOISON
        ("madvise", 2, [4, 8, 14, 102], [12, 21, 100]),
    ],
)
def test_options_that_a_call_may_have(machine, call, place, allowed, denied):
    def of(value, **options):
        arguments = [0] * place + [value]
        return verdict(machine, number(machine, syscalls.JUDGED[call]), *arguments, **options)

    assert {of(value) for value in allowed} == {seccomp.ALLOW}
    assert {of(value) for value in denied} == {DENY}
    if call == "ioctl":  # NVIDIA's, its memory's, AMD's and the kernel's graphics
        drivers = (0xC00846D6, 0x30000001, 27, 0xC0184B02, 0xC0106401)
        assert {of(value, gpus=True) for value in drivers} == {seccomp.ALLOW}
        assert {of(value, gpus=True) for value in denied[:-1]} == {DENY}


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_writing_is_left_to_landlock_where_there_is_one(machine):
    call, writing = number(machine, syscalls.JUDGED["openat"]), os.O_WRONLY | os.O_CREAT
    assert verdict(machine, call, -100, 1, writing) == seccomp.ALLOW
    assert verdict(machine, call, -100, 1, writing, deny_writing=True) == DENY
    reading = os.O_RDONLY | os.O_CLOEXEC
    assert verdict(machine, call, -100, 1, reading, deny_writing=True) == seccomp.ALLOW


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_another_architectures_calls_end_the_process(call, arch):
    if arch not in seccomp.AUDIT_ARCH.values():
        assert verdict("x86_64", call, arch=arch) == seccomp.KILL_PROCESS
    assert verdict("x86_64", call | seccomp.X32_CALLS) != seccomp.ALLOW


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_the_numbers_are_those_of_the_kernels_headers(machine):
    if not HEADERS[machine].exists():
        pytest.skip("no kernel headers here")
    text = HEADERS[machine].read_text().replace("__NR3264_fstatat", "__NR_newfstatat")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)
    headers = {name: int(value) for name, value in found}
    groups = [*syscalls.ALLOWED.values(), *syscalls.DENIED.values(), syscalls.MISSING]
    for group in groups:
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
