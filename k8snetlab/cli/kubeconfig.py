"""kubeconfig: how kubectl, helm and client libraries reach the lab."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from k8snetlab.cli import screen
from k8snetlab.cli.options import LabOption, OutputOption, client_of, example, print_json

if TYPE_CHECKING:
    from k8snetlab.messages.kubeconfig import ApiAccess

Json = dict[str, Any]


class User(StrEnum):
    """Whom `--user` names."""

    ADMIN = "admin"
    VIEW = "view"


def register(app: typer.Typer) -> None:
    app.command(epilog=example("kubeconfig --merge"))(kubeconfig)


def kubeconfig(
    user: Annotated[User, typer.Option("--user", help="admin may do everything, view may look.")] = User.ADMIN,
    merge: Annotated[bool, typer.Option("--merge", help="Write it into your kubeconfig and make it current.")] = False,
    lab: LabOption = None,
    output: OutputOption = None,
) -> None:
    """Print a kubeconfig for kubectl; the lab's API listens on loopback from then on."""
    from k8snetlab.messages.kubeconfig import KUBECONFIG, KubeconfigFor

    access = client_of(lab).call(KUBECONFIG, KubeconfigFor(user.value))
    if merge:
        file = target()
        with as_caller():
            write(file, merged(read(file), access))
        screen.say(f"context {access.lab} of {file} is the lab {access.lab} at {access.server}", err=True)
    if not is_loopback(access.server):
        what = "whoever has this kubeconfig is root on this machine" if access.user == "admin" else "others may knock"
        screen.say(f"{access.server} is reached from outside this machine: {what}", err=True)
    if output:
        print_json(access)
    elif not merge:
        typer.echo(as_yaml(merged({}, access)), nl=False)


def is_loopback(server: str) -> bool:
    """Whether https://HOST:PORT is reached from this machine alone."""
    from ipaddress import ip_address
    from urllib.parse import urlsplit

    return ip_address(urlsplit(server).hostname or "").is_loopback


def merged(config: Json, access: ApiAccess) -> Json:
    """`config` with the lab as its current context; what has the same names is replaced."""
    import base64

    def data(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    name = f"k8snetlab-{access.lab}"
    user = f"{name}-{access.user}"
    held = {"client-certificate-data": data(access.clientCertificate), "client-key-data": data(access.clientKey)}
    cluster = {"server": access.server, "certificate-authority-data": data(access.certificateAuthority)}
    context = access.lab if access.user == "admin" else f"{access.lab}-{access.user}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        **config,
        "clusters": _with(config, "clusters", name, {"cluster": cluster}),
        "users": _with(config, "users", user, {"user": held}),
        "contexts": _with(config, "contexts", context, {"context": {"cluster": name, "user": user}}),
        "current-context": context,
    }


def _with(config: Json, field: str, name: str, entry: Json) -> list[Json]:
    held = config.get(field) or []
    return [*(one for one in held if one.get("name") != name), {"name": name, **entry}]


def as_yaml(config: Json) -> str:
    import yaml

    text: str = yaml.safe_dump(config, sort_keys=False)
    return text


@contextlib.contextmanager
def as_caller() -> Iterator[None]:
    """With `sudo`, what is done with files is done as the user who said it: theirs they are, and no link of theirs
    leads root anywhere."""
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() != 0 or not uid.isdecimal() or not gid.isdecimal():
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(int(gid))
    os.seteuid(int(uid))
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def _home() -> Path:
    uid = os.environ.get("SUDO_UID", "")
    if os.geteuid() == 0 and uid.isdecimal():
        import pwd

        with contextlib.suppress(KeyError):
            return Path(pwd.getpwuid(int(uid)).pw_dir)
    return Path.home()


def target() -> Path:
    """The file that kubectl would write to: the first of KUBECONFIG, else .kube/config of who runs this."""
    named = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    return Path(named[0]) if named else _home() / ".kube" / "config"


def read(file: Path) -> Json:
    """Raises InputError for a file that is no kubeconfig."""
    import yaml

    from k8snetlab.errors import InputError

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{file} cannot be read as a kubeconfig: {error}", "KUBECONFIG names another file") from None
    lists = ("clusters", "users", "contexts")
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(_is_list(found.get(field)) for field in lists):
        raise InputError(f"{file} is no kubeconfig", "KUBECONFIG names another file")
    return found


def _is_list(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(one, dict) for one in value))


def write(file: Path, config: Json) -> None:
    """Whole or not at all, for its owner's eyes only."""
    from k8snetlab.errors import InputError

    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(as_yaml(config))
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InputError(f"{file} cannot be written: {error.strerror}", "KUBECONFIG names another file") from None
