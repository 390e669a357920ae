"""Plays a tape of the real engine's messages: the frames of a race, over and over.

    fake_engine.py TAPE TROUBLE    TROUBLE is a file that holds one word, or is not there

Run in place of the engine's Python, so that nothing of the game is needed. `crash`, `hang` and
`garbage` happen once, at the second frame: the word is deleted.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Answer every job with frames of the tape under the job's numbers, track and karts."""
    trouble = Path(sys.argv[2])
    frames = [json.loads(line)["frame"] for line in Path(sys.argv[1]).read_text().splitlines()]
    if trouble.exists() and trouble.read_text() == "dead":
        sys.exit("no screen, no driver")
    say({"started": True})
    for line in sys.stdin:
        job = json.loads(line)
        for place, (number, _) in enumerate(job["frames"]):
            if place == 1 and trouble.exists():
                word = trouble.read_text()
                trouble.unlink()
                if word == "crash":
                    os._exit(1)
                elif word == "hang":
                    time.sleep(600)
                print("Segmentation fault", flush=True)
            frame = frames[place % len(frames)]
            info = frame["info"] | {"track": job["track"], "karts": job["karts"]}
            say({"frame": frame | {"number": number, "info": info}})
        say({"done": job["seed"]})


def say(message) -> None:
    """One line to the recorder."""
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
