"""Run `ansible-test sanity` on a copy of the tracked files: python tools/sanity.py [ansible-test options]

ansible-test wants a real folder ansible_collections/NAMESPACE/NAME and bootstraps pip in its virtual environments with
a script from its own file host. Where that host cannot be reached, a stand-in of the same name that uses ensurepip is
put into ansible-test's cache: the sanity tests themselves are unchanged.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / ".build/sanity/ansible_collections/gb10/cluster"

BOOTSTRAP = """\
# Stand-in for the pip bootstrap script: ensurepip, then pip itself.
import os, subprocess, sys
saved = dict(os.environ)
import ensurepip
ensurepip.bootstrap()
arguments = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel", "--disable-pip-version-check")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *arguments], env=saved))
"""

# What is not part of the collection (build_ignore in galaxy.yml) has linters of its own.
DEVELOPMENT = (
    "lab/",
    "molecule/",
    "tools/",
    "tests/unit/",
    "tests/lab/",
    "tests/fixtures/",
    "tests/fakes/",
    ".c",
    ".a",
    ".y",
)

# Not run here: pslint wants PowerShell, and there is no PowerShell in this collection.
SKIP = ["pslint"]


def copy_tracked_files() -> None:
    """Replace the copy by the collection's files that git tracks, as they are in the working tree."""
    output = COPY / "tests/output"
    kept = COPY.parents[2] / "output"
    if output.exists():  # ansible-test keeps its state here; the copy is remade each time
        shutil.rmtree(kept, ignore_errors=True)
        shutil.move(output, kept)
    shutil.rmtree(COPY, ignore_errors=True)
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        source, target = ROOT / name, COPY / name
        if name.startswith(DEVELOPMENT) or source.is_symlink() or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    if kept.exists():
        shutil.move(kept, output)
    # A repository of its own: ansible-test asks git for the files, and the outer one ignores this folder.
    subprocess.run(["git", "init", "--quiet"], cwd=COPY, check=True)
    subprocess.run(["git", "add", "--all"], cwd=COPY, check=True)


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    skip = [word for name in SKIP for word in ("--skip-test", name)]
    command = ["ansible-test", "sanity", "--local", "--python", version, "--color", "no", *skip, *arguments]
    return subprocess.run(command, cwd=COPY, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main() -> int:
    copy_tracked_files()
    result = run(sys.argv[1:])
    missing = re.search(r"(/\S+/get_pip_[0-9_]+\.py)", result.stdout)
    if result.returncode and missing:
        bootstrap = Path(missing.group(1))
        bootstrap.parent.mkdir(parents=True, exist_ok=True)
        bootstrap.write_text(BOOTSTRAP, encoding="utf-8")
        print(f"sanity     pip bootstrap script not reachable, using ensurepip ({bootstrap.name})")
        result = run(sys.argv[1:])
    if result.returncode:
        print(result.stdout)
    else:
        tests = len(re.findall(r"^Running sanity test ", result.stdout, re.MULTILINE))
        print(f"sanity     {tests} ansible-test sanity tests passed; not run: {', '.join(SKIP)} (wants PowerShell)")
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())
