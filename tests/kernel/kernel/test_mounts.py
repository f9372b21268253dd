"""The kernel tells of every mount, and of nothing else: so names of namespaces need not be looked at all the time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import subprocess, tempfile
from k8snetlab.kernel.mounts import Mounts
watch, directory = Mounts(), tempfile.mkdtemp()
said = [watch.changed(), watch.changed()]
open(f"{directory}/name", "w").close()
said.append(watch.changed())
subprocess.run(["mount", "--bind", "/proc/self/ns/net", f"{directory}/name"], check=True)
said += [watch.changed(), watch.changed()]
subprocess.run(["mount", "--bind", "/proc/self/ns/net", f"{directory}/name"], check=True)
said += [watch.changed(), watch.changed()]
subprocess.run(["umount", f"{directory}/name"], check=True)
said += [watch.changed(), watch.changed()]
subprocess.run(["umount", "--lazy", f"{directory}/name"], check=True)
said += [watch.changed(), watch.changed()]
watch.close()
subprocess.run(["rm", "-r", directory], check=True)
print(*said)
"""


def test_every_mount_is_told_of_once_and_nothing_else() -> None:
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", SCRIPT]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert said == ["True", "False", "False", *["True", "False"] * 4]


SEALED = """
import errno, os, sys
from k8snetlab.kernel import syscalls, views
at = sys.argv[1]
syscalls.unshare(syscalls.CLONE_NEWNS)
syscalls.mount("", "/", "none", syscalls.MS_SLAVE | syscalls.MS_REC)
syscalls.mount("t", f"{at}/source", "tmpfs", syscalls.MS_NOSUID)
os.mkdir(f"{at}/source/inner")
syscalls.mount("t", f"{at}/source/inner", "tmpfs", 0)
views.View([views.Mount(f"{at}/source", f"{at}/target", sealed=True)]).finish()
for place in ("target", "target/inner"):
    try:
        open(f"{at}/{place}/x", "w")
    except OSError as error:
        print(errno.errorcode[error.errno])
open(f"{at}/source/inner/x", "w")
print(bool(os.statvfs(f"{at}/target").f_flag & syscalls.MS_NOSUID))
"""


def test_nobody_writes_through_a_sealed_mount_nor_those_below_it(tmp_path: Path) -> None:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    words = [sys.executable, "-c", SEALED, str(tmp_path)]
    ran = subprocess.run(words, text=True, capture_output=True, check=False, timeout=60)
    assert ran.stdout.split() == ["EROFS", "EROFS", "True"], ran.stderr
