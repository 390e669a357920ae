"""Runs in a process of its own: imports the submission and does what the parent asks.

First it imports the environment's own packages, then it locks itself, and then the submission's
first line runs; docs/trust.md says why in this order. Expected answers never come here.

Requests come on what was stdin, replies go to what was stdout; both are moved to private file
descriptors first, so that the submission's prints cannot mix with the replies. Each is a JSON
object on one line, one reply per request. Before it there can be lines of what the lock has denied:

    {"id": 3, "do": "answer", "image_paths": [...], "questions": [...]}
    {"denied": "tried to open a socket: not allowed in grading (homework/vlm.py, line 3)"}
    {"id": 3, "value": ["...", ...]}
    {"id": 3, "error": {"message": "KeyError: 'x' (homework/data.py, line 7)", "traceback": "..."}}
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import math
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from types import ModuleType
from typing import IO, Any

SUBMISSIONS = ("load", "parameters", "answer", "interface")  # requests
TEXT_FIELDS = ("image_path", "question", "model_answer", "correct_answer")
BLAS_THREADS = "OPENBLAS_NUM_THREADS"
MAX_ANSWER = 10_000  # characters; the right ones have a few
MAX_TEXT = 20_000  # characters of a message or traceback that are passed on


class Submission:
    """The submission's package and model; each public method is one request.

    Args:
        folder: the private folder that holds the package; it is imported from there.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._package: ModuleType
        self._model: Any = None

    def load(self, package: str) -> dict[str, bool]:
        """Import the package, which must come from the private folder, and build its model.

        Returns:
            What only the course's grader uses or accepts; see `course.of_model`.
        """
        if sys.platform == "linux":
            _start_blas_threads()
        sys.path.insert(0, self._folder)
        self._package = importlib.import_module(package)
        place = str(self._package.__file__)
        if not place.startswith(self._folder + os.sep):
            raise ImportError(f"{package} was imported from {place}, not from the zip")
        self._model = self._package.load_vlm()
        if not callable(getattr(self._model, "answer", None)):
            raise TypeError(f"load_vlm() gave {_type(self._model)}, which has no answer()")
        # Now: answering may import `data`, which is too late for the course's grader.
        return {
            "package.data": _has(self._package, "data"),
            "clip": _has(self._package, "load_clip"),
            "model.model": _has(self._model, "model") and _has(self._model.model, "parameters"),
        }

    def parameters(self) -> int | None:
        """The number of distinct parameters of the model, or None if it shows none.

        The model may be a module itself or hold modules as attributes (`model.model`).
        """
        found = {}
        for part in (self._model, *getattr(self._model, "__dict__", {}).values()):
            if not isinstance(part, type) and callable(getattr(part, "parameters", None)):
                # Keyed by identity: tied weights, or a part seen twice, count once.
                found |= {id(parameter): parameter for parameter in part.parameters()}
        return sum(int(p.numel()) for p in found.values()) if found else None

    def answer(self, image_paths: list[str], questions: list[str]) -> list[str]:
        """One answer per question."""
        answers = self._model.answer(list(image_paths), list(questions))
        if not isinstance(answers, (list, tuple)):
            raise TypeError(f"answer() gave {_type(answers)}, not a list of text")
        if len(answers) != len(questions):
            raise ValueError(f"answer() gave {len(answers)} answers to {len(questions)} questions")
        for index, answer in enumerate(answers):
            if not isinstance(answer, str):
                raise TypeError(f"answer() gave {_type(answer)} as answer {index}, not text")
            if len(answer) > MAX_ANSWER:
                raise ValueError(f"answer() gave {len(answer)} characters as answer {index}")
        return list(answers)

    def interface(self, split: str, count: int) -> None:
        """Call the package as the course does, and check the form of what it returns."""
        data = importlib.import_module(f"{self._package.__name__}.data")
        result = data.benchmark(self._model, data.VQADataset(split), count)
        accuracy = float(result.accuracy)
        if not (math.isfinite(accuracy) and 0 <= accuracy <= 1):
            raise ValueError(f"benchmark(): accuracy is {accuracy}, not between 0 and 1")
        samples = list(result.samples)
        for index, sample in enumerate(samples):
            for field in TEXT_FIELDS:
                if not isinstance(value := getattr(sample, field), str):
                    raise TypeError(
                        f"benchmark(): {field} of sample {index} is {_type(value)}, not text"
                    )
            bool(sample.is_correct)
        if len(samples) != count:
            raise ValueError(f"benchmark(): {len(samples)} samples for {count} questions")


class Channel:
    """Writes whole lines to an unbuffered binary file, also from several threads."""

    def __init__(self, replies: IO[bytes]) -> None:
        self._replies = replies
        self._lock = threading.RLock()

    def send(self, line: dict[str, Any]) -> None:
        """Write one line."""
        data = json.dumps(line).encode() + b"\n"
        with self._lock:
            while data:
                data = data[self._replies.write(data) :]

    def report(self, sentence: str) -> None:
        """Report a denial; one that nobody reads is denied all the same."""
        with contextlib.suppress(OSError):
            self.send({"denied": sentence[:MAX_TEXT]})


def serve(folder: str, requests: IO[bytes], channel: Channel) -> None:
    """Answer requests until there are no more."""
    submission = Submission(folder)
    methods = {
        "import_packages": import_packages,
        "lock": lambda policy: _lock(policy, channel),
        **{name: getattr(submission, name) for name in SUBMISSIONS},
    }
    for line in requests:
        request = json.loads(line)
        reply = {"id": request.pop("id")}
        method = methods[request.pop("do")]
        try:
            reply["value"] = method(**request)
        except BaseException as error:  # SystemExit and KeyboardInterrupt are results too
            reply["error"] = describe(error, folder)
        channel.send(reply)


def import_packages(names: list[str]) -> None:
    """Import the environment's own packages, before the lock; nothing of the submission's.

    The private folder is not in `sys.path` yet, so that no file of it is imported in their place.
    Their warnings are not the submission's prints.
    """
    prints, nothing = (os.dup(1), os.dup(2)), os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nothing, number)
    # Linux: OpenBLAS (numpy) would start its threads while it is loaded, out of the lock's reach.
    before = os.environ.get(BLAS_THREADS)
    if sys.platform == "linux":
        os.environ[BLAS_THREADS] = "1"
    for name in names:  # after an error nothing else is asked of this process
        importlib.import_module(name)
    for number, kept in enumerate(prints, 1):
        os.dup2(kept, number)
        os.close(kept)
    os.close(nothing)
    os.environ.pop(BLAS_THREADS, None)
    if before is not None:
        os.environ[BLAS_THREADS] = before


def _start_blas_threads() -> None:
    """Have OpenBLAS use as many threads as it would by itself; started now, they are locked."""
    assert sys.platform == "linux"
    count = os.environ.get(BLAS_THREADS) or os.environ.get("OMP_NUM_THREADS")
    with contextlib.suppress(OSError, ValueError):  # it stays with one thread
        count = int(count or len(os.sched_getaffinity(0)))
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = {line.split(maxsplit=5)[5].strip() for line in maps if "openblas" in line}
        for path in paths:
            library, function = ctypes.CDLL(path), "openblas_set_num_threads"
            # numpy's own name for it, a distribution's, and the usual one.
            for name in (f"scipy_{function}64_", f"{function}64_", function):
                if set_threads := getattr(library, name, None):
                    set_threads(count)
                    break


def _lock(policy: dict[str, Any], channel: Channel) -> dict[str, list[str]]:
    """Lock this process, after the packages and before anything of the submission is imported."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, here)
    import lock

    sys.path.remove(here)
    # Looking for it otherwise tries to write into each candidate.
    tempfile.tempdir = os.environ.get("TMPDIR")
    layers = lock.apply(policy, channel.report)
    for name in [name for name in sys.modules if name.partition(".")[0] == "lock"]:
        del sys.modules[name]  # the name is free for the submission
    return layers


def describe(error: BaseException, folder: str) -> dict[str, str]:
    """Type, message and place of an exception in one line, and the submission's frames."""
    # Free what the failed call holds: after a MemoryError no other memory may be left.
    traceback.clear_frames(error.__traceback__)
    try:
        text = str(error)
    except BaseException:
        text = "(its message cannot be shown)"
    full = traceback.TracebackException.from_exception(error)
    own = [frame for frame in full.stack if frame.filename.startswith(folder + os.sep)]
    message = f"{type(error).__name__}: {text[:MAX_TEXT]}" if text else type(error).__name__
    # A SyntaxError's message names its place already.
    if own and not isinstance(error, SyntaxError):
        where = os.path.relpath(own[-1].filename, folder)
        message += f" ({where}, line {own[-1].lineno})"
    frames = [frame for frame in full.stack if frame.filename != __file__]
    full.stack = traceback.StackSummary.from_list(frames)
    return {"message": message, "traceback": "".join(full.format())[-MAX_TEXT:]}


def _has(value: object, name: str) -> bool:
    try:
        return hasattr(value, name)
    except Exception:  # what a lazy import raises, for example
        return False


def _type(value: object) -> str:
    return f"a {type(value).__name__}"


def end_with_parent() -> None:
    """Be killed when the parent has gone, whatever this process is doing then."""
    if sys.platform == "linux":  # the lock denies to change it
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
        return

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()


def main() -> None:
    """Move the channel out of the submission's reach, then serve."""
    end_with_parent()
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    folder = os.getcwd()
    # Python put the grader's own folder there; its modules are not for the submission. The
    # submission's folder comes when it is imported.
    unwanted = (os.path.dirname(os.path.abspath(__file__)), folder)
    sys.path = [path for path in sys.path if os.path.abspath(path) not in unwanted]
    sys.argv = [os.path.join(folder, "homework")]
    with contextlib.suppress(BrokenPipeError):  # the parent has gone
        serve(folder, requests, Channel(replies))
    # Not sys.exit: the submission's exit handlers and threads could hang.
    os._exit(0)


if __name__ == "__main__":
    main()
