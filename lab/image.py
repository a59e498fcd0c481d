"""The guest image: Debian with what a Spark has where our code looks. Built once per content, unprivileged."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.identity import make_key
from lab.progress import Step
from lab.tarball import Entry, pack, tree

SUITE = "trixie"
DISK_SIZE = "3G"
CLEANUP_SECONDS = 120
KEPT_IMAGES = 3
PACKAGES = (  # noqa: SIM905 - reads better than one name a line
    "systemd-sysv systemd-timesyncd udev dbus kmod procps sudo linux-image-amd64 busybox-static "
    "python3 openssh-server iproute2 iputils-ping ethtool netplan.io lldpd pciutils "
    "rdma-core ibverbs-utils rdmacm-utils perftest"
).split()
WITHOUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/i18n/*")
GUEST = Path(__file__).parent / "guest"
SPECIAL_MODES = {"/etc/sudoers.d/spark": 0o440}
READY_MARKER = "GB10-LAB-READY"
TRIAL_MARKER = "GB10-LAB-TRIAL"
# Inside a user namespace of its own an ordinary user can unpack files of any owner.
NAMESPACE = ("unshare", "--user", "--map-auto", "--map-root-user", "--")


@dataclass(frozen=True)
class Image:
    """A built image and the key pair that its nodes let in."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root.ext4"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def key(self) -> Path:
        return self.folder / "id_ed25519"


def content_hash() -> str:
    """Changes when anything changes that decides what is in the image."""
    digest = hashlib.sha256()
    recipe = "\n".join([*bootstrap_command(Path()), _PACK, DISK_SIZE])
    for part in (recipe.encode(), _guest_files()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def ensure(cache: Path) -> Image:
    """The image for the present content; built when the cache does not hold it."""
    folder = cache / "images" / content_hash()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
        try:
            _build(building)
            building.rename(folder)
            _forget_old(folder.parent)
        except BaseException:
            _run([*_namespace(), "rm", "-rf", str(building)], building.parent / "remove.log", check=False)
            raise
    os.utime(folder)
    return Image(folder)


def _forget_old(images: Path) -> None:
    """Keep the images used last; each takes a gigabyte with its snapshots."""
    by_use = sorted((path for path in images.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in by_use[:-KEPT_IMAGES]:
        shutil.rmtree(path, ignore_errors=True)


def _build(folder: Path) -> None:
    log = folder / "build.log"
    with Step("image: install Debian packages", usual="60-90 s"):
        (folder / "guest.tar").write_bytes(_guest_files())
        _run(bootstrap_command(folder), log)
    with Step("image: make the disk", usual="10 s"):
        _run([*_namespace(), "sh", "-euc", _PACK, "sh", str(folder), DISK_SIZE], log)
    make_key(folder / "id_ed25519", "gb10 lab")
    for leftover in ("guest.tar", "root.tar"):
        (folder / leftover).unlink()


def bootstrap_command(folder: Path) -> list[str]:
    """mmdebstrap; our files are laid in before the other packages come, and set up after them."""
    guest = shlex.quote(str(folder / "guest.tar"))
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in WITHOUT),
        f"--essential-hook=tar-in {guest} /",
        '--customize-hook=chroot "$1" /lab-setup/setup && rm -r "$1/lab-setup"',
        SUITE,
        str(folder / "root.tar"),
    ]


_PACK = """
cd "$1"
mkdir tree
tar -xf root.tar -C tree --numeric-owner --exclude='./dev/*'
cp tree/boot/lab-vmlinuz vmlinuz
cp tree/boot/lab-initrd initrd
chmod 644 vmlinuz initrd
mke2fs -q -t ext4 -d tree -E lazy_itable_init=1 -m 0 root.ext4 "$2"
rm -rf tree
"""


def _guest_files() -> bytes:
    setup = [Entry(f"/lab-setup/{name}", (GUEST / name).read_bytes(), mode=0o755) for name in ("setup", "initrd-init")]
    return pack([*tree(GUEST / "rootfs", SPECIAL_MODES), *setup])


def _namespace() -> tuple[str, ...]:
    return () if os.geteuid() == 0 else NAMESPACE


def _run(argv: list[str], log: Path, check: bool = True) -> None:
    # The kernel package would build an initrd that nobody boots.
    environment = os.environ | {"INITRD": "No", "LC_ALL": "C"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            code = process.wait()
        except BaseException:
            # As Ctrl-C in a terminal would: to the whole group. mmdebstrap then unmounts and removes what it made.
            os.killpg(process.pid, signal.SIGINT)
            process.wait(CLEANUP_SECONDS)
            raise
    if check and code != 0:
        kept = Path(tempfile.gettempdir()) / f"gb10-lab-build-{os.getuid()}.log"
        shutil.copy(log, kept)
        lines = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise LabError(f"Building the image failed: {argv[0]} ended with {code}. The whole log: {kept}\n{lines}")
