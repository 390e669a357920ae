"""Submissions that try what grading does not allow, as a table: name, code, what is reported.

Most try it while they are imported, catch whatever stops them and then answer every question
rightly: they must keep their points, be named, and change nothing. `{name}` in the code stands
for a path of the test: `{data}` the data folder, `{outside}` a folder, `{secret}` a file in it.
"""

from __future__ import annotations

import platform
from typing import NamedTuple

from fake_submission import GOOD, VLM

from grader.lock import syscalls


class Attempt(NamedTuple):
    """Code that must fail by an exception.

    Attributes:
        name: what it tries.
        code: Python; native code makes its calls through `libc` and `call(number, ...)`, which
            raise OSError like Python's own functions.
        denied: a regular expression that a reported denial must match; None where the kernel
            refuses without telling anyone.
        layer: what stops it: "hook" for Python's audit hook, or "seccomp", "Landlock", "limits".
    """

    name: str
    code: str
    denied: str | None
    layer: str = "hook"


SOCKET = "tried to open a socket"
PROCESS = r"tried to start a process"
NATIVE = r": not allowed in grading \(from native code\)"

ATTEMPTS = [
    # the network
    Attempt("tcp", "import socket; socket.create_connection(('127.0.0.1', 9), 1)", "look up"),
    Attempt("tcp by number", "import socket; socket.socket().connect(('1.1.1.1', 80))", SOCKET),
    Attempt("udp", "import socket; socket.socket(type=socket.SOCK_DGRAM)", SOCKET),
    Attempt("unix socket", "import socket; socket.socket(socket.AF_UNIX)", SOCKET),
    Attempt("raw socket", "import socket; socket.socket(type=socket.SOCK_RAW)", SOCKET),
    Attempt("socket pair", "import socket; socket.socketpair()", SOCKET, "seccomp"),
    Attempt("name lookup", "import socket; socket.gethostbyname('x.org')", r"address \(x.org\)"),
    Attempt("url", "import urllib.request as u; u.urlopen('http://x.org')", r"address \(x.org\)"),
    Attempt("asyncio", "import asyncio; asyncio.run(asyncio.sleep(0))", SOCKET, "seccomp"),
    Attempt("native socket", "call('socket', 2, 1, 0)", SOCKET + NATIVE, "seccomp"),
    # processes
    Attempt("fork", "os.fork()", PROCESS),
    Attempt("exec", "os.execv('/bin/true', ['true'])", PROCESS),
    Attempt("system", "os.system('touch {outside}/x')", PROCESS),
    Attempt("popen", "os.popen('id').read()", PROCESS),
    Attempt("spawn", "os.posix_spawn('/bin/true', ['true'], {{}})", PROCESS),
    Attempt("subprocess", "import subprocess; subprocess.run(['sleep', '9'])", r"\(sleep\)"),
    Attempt("pty", "import pty; pty.fork()", PROCESS),
    Attempt(
        "multiprocessing",
        "import multiprocessing as m; p = m.get_context('fork').Process(); p.start()",
        PROCESS,
    ),
    Attempt(
        "below subprocess",
        "import _posixsubprocess as p; r, w = os.pipe(); n = -1\n"
        "p.fork_exec([b't'], [b'/bin/true'], True, (w,), None, None, *[n] * 6, r, w, True, False,"
        " n, None, None, None, n, None, *[False] * (sys.version_info >= (3, 11)))",
        PROCESS + NATIVE,
        "seccomp",
    ),
    Attempt("native fork", "check(libc.fork())", PROCESS + NATIVE, "seccomp"),
    Attempt("native vfork", "call('vfork')", PROCESS + NATIVE, "seccomp"),
    Attempt(
        "native system", "check(-1 if libc.system(b'true') else 0)", PROCESS + NATIVE, "seccomp"
    ),
    Attempt("native exec", "libc.execv(b'/bin/true', None); check(-1)", PROCESS, "seccomp"),
    # writing
    Attempt("write own file", "open(__file__, 'a')", "write homework/__init__.py"),
    Attempt("write elsewhere", "open('{outside}/x', 'w')", "write /.*/x"),
    Attempt("write with os.open", "os.open('{outside}/x', os.O_CREAT | os.O_WRONLY)", "write /"),
    Attempt("write with pathlib", "import pathlib; pathlib.Path('x').write_text('')", "write x"),
    Attempt("write the questions", "open('{data}/valid_grader/a_qa_pairs.json', 'r+')", "write"),
    Attempt("nameless file", "os.open('{outside}', os.O_TMPFILE | os.O_RDWR)", "write"),
    Attempt("temporary file", "import tempfile; tempfile.TemporaryFile()", "write tmp"),
    Attempt("temporary folder", "import tempfile; tempfile.mkdtemp()", "make tmp/"),
    Attempt("database", "import sqlite3; sqlite3.connect('{outside}/x.db')", "write /.*/x.db"),
    Attempt(
        "shared memory",
        "from multiprocessing import shared_memory as s; s.SharedMemory('x', True, 9)",
        None,
        "Landlock",
    ),
    Attempt("delete", "os.remove('{secret}')", "delete"),
    Attempt("delete own file", "os.unlink(__file__)", "delete homework/__init__.py"),
    Attempt("delete a tree", "import shutil; shutil.rmtree('{outside}')", "read|delete"),
    Attempt("delete a folder", "os.rmdir('{outside}')", "delete"),
    Attempt("rename", "os.replace(__file__, 'x')", "rename homework/__init__.py"),
    Attempt("make a folder", "os.mkdir('{outside}/x')", "make /"),
    Attempt("link", "os.symlink('/etc/passwd', 'x')", "link /etc/passwd"),
    Attempt("hard link", "os.link('{secret}', 'x')", "link /"),
    Attempt("truncate", "os.truncate('{secret}', 0)", "write /"),
    Attempt("chmod", "os.chmod('{secret}', 0o777)", "change the rights of /"),
    Attempt("chown", "os.chown('{secret}', 1, 1)", "change the owner of /"),
    Attempt("touch", "os.utime('{secret}')", "change the time of /"),
    Attempt("named pipe", "os.mkfifo('x')", "make a folder, link or device", "seccomp"),
    Attempt("native write", "check(libc.open(b'{outside}/x', 0o101, 0o644))", None, "Landlock"),
    Attempt("native append", "check(libc.open(b'{secret}', 0o2001))", None, "Landlock"),
    Attempt("native delete", "check(libc.unlink(b'{secret}'))", "delete a file", "seccomp"),
    Attempt(
        "native rename",
        "check(libc.rename(b'{secret}', b'x'))",
        "rename a file",
        "seccomp",
    ),
    # reading
    Attempt("passwords", "open('/etc/passwd')", "read /etc/passwd, which is none of its files"),
    Attempt("a way up", "open('../' * 40 + 'etc/passwd')", "read /etc/passwd"),
    Attempt("a way around", "open('/proc/self/root/etc/passwd')", "read /proc/self/root/etc/pa"),
    Attempt("every file", "os.listdir('/')", "read /"),
    Attempt("a stranger's file", "open('{secret}')", "read /"),
    Attempt("scan", "list(os.scandir('{outside}'))", "read /"),
    Attempt("answers", "open('{data}/valid_grader/a_qa_pairs.json')", "look at the expected answ"),
    Attempt("answers' folder", "os.listdir('{data}/valid')", "look at the expected answers"),
    Attempt("import from there", "sys.path.insert(0, '{data}'); import valid.x", "look at the exp"),
    Attempt("native read", "check(libc.open(b'{secret}', 0))", None, "Landlock"),
    Attempt(
        "native read of answers",
        "check(libc.open(b'{data}/valid_grader/a_qa_pairs.json', 0))",
        None,
        "Landlock",
    ),
    Attempt("grader's environment", "open(f'/proc/{{os.getppid()}}/environ')", "read /proc/"),
    Attempt("grader's memory", "open(f'/proc/{{os.getppid()}}/mem', 'rb')", "read /proc/"),
    # other processes, and the lock itself
    Attempt("ptrace", "call('ptrace', 16, os.getppid(), 0, 0)", "look into another", "seccomp"),
    Attempt(
        "remote memory", "call('process_vm_readv', os.getppid(), 0, 0, 0, 0, 0)", "look", "seccomp"
    ),
    Attempt("kill the grader", "os.kill(os.getppid(), 9)", "signal another process"),
    Attempt("kill everybody", "os.kill(-1, 9)", "signal another process"),
    Attempt("native kill", "check(libc.kill(os.getppid(), 9))", "signal another", "seccomp"),
    Attempt(
        "raise limits",
        "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (1, 1))",
        "change its limits",
    ),
    Attempt("native limits", "call('prlimit64', 0, 1, bytes(16), 0)", "limits", "seccomp"),
    Attempt("mount", "check(libc.mount(b'x', b'/mnt', b'tmpfs', 0, 0))", "system", "seccomp"),
    Attempt("namespaces", "check(libc.unshare(0x10000000))", "change the system", "seccomp"),
    Attempt("io_uring", "call('io_uring_setup', 4, bytes(120))", "part of the kernel", "seccomp"),
    Attempt("bpf", "call('bpf', 0, bytes(64), 64)", "part of the kernel", "seccomp"),
    # what only newer kernels have, or hardly anybody uses
    Attempt(
        "new attributes",
        "call('setxattrat', -100, b'{secret}', 0, b'user.x', bytes(16), 16)",
        "change a file's rights",
        "seccomp",
    ),
    Attempt(
        "new flags",
        "call('file_setattr', -100, b'{secret}', bytes(24), 24, 0)",
        "change a file's rights",
        "seccomp",
    ),
    Attempt(
        "attributes removed",
        "call('removexattrat', -100, b'{secret}', 0, b'user.x')",
        "change a file's rights",
        "seccomp",
    ),
    Attempt(
        "file flags",
        "n = os.open(__file__, 0)\ncheck(libc.ioctl(n, 0x40086602, bytes(8)))",
        "lock an open file",
        "seccomp",
    ),
    Attempt("another's shared memory", "call('shmctl', 0, 2, bytes(128))", "shared", "seccomp"),
    Attempt("attached memory", "call('shmat', 0, 0, 0)", "shared memory", "seccomp"),
    Attempt("another's messages", "call('msgrcv', 0, bytes(99), 9, 0, 0)", "shared", "seccomp"),
    Attempt("another's semaphores", "call('semctl', 0, 0, 2, bytes(128))", "shared", "seccomp"),
    Attempt("a file in memory", "os.memfd_create('x')", "shared memory", "seccomp"),
    Attempt("priority", "os.setpriority(0, os.getppid(), 19)", "priority", "seccomp"),
    Attempt("processors", "os.sched_setaffinity(os.getppid(), {{0}})", "processors", "seccomp"),
    Attempt(
        "scheduler",
        "os.sched_setscheduler(os.getppid(), 3, os.sched_param(0))",
        "priority",
        "seccomp",
    ),
    Attempt("disk priority", "call('ioprio_set', 1, os.getppid(), 0x6000)", "priority", "seccomp"),
    Attempt(
        "signal by a pipe",
        "import fcntl; fcntl.fcntl(os.pipe()[0], 8, os.getppid())",
        "change or lock an open file",
        "seccomp",
    ),
    Attempt(
        "a short pipe",
        "import fcntl; fcntl.fcntl(os.pipe()[1], 1031, 4096)",
        "change or lock an open file",
        "seccomp",
    ),
    Attempt(
        "a file lock",
        "import fcntl; fcntl.flock(os.open(__file__, 0), 2)",
        "lock an open",
        "seccomp",
    ),
    Attempt(
        "outlive the grader",
        "check(libc.prctl(1, 0, 0, 0, 0))",
        "how the system treats it",
        "seccomp",
    ),
    Attempt("a filter", "call('seccomp', 1, 0, bytes(16))", "how the system", "seccomp"),
    Attempt("a filter by prctl", "check(libc.prctl(22, 2, bytes(16)))", "how the", "seccomp"),
    Attempt("leave the group", "os.setpgid(0, 0)", "how the system treats it", "seccomp"),
    Attempt("merged memory", "call('madvise', 0, 4096, 12)", "how the system", "seccomp"),
    Attempt("watch files", "check(libc.inotify_init1(0))", "watch files", "seccomp"),
    Attempt("a call of the future", "check(libc.syscall(999))", "system call 999", "seccomp"),
]

_FRAME = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)

def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result

def call(name, *arguments):
    return check(libc.syscall(NUMBERS[name], *arguments))

NUMBERS = {numbers}

def attempt():
    {code}

try:
    attempt()
except Exception as error:
    print("STOPPED", repr(error))
else:
    print("SUCCEEDED")

from .vlm import load_vlm
"""


def numbers() -> dict[str, int]:
    """The system calls that attempts make by name, for this machine."""
    column = {"x86_64": 0, "aarch64": 1}[platform.machine()]
    found = {name: n[column] for calls in syscalls.DENIED.values() for name, n in calls.items()}
    return {name: number for name, number in found.items() if number is not None}


def submission(attempt: Attempt, numbers: dict[str, int], **paths: object) -> dict[str, str]:
    """The files of a submission that makes an attempt and then answers rightly.

    Args:
        numbers: of the system calls that are made by name.
        paths: what stands for `{name}` in its code.
    """
    code = attempt.code.format(**paths).replace("\n", "\n    ")
    return GOOD | {"__init__.py": _FRAME.format(numbers=numbers, code=code)}


class Forgery(NamedTuple):
    """A submission that wants points it has not earned; every answer of its model is wrong.

    Attributes:
        name: what it does.
        where: the file that `code` is put at the end of, or "answer" for the method's body.
        code: Python.
        reported: a regular expression that the output must match.
    """

    name: str
    where: str
    code: str
    reported: str


WRONG = r"100 +0\.0% \(0 right\)"
_RETURN = "return ['no'] * len(questions)"
_REPLIES = (
    "for fd in range(3, 12):\n"
    "    try: os.write(fd, (json.dumps({}) + '\\n').encode())\n"
    "    except OSError: pass\n"
)

FORGERIES = [
    Forgery("own benchmark", "data.py", "benchmark = lambda *_: 1 / 0", WRONG),
    Forgery(
        "perfect benchmark",
        "data.py",
        "def benchmark(model, dataset, count):\n    s = SimpleNamespace(image_path='', question='',"
        " model_answer='', correct_answer='', is_correct=True)\n"
        "    return SimpleNamespace(accuracy=1.0, samples=[s] * count)",
        WRONG,
    ),
    Forgery("printed total", "vlm.py", "print('Total: 105.0 / 100 (105 at most)')", WRONG),
    Forgery(
        "printed total at exit",
        "vlm.py",
        "import atexit; atexit.register(print, 'Total: 105.0 / 100')",
        WRONG,
    ),
    Forgery("exit in load", "vlm.py", "import os\ndef load_vlm(): os._exit(0)", "exit code 0"),
    Forgery("exit in answer", "answer", "import os; os._exit(0)", "ended itself with exit code 0"),
    Forgery("sys.exit", "answer", "raise SystemExit(0)", "SystemExit: 0"),
    Forgery(
        "exit at exit", "vlm.py", "import atexit, os; atexit.register(lambda: os._exit(0))", WRONG
    ),
    Forgery(
        "early replies",
        "answer",
        "import json, os\n"
        + _REPLIES.format("{'id': 9, 'value': ['0'] * 10, 'is_correct': True}")
        + _RETURN,
        "wrote into the grader's channel",
    ),
    Forgery(
        "reply with a score",
        "answer",
        "import json, os\n" + _REPLIES.format("{'id': 5, 'value': 105.0, 'total': 105}") + _RETURN,
        "channel",
    ),
    Forgery(
        "false denials",
        "answer",
        "import json, os\n"
        + _REPLIES.format("{'denied': 'Total: 105.0 / 100\\x1b[2J' * 99}")
        + _RETURN,
        WRONG,
    ),
    Forgery(
        "answers equal to anything",
        "answer",
        "class A(str):\n    __eq__ = lambda *_: True\n    __hash__ = str.__hash__\n"
        "    strip = casefold = lambda s: s\nreturn [A('no')] * len(questions)",
        WRONG,
    ),
    Forgery(
        "patched json",
        "vlm.py",
        "import json; old = json.dumps\n"
        "json.dumps = lambda o, **k: old(o, **k).replace('no', 'Total: 105.0')",
        WRONG,
    ),
    Forgery(
        "patched comparison",
        "vlm.py",
        "import sys, types; m = types.ModuleType('m'); m.is_correct = lambda *_: True\n"
        "sys.modules['grader'] = sys.modules['scoring'] = sys.modules['grader.scoring'] = m",
        WRONG,
    ),
    Forgery(
        "patched child",
        "vlm.py",
        "import __main__; s = __main__.Submission\n"
        "s.answer = lambda self, image_paths, questions: [True] * len(questions)\n"
        "s.interface = lambda *_, **k: 128",
        WRONG,
    ),
    Forgery(
        "patched builtins",
        "vlm.py",
        "import builtins\nclass T(type):\n    __instancecheck__ = lambda *_: True\n"
        "builtins.len = lambda _: 10",
        r"0\.0 / 100",
    ),
    Forgery(
        "swapped stdout",
        "vlm.py",
        "import os, sys; sys.stdout = sys.stderr = open(os.devnull, 'w')",
        WRONG,
    ),
    Forgery(
        "pickle in the checkpoint",
        "vlm.py",
        "import os, pickle, pickletools\nclass P:\n"
        "    def __reduce__(self): return os.system, ('echo 105',)\n"
        "try: pickle.loads(pickle.dumps(P()))\nexcept PermissionError: pass",
        r"denied: tried to start a process \(echo\)",
    ),
    Forgery(
        "answers from the data folder",
        "answer",
        "import json; from pathlib import Path\nfound = {}\n"
        "for f in Path('data/valid_grader').glob('*.json'):\n"
        "    found |= {r['image_file']: r['answer'] for r in json.loads(f.read_text())}\n"
        "return [found['/'.join(Path(p).parts[-2:])] for p in image_paths]",
        WRONG,
    ),
    Forgery(
        "answers from memory",
        "answer",
        "import gc; t = [o for o in gc.get_objects() if type(o) is dict and 'answer' in o]\n"
        "return [str(o['answer']) for o in t][:10] + ['no'] * (len(questions) - min(10, len(t)))",
        WRONG,
    ),
    Forgery(
        "the hook taken apart",
        "vlm.py",
        "import gc, os\nfor o in gc.get_objects():\n"
        "    if isinstance(o, dict) and 'os.system' in o and 'open' in o:\n        o.clear()\n"
        "assert os.system('true') != 0",
        r"denied: tried to start a process",
    ),
]


def forgery(case: Forgery) -> dict[str, str]:
    """The files of a submission with wrong answers that forges something."""
    vlm = VLM.replace("wrong = 0", "wrong = 10_000")
    if case.where == "answer":
        body = case.code.replace("\n", "\n        ")
        vlm = (
            "class Model:\n    def answer(self, image_paths, questions):\n"
            f"        {body}\ndef load_vlm():\n    return Model()\n"
        )
        return GOOD | {"vlm.py": vlm}
    files = GOOD | {"vlm.py": vlm}
    return files | {case.where: files[case.where] + case.code + "\n"}


# The first thread ends, by the system call, while another goes on.
_ONLY_A_THREAD = """\
import ctypes, mmap, platform, threading, time
def work():
    time.sleep(0.1)
    {}
    time.sleep(60)
threading.Thread(target=work).start()
ctypes.CDLL(None).syscall({{"x86_64": 60, "aarch64": 93}}[platform.machine()], 0)"""
# name -> (code of answer(), what is reported); the tests set small limits
OVER_A_LIMIT = {
    "hang": ("while True: pass", "took over 1 s and was stopped"),
    "sleep": ("import time; time.sleep(60)", "took over 1 s and was stopped"),
    "hang that ignores signals": (
        "import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except OSError: pass\nwhile True: pass",
        "took over 1 s and was stopped",
    ),
    "hang in threads": (
        "import threading, time\nfor _ in range(20):\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\ntime.sleep(60)",
        "took over 1 s and was stopped",
    ),
    "stops itself": ("import os; os.kill(os.getpid(), 19)", "took over 1 s and was stopped"),
    "endless prints": ("while True: print('y' * 99_999)", "took over 1 s and was stopped"),
    "endless denials": (
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "took over 1 s and was stopped",
    ),
    "memory at once": ("return [bytearray(2 ** 40)]", "MemoryError"),
    "memory bit by bit": (
        "a = []\nwhile True: a.append(bytearray(2 ** 20))",
        "MemoryError|used over",
    ),
    "shared memory": (
        "import mmap, time; m = mmap.mmap(-1, 2 ** 30)\nfor i in range(0, 2 ** 30, 4096):\n"
        "    m[i] = 1\ntime.sleep(60)",
        "used over 0.5 GB of memory and was stopped",
    ),
    "shared memory given back": (
        "import mmap, time; kept = []\nfor _ in range(8):\n"
        "    kept.append(m := mmap.mmap(-1, 2 ** 27))\n"
        "    for i in range(0, 2 ** 27, 4096): m[i] = 1\n"
        "    m.madvise(mmap.MADV_DONTNEED)\ntime.sleep(60)",
        "used over 0.5 GB of memory and was stopped",
    ),
    "shared memory all but unmapped": (
        "import ctypes, mmap, time; libc = ctypes.CDLL(None); kept = []\nfor _ in range(8):\n"
        "    kept.append(m := mmap.mmap(-1, 2 ** 27))\n"
        "    for i in range(0, 2 ** 27, 4096): m[i] = 1\n"
        "    start = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
        "    libc.munmap(ctypes.c_void_p(start + 4096), ctypes.c_size_t(2 ** 27 - 4096))\n"
        "time.sleep(60)",
        "used over 0.5 GB of memory and was stopped",
    ),
    "memory under another name": (
        "import ctypes, mmap, time; ctypes.CDLL(None).prctl(15, b'\\xff\\n kB', 0, 0, 0)\n"
        "m = mmap.mmap(-1, 2 ** 30)\nfor i in range(0, 2 ** 30, 4096): m[i] = 1\ntime.sleep(60)",
        "used over 0.5 GB of memory and was stopped",
    ),
    "page tables": (
        "import ctypes, mmap, time; libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p\n"
        "n = 2 ** 39\nstart = libc.mmap(None, ctypes.c_size_t(n), 1, 0x4022, -1, 0)\n"
        "libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(n), 15)\n"
        "for i in range(0, n, 2 ** 21): ctypes.c_char.from_address(start + i).value\n"
        "time.sleep(60)",
        "used over 0.5 GB of memory and was stopped",
    ),
    "threads without end": (
        "import threading, time\nwhile True:\n    time.sleep(0.001)\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()",
        "started over 50 threads and was stopped|can't start new thread",
    ),
    "shared memory of a thread that outlives the first": (
        _ONLY_A_THREAD.format(
            "m = mmap.mmap(-1, 2 ** 30)\n    for i in range(0, 2 ** 30, 4096): m[i] = 1"
        ),
        "used over 0.5 GB of memory and was stopped",
    ),
    "threads that outlive the first": (
        _ONLY_A_THREAD.format(
            "for _ in range(60): threading.Thread(target=time.sleep, args=(60,)).start()"
        ),
        "started over 50 threads and was stopped|ended its first thread",  # with a cgroup
    ),
    "the first thread alone ends": (
        _ONLY_A_THREAD.format("time.sleep(60)"),
        "ended its first thread and was stopped",
    ),
    "endless recursion": (
        "import sys; sys.setrecursionlimit(10 ** 9)\nf = lambda: f()\nf()",
        "SIGSEGV|RecursionError|MemoryError|used over",
    ),
    "open files": (
        "import os\nwhile True: os.dup(0)",
        "Too many open files",
    ),
    "endless answers": ("return ['y' * 10 ** 8] * 10", "100000000 characters"),
}

# name -> code at the top of the model's file; they must score in full, nothing denied
HONEST = {
    "prints": "print('loading'); import sys; print('to stderr', file=sys.stderr)",
    "warnings": "import warnings; warnings.warn('careful')",
    "threads": "import threading; t = threading.Thread(target=print, args=('x',)); t.start()\n"
    "t.join()\nfrom concurrent.futures import ThreadPoolExecutor\n"
    "assert list(ThreadPoolExecutor(4).map(str, range(9)))[8] == '8'",
    "matplotlib": "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot",
    "tqdm": "from tqdm import tqdm\nfor _ in tqdm(range(3)): pass",
    "logging": "import logging; logging.basicConfig(level=10); logging.info('x')",
    "temporary folder's name": "import tempfile; assert tempfile.gettempdir()",
    "the machine": "import os, platform; os.cpu_count(), platform.platform(), platform.machine()\n"
    "os.sched_getaffinity(0); open('/proc/meminfo').read(); open('/proc/cpuinfo').read()",
    "subprocess imported": "import subprocess, socket, multiprocessing, asyncio, ctypes",
    "own files": "import json, os; from pathlib import Path; here = Path(__file__).parent\n"
    "assert 'load_vlm' in (here / '__init__.py').read_text() and len(os.listdir(here)) == 3\n"
    "assert [p for p in here.rglob('*.py')] and (here / '../homework/data.py').exists()",
    "existing folder": "import os; os.makedirs(os.path.dirname(__file__), exist_ok=True)",
    "the user": "import getpass, os, pathlib; getpass.getuser(); pathlib.Path.home()\n"
    "os.path.expanduser('~nobody')",
    "optional file": "import os\ntry: open(os.path.expanduser('~/.settings'))\n"
    "except FileNotFoundError: pass",
    "null device": "import os; open(os.devnull, 'w').write('x'); os.urandom(9)",
    "numpy and pillow": "import numpy, PIL.Image; numpy.random.rand(99, 99) @ numpy.ones((99, 99))",
    "seeds and time": "import random, time; random.seed(0); time.sleep(0.01); time.localtime()",
    "a time limit of its own": "import signal\nsignal.signal(signal.SIGALRM, print)\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.01)\nimport time; time.sleep(0.05)",
    "processors of its own": "import os; os.sched_setaffinity(0, os.sched_getaffinity(0))\n"
    "os.umask(0o22); os.chdir(os.getcwd())",
    "pipes and selectors": "import os, selectors; r, w = os.pipe(); os.write(w, b'x')\n"
    "os.set_blocking(r, False); s = selectors.DefaultSelector(); s.register(r, 1)\n"
    "assert s.select(1) and os.read(r, 1) == b'x'",
    "mapped memory": "import mmap; m = mmap.mmap(-1, 4096); m.madvise(mmap.MADV_DONTNEED)",
    "modules named as the grader's": "import sys\nassert not {'child', 'lock'} & {*sys.modules}\n"
    "for name in ('child', 'lock'):\n    try: __import__(name)\n"
    "    except ImportError: pass\n    else: raise AssertionError(name)",
    "random identifiers": "import uuid, secrets, hashlib; uuid.uuid4(); hashlib.md5(b'x')",
}


def honest(code: str) -> dict[str, str]:
    """The files of a good submission with a habit."""
    return GOOD | {"vlm.py": code + "\n" + VLM}
