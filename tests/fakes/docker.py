"""A docker for the NCCL tests: `docker.py FOLDER PYTHON ARGUMENTS...`.

Images are the lines of FOLDER/images, "NAME ID SETTING...". A container is a process in a session of its own, in FOLDER/containers
by its name: like a real one it outlives a client that is killed. Every call is a line of FOLDER/calls.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


def inspect(folder: Path, name: str) -> int:
    if (folder / "daemon-down").exists():
        print("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", file=sys.stderr)
        return 1
    images = dict(line.split(maxsplit=1) for line in (folder / "images").read_text().splitlines())
    if name not in images:
        print(f"Error response from daemon: No such image: {name}", file=sys.stderr)
        return 1
    print("\n".join(images[name].split()))
    return 0


def run(folder: Path, python: str, arguments: list[str]) -> int:
    if (folder / "run-fails").exists():
        print('docker: could not select device driver "" with capabilities: [[gpu]].', file=sys.stderr)
        return 125
    given = dict(itertools.pairwise(arguments))
    scratch, inside = given["--volume"].split(":")
    environment = dict(line.split("=", 1) for line in Path(given["--env-file"]).read_text().splitlines())
    environment = {name: value.replace(inside, scratch) for name, value in environment.items()}
    job = Path(scratch) / "job.json"
    job.write_text(job.read_text().replace(inside, scratch))
    program = [argument.replace(inside, scratch) for argument in arguments[-2:]]
    # Not the client's own pipes: the daemon has those of a real container.
    with tempfile.TemporaryFile("w+") as said:
        container = subprocess.Popen(
            [python, *program], env=environment, start_new_session=True, stdout=said, stderr=said
        )
        (folder / "containers").mkdir(exist_ok=True)
        (folder / "containers" / given["--name"]).write_text(str(container.pid))
        code = container.wait()
        said.seek(0)
        sys.stderr.write(said.read())
    return code


def remove(folder: Path, name: str) -> int:
    container = folder / "containers" / name
    if not container.exists():
        print(f"Error response from daemon: No such container: {name}", file=sys.stderr)
        return 1
    try:
        os.killpg(int(container.read_text()), signal.SIGKILL)
    except ProcessLookupError:
        pass
    container.unlink()
    return 0


def main(folder: Path, python: str, arguments: list[str]) -> int:
    with (folder / "calls").open("a") as log:
        log.write(json.dumps(arguments) + "\n")
    match arguments:
        case ["image", "inspect", "--format", _template, name]:
            return inspect(folder, name)
        case ["run", *rest]:
            return run(folder, python, rest)
        case ["rm", "--force", name]:
            return remove(folder, name)
    return 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
