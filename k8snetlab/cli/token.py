"""token create, list, delete: how other machines are let into the store that this one serves."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from k8snetlab.cli.options import OutputOption, example, need_root, print_json
from k8snetlab.cli.store import DIRECTORY, DirectoryOption


def register(app: typer.Typer) -> None:
    token = typer.Typer(
        help="How other machines are let into the store that this one serves.",
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=example("token create"),
    )
    token.command(epilog=example("token create --ttl 2h"))(create)
    token.command("list", epilog=example("token list"))(list_)
    token.command(epilog=example("token delete abcdef"))(delete)
    app.add_typer(token, name="token")


def create(
    token: Annotated[
        str, typer.Argument(metavar="[TOKEN]", help="Left out: a new one. Form: abcdef.0123456789abcdef")
    ] = "",
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="TIME", help="How long it is good: 30m, 2h, 1d; 0: for ever.")
    ] = ("24h"),
    directory: DirectoryOption = DIRECTORY,
    output: OutputOption = None,
) -> None:
    """Make a token, and print the command by which another machine joins the lab with it."""
    need_root("token create")
    from k8snetlab.errors import InputError
    from k8snetlab.messages.tokens import TokenCreated
    from k8snetlab.store.served import Directory
    from k8snetlab.store.tokens import Tokens

    seconds = _seconds(ttl)
    files = Directory(directory)
    served = files.read()
    if not served.join:
        raise InputError(
            "the store is served without TLS: nobody needs a token",
            f"k8snetlab node join --store {served.endpoint} --insecure",
        )
    made = Tokens(files.tokens).create(seconds, token)
    if output:
        print_json(TokenCreated(served.join, str(made), served.ca_hash, made.expires))
        return
    # One line for a pipe or a script, two that fit a terminal.
    fold = " \\\n    " if sys.stdout.isatty() else " "
    typer.echo(
        f"k8snetlab node join {served.join} --token {made}{fold}--discovery-token-ca-cert-hash{fold}{served.ca_hash}"
    )


def list_(directory: DirectoryOption = DIRECTORY, output: OutputOption = None) -> None:
    """The tokens that are good now; their secrets are shown with -o json only."""
    need_root("token list")
    from k8snetlab.messages.tokens import Token, TokenList
    from k8snetlab.store.served import Directory
    from k8snetlab.store.tokens import Tokens

    tokens = Tokens(Directory(directory).tokens).list()
    if output:
        print_json(TokenList(tuple(Token(str(token), token.expires) for token in tokens)))
        return
    typer.echo(f"{'TOKEN':<26}EXPIRES")
    for token in tokens:
        typer.echo(f"{token.id + '.' + '*' * 16:<26}{_when(token.expires)}")


def delete(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="As a whole, or its first six signs.")],
    directory: DirectoryOption = DIRECTORY,
    output: OutputOption = None,
) -> None:
    """Take a token back; machines that have joined with it stay."""
    need_root("token delete")
    from k8snetlab.messages.tokens import TokenDeleted
    from k8snetlab.store.served import Directory
    from k8snetlab.store.tokens import Tokens

    Tokens(Directory(directory).tokens).delete(token)
    answer = TokenDeleted(token.partition(".")[0])
    if output:
        print_json(answer)
        return
    typer.echo(f"token {answer.deleted} is no longer good")


def _seconds(text: str) -> float:
    from k8snetlab.errors import InputError

    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text, "s") if text == "0" else (text[:-1], text[-1:])
    if unit in units and number.isascii() and number.isdigit() and len(number) < 7:
        return float(int(number) * units[unit])
    raise InputError(f"--ttl {text!r} is no time", "30m, 2h, 1d, or 0 for ever")


def _when(expires: float) -> str:
    import time

    from k8snetlab.api.ages import duration

    return f"in {duration(expires - time.time())}" if expires else "never"
