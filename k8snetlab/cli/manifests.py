"""From `-f` and SCENARIO words to the objects that are sent to the lab."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from k8snetlab.cli import screen
from k8snetlab.errors import InputError

if TYPE_CHECKING:
    from k8snetlab.api.load import Brought, Loaded, Read
    from k8snetlab.api.meta import Object

LONG = 100_000
"""Characters of manifests that are worth to be read without looks for garbage."""


def load(paths: Sequence[str] | None, verb: str) -> list[Object]:
    """The objects in files, directories or "-"; warnings go to stderr. None where all are of kinds that no lab has."""
    return list(loaded(paths, verb).objects)


def loaded(paths: Sequence[str] | None, verb: str, brought: Brought = tuple) -> Loaded:
    """As `load`, with where the name of a Lab is written; `brought` are kinds that the lab's users have brought."""
    from k8snetlab.cli import progress
    from k8snetlab.state import scenarios

    if not paths:
        raise InputError(f"{verb}: which manifest?", f"k8snetlab {verb} -f FILE (a directory and - for stdin are fine)")
    drawn = verb in ("render", "graph", "policy")
    with progress.patient(f"{', '.join(paths)}, to be read", quiet="-" in paths):  # a pipe may have no writer yet
        files = [file for path in paths for file in scenarios.find(path)] if drawn else scenarios.read_all(paths)
    return of(files, whole=drawn, others=verb in ("apply", "delete"), brought=brought)


def for_lab(loaded: Loaded, verb: str, lab: str, given: str | None) -> list[dict[str, Any]]:
    """`builtins` for the running lab `lab`, which was chosen by the word `given` or is the only one. A Lab among the
    objects is that lab; raises InputError where another name is written."""
    chosen = f"{chosen_by(given)} says {lab}" if given else f"the lab that runs is {lab}"
    refuse_other_name(loaded, lab, chosen, f"`k8snetlab {verb} --lab NAME` chooses another lab")
    objects = builtins((*loaded.objects, *loaded.ignored))
    for obj in objects:
        if obj["kind"] == "Lab":
            obj["metadata"]["name"] = lab
    return objects


def of(
    files: list[tuple[str, str]],
    *,
    whole: bool = True,
    machines: bool = False,
    others: bool = False,
    brought: Brought = tuple,
    read: Read = lambda _: None,
) -> Loaded:
    """The objects in (name, text) pairs; `whole` where they are all there will be, and not an addition to a lab;
    `machines` where the nodes are to be machines whatever the Lab says; `others` where objects of kinds that no lab
    has are reason enough for a manifest; `read` as in `api.load`."""
    from k8snetlab.api.load import load

    with _kept(sum(len(text) for _, text in files)):
        loaded = load(files, whole, machines, brought, read)
    if not loaded.objects and not (others and loaded.others):
        raise InputError(f"{', '.join(name for name, _ in files)}: no object in it", "a manifest has a kind")
    for warning in loaded.warnings:
        screen.say(f"warning: {warning}", err=True)
    if not loaded.objects:
        screen.say("nothing was changed: no object here is of a kind that a lab has", err=True)
    return loaded


@contextlib.contextmanager
def _kept(length: int) -> Iterator[None]:
    """What is read stays until the verb's end: of the time in which 5,000 Services are read a quarter was looks for
    garbage among them."""
    if length < LONG:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def refuse_other_name(loaded: Loaded, lab: str, chosen: str, hint: str) -> None:
    """Raises InputError where a Lab's name is written, and it is not `lab`; `chosen` says where that one comes from."""
    written = next((obj.name for obj in loaded.objects if obj.KIND == "Lab"), lab)
    if loaded.named and written != lab:
        raise InputError(
            f"{loaded.named}: metadata.name: this is the file of lab {written}, but {chosen}; nothing was changed", hint
        )


def chosen_by(lab: str) -> str:
    """How the user chose this lab: by the option or by the environment."""
    by_option = any(word == "--lab" or word.startswith("--lab=") for word in sys.argv[1:])
    return "K8SNETLAB_LAB" if not by_option and os.environ.get("K8SNETLAB_LAB") == lab else "--lab"


def builtins(objects: Iterable[Object]) -> list[dict[str, Any]]:
    """The objects as the JSON-like values that the lab's API takes."""
    from k8snetlab.api.scheme import to_dict

    return [to_dict(obj) for obj in objects]
