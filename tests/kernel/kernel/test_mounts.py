"""The kernel tells of every mount, and of nothing else: so names of namespaces need not be looked at all the time."""

from __future__ import annotations

import subprocess
import sys

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
