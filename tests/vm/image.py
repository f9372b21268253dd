"""The machine that the tests boot: Debian's cloud kernel, and a root file system with everything k8snetlab needs.

`python -m vm.image` (in tests/) builds it once and prints where it is; the same recipe is never built twice. It lies in
~/.cache/k8snetlab-vm/HASH-OF-THE-RECIPE and holds no k8snetlab: the checkout comes on a disk of its own (checkout.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k8snetlab-vm"
LOCK = REPOSITORY / "requirements-dev.lock"
RECIPE = (HERE / "image.py", HERE / "guest" / "kernel", HERE / "guest" / "initramfs", LOCK)

SUITE = "bookworm"
PYTHON = "3.11"
PLATFORMS = ("manylinux_2_36_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
PACKAGES = (
    *("python3", "python3-venv", "iproute2", "iptables", "conntrack", "kmod", "procps", "iputils-ping"),
    *("etcd-server", "etcd-client", "make", "git", "gcc", "libc6-dev", "sudo", "busybox-static", "cpio", "bird2"),
)
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "ext4")
DISK = "2G"
NEEDS = {"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "chroot": "coreutils"}


class Image(msgspec.Struct, frozen=True):
    """A built machine: `root` as a directory, `disk` the same as an ext4 file system (2 GB, sparse)."""

    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def disk(self) -> Path:
        return self.directory / "root.ext4"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        return self.directory / "initramfs"


@contextlib.contextmanager
def in_use() -> Iterator[Image]:
    """The image of today's recipe, built if need be; images of older recipes that nobody uses are removed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256(b"".join(file.read_bytes() for file in RECIPE)).hexdigest()[:12]
    directory = CACHE / recipe
    used, built = directory.with_suffix(".lock"), directory.with_suffix(".building")
    with used.open("w") as users, built.open("w") as builder:
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(builder, fcntl.LOCK_EX)
        if not directory.exists():
            _build(directory)
            _remove_others(recipe)
        fcntl.flock(builder, fcntl.LOCK_UN)  # another worker uses it at the same time
        yield Image(directory)


def missing() -> list[str]:
    """The Debian packages that building the image lacks on this machine."""
    return [package for tool, package in NEEDS.items() if shutil.which(tool, path=_path()) is None]


def _build(directory: Path) -> None:
    unfinished = directory.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    image = Image(unfinished)
    debian(image.root, PACKAGES)
    _python_packages(image.root)
    kernel(image.root, unfinished)
    for directory_of_mounts in ("opt/k8snetlab", "run/netns"):
        (image.root / directory_of_mounts).mkdir(parents=True, exist_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-d", str(image.root), str(image.disk), DISK)
    unfinished.rename(directory)


def debian(root: Path, packages: Iterable[str]) -> None:
    """A minimal Debian with these packages and the cloud kernel's modules; the kernel itself is left at /vmlinuz."""
    kernel_hook = ["--customize-hook", str(HERE / "guest" / "kernel")]
    run("mmdebstrap", "-q", "--variant=minbase", f"--include={','.join(packages)}", *kernel_hook, SUITE, str(root))


def wheels(directory: Path, *what: str) -> None:
    """What pip's words `what` name, for the guest's Python. Fetched here, with this machine's pip settings."""
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    download = ["-m", "pip", "download", "-q", "--disable-pip-version-check", "--python-version", PYTHON, *platforms]
    run(sys.executable, *download, "-d", str(directory), *what)


def _python_packages(root: Path) -> None:
    """What requirements-dev.lock names, in /opt/venv; k8snetlab is found in its checkout."""
    wheels(root / "wheels", "--no-deps", "--require-hashes", "-r", str(LOCK))
    in_root = ["chroot", str(root)]
    run(*in_root, "python3", "-m", "venv", "/opt/venv")
    # python-iptables is published as source; setuptools and wheel are what the guest's own venv brings
    run(*in_root, "/opt/venv/bin/pip", "install", "-q", "--no-index", "--no-deps", "--no-build-isolation",
        *sorted(f"/wheels/{wheel.name}" for wheel in (root / "wheels").iterdir()))  # fmt: skip
    shutil.rmtree(root / "wheels")
    (root / f"opt/venv/lib/python{PYTHON}/site-packages/k8snetlab.pth").write_text("/opt/k8snetlab\n")
    script = root / "opt/venv/bin/k8snetlab"
    script.write_text("#!/opt/venv/bin/python\nfrom k8snetlab.cli.main import main\nmain()\n")
    script.chmod(0o755)
    for stamp in (".lab", ".dev"):
        (root / "opt/venv" / stamp).touch()
    (root / "usr/local/bin/k8snetlab").symlink_to("/opt/venv/bin/k8snetlab")
    (root / "usr/local/lib/k8snetlab").symlink_to("/opt/venv")  # where `make install` finds it up to date


def kernel(root: Path, directory: Path) -> None:
    """Puts `vmlinuz` and `initramfs` into the directory: busybox, the modules that the root file system's disk needs,
    and guest/initramfs to load and mount them.
    """
    version = next((root / "lib/modules").iterdir()).name
    staging = root / "initramfs"
    for name in ("bin", "dev", "modules", "root"):
        (staging / name).mkdir(parents=True)
    wanted: dict[str, None] = {}
    for module in MODULES:
        shown = run("chroot", str(root), "modprobe", "-S", version, "--show-depends", module)
        wanted |= {line.split()[1]: None for line in shown.splitlines() if line.startswith("insmod ")}
    for number, file in enumerate(wanted):
        shutil.copy(root / file.lstrip("/"), staging / "modules" / f"{number:02}-{Path(file).name}")
    shutil.copy(root / "bin/busybox", staging / "bin/busybox")
    shutil.copy(HERE / "guest" / "initramfs", staging / "init")
    pack = "cd /initramfs && find . | cpio -o -H newc --quiet | gzip -1 > /initramfs.gz"
    run("chroot", str(root), "sh", "-c", pack)
    shutil.rmtree(staging)
    (root / "initramfs.gz").rename(directory / "initramfs")
    (root / "vmlinuz").rename(directory / "vmlinuz")


def _remove_others(recipe: str) -> None:
    for lock_file in CACHE.glob("*.lock"):
        if lock_file.stem == recipe:
            continue
        with lock_file.open("w") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for leftover in (lock_file.with_suffix(""), lock_file.with_suffix(".unfinished")):
                shutil.rmtree(leftover, ignore_errors=True)
            lock_file.with_suffix(".building").unlink(missing_ok=True)
            lock_file.unlink()


def run(*command: str) -> str:
    # with PYTHONDONTWRITEBYTECODE pip would compile nothing, and a guest on an emulated processor is slow at that
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PATH"] = _path()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:500]}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


if __name__ == "__main__":
    with in_use() as built:
        sys.stdout.write(f"{built.directory}\n")
