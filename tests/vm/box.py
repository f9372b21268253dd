"""A Vagrant box like the tests' machine, for libvirt without KVM and for a guest that sees no package registry.

`python -m vm.box DIRECTORY` (in tests/) makes DIRECTORY/k8snetlab.box and, beside it, the kernel that boots it. The
packages that `make install-store` would fetch are in it, and a pip that finds every wheel in /var/cache/wheels.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from . import image

INIT = ("systemd-sysv", "dbus", "udev", "ifupdown", "isc-dhcp-client", "openssh-server", "rsync", "curl")
"""What Vagrant expects of a Debian box, beyond what the tests' machine has."""
BUILD = ("hatchling", "editables", "setuptools", "wheel")
"""What pip builds k8snetlab and python-iptables with."""
PUBLIC_KEY = Path("/usr/share/rubygems-integration/all/gems")
VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.ssh.insert_key = false
  config.vm.boot_timeout = 900
  config.vm.provider "libvirt" do |libvirt|
    libvirt.driver = "qemu"
    libvirt.machine_type = "q35"
    libvirt.cpu_mode = "maximum"
    libvirt.graphics_type = "none"
    libvirt.video_type = "none"
    libvirt.kernel = "{directory}/vmlinuz"
    libvirt.initrd = "{directory}/initramfs"
    libvirt.cmd_line = "console=ttyS0 quiet net.ifnames=0"
  end
end
"""


def build(directory: Path) -> Path:
    box = directory / "k8snetlab.box"
    with tempfile.TemporaryDirectory(dir=directory) as made:
        root, files = Path(made, "root"), Path(made, "files")
        image.debian(root, (*image.PACKAGES, *INIT))
        image.kernel(root, directory)
        image.wheels(
            root / "var/cache/wheels",
            "--no-deps",
            "--require-hashes",
            "-r",
            str(image.REPOSITORY / "requirements.lock"),
        )
        image.wheels(root / "var/cache/wheels", "--only-binary", ":all:", *BUILD)
        _settle(root)
        files.mkdir()
        image.run("mke2fs", "-q", "-t", "ext4", "-d", str(root), f"{made}/raw", "3G")
        image.run("qemu-img", "convert", "-O", "qcow2", f"{made}/raw", str(files / "box.img"))
        metadata = {"provider": "libvirt", "format": "qcow2", "virtual_size": 3}
        (files / "metadata.json").write_text(json.dumps(metadata))
        (files / "Vagrantfile").write_text(VAGRANTFILE.format(directory=directory))
        names = sorted(file.name for file in files.iterdir())
        image.run("tar", "-C", str(files), "--use-compress-program", "gzip -1", "-cf", str(box), *names)
    return box


def _settle(root: Path) -> None:
    """The user vagrant, its key and its rights; DHCP on the first interface; no etcd but the one that is asked for."""
    (key,) = PUBLIC_KEY.glob("vagrant-[0-9]*/keys/vagrant.pub")
    in_root = ["chroot", str(root)]
    image.run(*in_root, "useradd", "-m", "-s", "/bin/bash", "vagrant")
    ssh = root / "home/vagrant/.ssh"
    ssh.mkdir(mode=0o700)
    shutil.copy(key, ssh / "authorized_keys")
    image.run(*in_root, "chown", "-R", "vagrant:vagrant", "/home/vagrant/.ssh")
    (root / "etc/sudoers.d/vagrant").write_text("vagrant ALL=(ALL) NOPASSWD: ALL\n")
    (root / "etc/ssh/sshd_config.d/vagrant.conf").write_text("UseDNS no\nPasswordAuthentication no\n")
    (root / "etc/network/interfaces").write_text("auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n")
    (root / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /var/cache/wheels\n")
    (root / "etc/hostname").write_text("box\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 box\n")
    for unit in ("etcd.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"):
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    (root / "etc/machine-id").write_text("")


if __name__ == "__main__":
    sys.stdout.write(f"{build(Path(sys.argv[1]).resolve())}\n")
