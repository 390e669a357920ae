"""python benchmarks/generate.py [--data_dir data/train] [--repeats 5] [--memory_frames 5249]

How fast `generate_qa generate` is, and how much memory it needs:

    floor      one process: list the folder, read and parse (orjson) every info file, and write
               the same JSON, as safely, from objects made before; no labelling
    generate   what the command does, on all cores and on one
    naive      one process: read and parse (json) the info file again for each view
    commands   generate and the empty program, from start-up to exit

Each measurement is a new process; all but `commands` time the work alone, without start-up. The
four take turns, after one round that does not count. Then memory: the peak above start-up, summed
over all processes, on a quarter of `memory_frames` and on all of them (Linux only).

Without --data_dir the info files are made up. The images are empty files, since none is opened.
"""

from __future__ import annotations

import gc
import json
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from homework.common import cli
from homework.common.files import atomic_write
from homework.common.workers import num_cores
from homework.frames.split import image_name, list_split
from homework.labels.questions import KARTS, TRACKS, pairs
from homework.labels.scene import view_scene

assert sys.platform != "win32"

VIEWS = 10
MADE_UP_FRAMES = 1890  # without data_dir


def benchmark(
    data_dir: str | None = None,
    repeats: int = 5,
    memory_frames: int = 5249,
    measure: str | None = None,
    output: str | None = None,
) -> None:
    """Print a table and, last, one JSON line (see the head of this file).

    Args:
        data_dir: a split's folder; it is only read.
        repeats: timed runs of each kind.
        memory_frames: info files of the memory part, copies of those in data_dir; 0 for none.
        measure: for the processes that this one starts: measure only this ...
        output: ... and write the pairs here.
    """
    if measure is not None:
        print(json.dumps(MEASURES[measure](str(data_dir), str(output))))
        return
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        if data_dir is None:
            folder = scratch / "train"
            make_up(folder, MADE_UP_FRAMES)
        else:
            folder = Path(str(data_dir))
        frames = len(list_split(folder).info_files)
        seconds = measure_time(folder, scratch, repeats)
        memory = measure_memory(folder, scratch, memory_frames)
    floor, naive = (statistics.median(seconds[name]) for name in ("floor", "naive"))
    ratios = {}
    print(f"\n{frames:,} info files{'' if data_dir else ' (made up)'}, {num_cores()} cores")
    print(f"{'':22}{'median':>9}{'fastest':>9}{'/ floor':>9}{'naive /':>9}")
    for name, each in seconds.items():
        middle = statistics.median(each)
        ratios[name] = {"to_floor": middle / floor, "naive_to_it": naive / middle}
        row = f"{name:22}{middle:7.3f} s{min(each):7.3f} s"
        print(f"{row}{middle / floor:9.2f}{naive / middle:9.1f}")
    for number, megabytes in memory.items():
        print(f"memory over start-up, {number:,} info files: {megabytes:.0f} MB")
    record = {
        "config": {"data_dir": data_dir, "info_files": frames, "repeats": repeats},
        "versions": {"python": platform.python_version(), "orjson": version("orjson")},
        "device": {"cpu": cpu_name(), "cores": num_cores()},
        "seconds": seconds,
        "memory_mb_over_start": memory,
        "ratios": ratios,
    }
    print(json.dumps(record))


def measure_time(folder: Path, scratch: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of `repeats` runs of each kind, all of which write the same pairs."""
    seconds: dict[str, list[float]] = {name: [] for name in [*MEASURES, *COMMANDS]}
    output = scratch / "pairs.json"
    run_measure("generate, all cores", folder, output)  # its objects are what the floor writes
    for turn in range(repeats + 1):
        for name in seconds:
            if name in COMMANDS:
                command = [word.format(folder=folder, output=output) for word in COMMANDS[name]]
                start = time.perf_counter()
                subprocess.run(
                    [sys.executable, *command], check=True, capture_output=True, cwd=ROOT
                )
                took = time.perf_counter() - start
            else:
                took = run_measure(name, folder, output)["seconds"]
            if turn:
                seconds[name].append(took)
    return seconds


def measure_memory(folder: Path, scratch: Path, frames: int) -> dict[int, float]:
    """Info files -> megabytes over start-up of `generate` on all cores."""
    megabytes = {}
    for number in (frames // 4, frames) if frames else ():
        copies = scratch / str(number) / "train"
        multiply(folder, copies, number)
        run = run_measure("generate, all cores", copies, scratch / "pairs.json")
        megabytes[number] = run["megabytes"]
    return megabytes


def run_measure(name: str, folder: Path, output: Path) -> dict[str, float]:
    """One measurement in a process of its own."""
    flags = [f"--measure={name}", f"--data_dir={folder}", f"--output={output}"]
    command = [sys.executable, __file__, *flags]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)


def floor(folder: str, output: str) -> dict[str, float]:
    """The least that any program would do that reads the info files and writes these pairs."""
    import orjson

    objects = orjson.loads(Path(output).read_bytes())
    gc.collect()
    gc.freeze()  # or the collector would walk these objects while the files are parsed
    start = time.perf_counter()
    for name in list_split(folder).info_files:
        with open(f"{folder}/{name}", "rb") as file:
            orjson.loads(file.read())
    with atomic_write(output) as file:
        file.write(orjson.dumps(objects))
    return {"seconds": time.perf_counter() - start}


def naive(folder: str, output: str) -> dict[str, float]:
    """What is written first: each view opens its info file, parses it and appends its pairs."""
    start = time.perf_counter()
    made = []
    split = list_split(folder)
    for name in split.info_files:
        for view_index in range(VIEWS):
            image = image_name(name, view_index)
            if not (split.folder / image).exists():
                continue
            with open(split.folder / name) as file:
                info = json.load(file)
            for question, answer in pairs(view_scene(info, view_index)):
                image_file = split.image_file(image)
                made.append({"question": question, "answer": answer, "image_file": image_file})
    with open(output, "w") as file:
        json.dump(made, file)
    return {"seconds": time.perf_counter() - start}


def generate(folder: str, output: str, workers: int) -> dict[str, float]:
    """The work of `generate_qa generate`, with the memory of all its processes."""
    import orjson  # noqa: F401  imported before the clock starts, as for the floor
    import tqdm  # noqa: F401

    from homework.frames.qa_write import write_pairs

    at_start = resident_megabytes("VmRSS")
    start = time.perf_counter()
    write_pairs(list_split(folder), output, workers)
    seconds = time.perf_counter() - start
    # A worker begins with the pages of its parent: only what it adds counts.
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    added = max(0.0, worker - at_start) * workers if workers > 1 else 0.0
    return {"seconds": seconds, "megabytes": resident_megabytes("VmHWM") - at_start + added}


def resident_megabytes(field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (peak) of this process; 0 where there is no /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


def make_up(folder: Path, frames: int, seed: int = 0) -> None:
    """Info files of the dataset's form and size, with empty files for the images."""
    folder.mkdir(parents=True)
    generator = random.Random(seed)
    line_ups = {track: generator.sample(KARTS, VIEWS) for track in TRACKS}
    for number in range(frames):
        views = [_view(generator) for _ in range(VIEWS)]
        track = TRACKS[number % len(TRACKS)]
        info = {"track": track, "karts": line_ups[track], "detections": views}
        (folder / f"{number:05x}_info.json").write_text(json.dumps(info))
        for view_index in range(VIEWS):
            (folder / f"{number:05x}_{view_index:02d}_im.jpg").touch()


def _view(generator: random.Random) -> list[list[int]]:
    """Detections like the dataset's: 7 karts of 28 rows, 1.5 of them large enough to count."""
    rows = []
    for number in range(28):
        class_id = 1 if number < 7 else generator.choice((2, 3, 4, 5, 6))
        side = 100 if number == 0 or (number < 7 and generator.random() < 0.08) else 12
        x, y = generator.randrange(450), generator.randrange(280)
        rows.append([class_id, number % VIEWS, x, y, x + side, y + side])
    return rows


def multiply(folder: Path, copies: Path, frames: int) -> None:
    """`frames` info files, copies of those of `folder` in turn, and empty files as images."""
    copies.mkdir(parents=True)
    names = list_split(folder).info_files
    for number in range(frames):
        data = (folder / names[number % len(names)]).read_bytes()
        (copies / f"{number:05x}_info.json").write_bytes(data)
        for view_index in range(VIEWS):
            (copies / f"{number:05x}_{view_index:02d}_im.jpg").touch()


def cpu_name() -> str:
    """The name of the processor, as its maker gives it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    models = (line.split(": ")[1] for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


ROOT = Path(__file__).resolve().parent.parent
MEASURES = {
    "floor": floor,
    "generate, all cores": lambda folder, output: generate(folder, output, num_cores()),
    "generate, one core": lambda folder, output: generate(folder, output, 1),
    "naive": naive,
}
COMMANDS = {
    "command generate": (
        *("-m", "homework.generate_qa", "generate"),
        *("--data_dir={folder}", "--output={output}"),
    ),
    "command, empty": ("-c", "pass"),
}

if __name__ == "__main__":
    cli.run(benchmark)
