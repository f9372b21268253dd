"""A machine as plain tools see it: what a lab must leave as it was."""

from __future__ import annotations

from .machine import Machine


def state(machine: Machine) -> dict[str, set[str]]:
    """All that a lab could leave behind, as lines of what plain tools print."""

    def said(*command: str) -> set[str]:
        return set(machine.run(*command).splitlines())

    saves = [f"{tool}-{variant}-save" for tool in ("iptables", "ip6tables") for variant in ("nft", "legacy")]
    return {
        "links": said("ip", "-o", "link"),
        "addresses": said("ip", "-o", "address"),
        "routes": said("ip", "route", "show", "table", "all") | said("ip", "-6", "route", "show", "table", "all"),
        "namespaces": said("ip", "netns", "list") | said("lsns", "-n", "-o", "NS,TYPE"),
        "mounts": said("findmnt", "-rn", "-o", "TARGET,SOURCE,FSTYPE"),
        "processes": {name for name in said("ps", "-e", "-o", "args=") if not name.startswith(("[", "ps "))},
        "files": said("find", "/run", "/tmp", "/etc", "/var", "/root", "-xdev", "-not", "-name", "*.pyc"),
        **{save: {line for line in said(save) if not line.startswith("#")} for save in saves},
    }


def settings(machine: Machine) -> dict[str, str]:
    """net.* but for the kernel's own counts."""
    lines = machine.run("sysctl", "-a", "-r", r"^net\.").splitlines()
    settings = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return {key: value for key, value in settings.items() if not key.endswith("_count")}
