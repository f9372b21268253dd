"""Real manifests with hostile values in any field, all the way to what a node would get.

Either a ManifestError names the place, or what comes out is well-formed: every rule one line that the reader of rules
takes, every name of a namespace a file's name, every path below the lab's own.
FUZZ sets how many (`.ci/run`: 4,000; `make fuzz`: 100,000).
"""

from __future__ import annotations

import copy
import os
import random
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml
from repository import SCENARIOS

from k8snetlab.api.core import Node
from k8snetlab.api.decoding import decode
from k8snetlab.api.lab import Lab
from k8snetlab.api.load import load
from k8snetlab.api.scheme import RESOURCES, encode
from k8snetlab.api.stored import problem_of
from k8snetlab.errors import K8sNetLabError, ManifestError
from k8snetlab.iptables import syntax
from k8snetlab.kernel.netns import path as file_of
from k8snetlab.lab import render

ROUNDS = int(os.environ.get("FUZZ", "4000"))
SEEDS = 8
"""Parts that pytest-xdist can give to several workers."""
HOSTILE: tuple[Any, ...] = (
    *("", " ", "\n", "a\nb", "\t", "\0", "a\0b", "\x1b[2J", "\x7f", "\u202e", "é", "名", "a" * 64, "a" * 254, "A"),
    *("-", ".", "..", "../../etc/passwd", "/", "a/b", "a.b", "-j", "--help", "-A INPUT -j DROP", 'a" -j ACCEPT'),
    *("'", '"', "`id`", "$(id)", "${IFS}", ";id", "|id", "&", "%s", "{{.}}", "\\", "#", "!", "*", "~", "null", "yes"),
    *("0x10", "1e3", "0.0.0.0", "0.0.0.0/0", "::", "::/0", "::1", "127.0.0.1", "224.0.0.1", "169.254.1.1", "1.2.3"),
    *("010.0.0.1", "1.2.3.4/33", "fe80::1%eth0", "::ffff:1.2.3.4", "10.0.0.1/8", "255.255.255.255", "None", "TCP"),
    *("tcp", "UDP", "SCTP", "http", "router", "outside", "node1", "default", "kube-system", "KUBE-SERVICES", "eth0"),
    *("cni0", "lo", "all", None, True, False, 0, 1, -1, 80, 65535, 65536, 30000, 2**31, 2**63, 2**64, 1.5),
    *(float("nan"), float("inf"), [], {}, [[]], [None], [{}], {"": ""}, {"a\nb": "c"}, ["a", "a"], [1, "1"]),
)
KEYS = ("", "x", "a\nb", "metadata", "spec", "name", "\0", "\x1b", "kind", "..", "<<", "nodeName", "hostNetwork", "env")
Tree = Any
RULE = re.compile(r"[^\x00-\x1f\x7f]+")


def corpus() -> list[list[dict[str, Any]]]:
    """The documents of each scenario, as they are."""
    found = []
    for directory in sorted(SCENARIOS.iterdir()):
        files = sorted(directory.glob("*.yaml"))
        found.append([doc for file in files for doc in yaml.safe_load_all(file.read_text()) if doc])
    return [documents for documents in found if documents]


def places(tree: Tree) -> Iterator[tuple[Any, Any]]:
    """(container, key or index) of every value in it."""
    items: Iterator[tuple[Any, Any]]
    if isinstance(tree, dict):
        items = iter(tree.items())
    elif isinstance(tree, list):
        items = iter(enumerate(tree))
    else:
        return
    for key, value in list(items):
        yield tree, key
        yield from places(value)


def mutated(documents: list[Tree], choose: random.Random) -> list[Tree]:
    documents = copy.deepcopy(documents)
    for _ in range(choose.choice((1, 1, 1, 2, 3))):
        spots = list(places(documents))
        if not spots:
            break
        container, key = choose.choice(spots)
        match choose.randrange(10):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                container[choose.choice(KEYS)] = container.pop(key)
            case 2 if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case 3:
                other, at = choose.choice(spots)
                container[key] = copy.deepcopy(other[at])
            case 4 if isinstance(container[key], str):
                text = container[key]
                where = choose.randrange(len(text) + 1)
                container[key] = text[:where] + str(choose.choice(HOSTILE)) + text[where:]
            case 5 if isinstance(container, dict):
                container[choose.choice(KEYS)] = choose.choice(HOSTILE)
            case _:
                container[key] = copy.deepcopy(choose.choice(HOSTILE))
    return documents


def dumped(documents: list[Tree]) -> str:
    return yaml.dump_all(documents, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), allow_unicode=True)


def check(text: str) -> bool:
    """Whether the manifests were taken; AssertionError when something ill-formed came out of them."""
    try:
        objects = load([("dir/f.yaml", text)]).objects
    except ManifestError as error:
        assert all(problem.startswith("dir/f.yaml") for problem in error.problems), error.problems
        assert error.message.replace("\n", "").isprintable(), error.message
        return False
    try:
        snapshot = render.settle(objects)
    except K8sNetLabError as error:
        assert error.message.replace("\n", "").isprintable(), error.message
        return False
    for kind in snapshot.objects.values():
        for obj in kind.values():
            assert problem_of(obj) == "", obj
            decode(type(obj), encode(obj))
    for _, name in list(snapshot.all(Node))[:2]:
        for family in ("ipv4", "ipv6"):
            well_formed(render.dataplane(snapshot, name, family), bool(snapshot.all(Lab)))  # type: ignore[arg-type]
    return True


def well_formed(node: Any, linked: bool) -> None:
    for rules in node.rules:
        for key, chain in rules.chains.items():
            assert re.fullmatch(r"[A-Za-z0-9-]{1,28}|cali-[A-Za-z0-9._/-]{1,23}", key.chain)
            for rule in chain:
                assert RULE.fullmatch(rule), rule
                syntax.parse(rule)
    for netns in (node.node, *node.pods):
        if netns.name:
            file_of(netns.name)
            assert netns.name.isprintable() and " " not in netns.name
        for link in netns.links:
            assert re.fullmatch(r"[a-z0-9.@-]{1,15}", link.name), link
        for key, value in netns.sysctls.items():
            assert ".." not in key and "\n" not in value and key.isprintable()
    if linked:
        for operation in render.operations(node):
            assert str(operation).replace("\n", "").isprintable(), operation


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_hostile_values_are_refused_or_come_out_well_formed(seed: int) -> None:
    choose, documents = random.Random(f"{seed}"), corpus()
    taken = 0
    for number in range(ROUNDS // SEEDS):
        text = dumped(mutated(choose.choice(documents), choose))
        try:
            taken += check(text)
        except ManifestError:
            raise
        except Exception as error:
            raise AssertionError(f"seed {seed}, document {number}:\n{text}") from error
    assert taken >= ROUNDS // SEEDS // 50, "or nothing comes through to the end"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_values_in_the_store_are_objects_or_named(seed: int) -> None:
    """Bytes of stored objects, changed: decoded and looked at as the informer does."""
    choose = random.Random(f"store {seed}")
    stored = [
        (resource.type, encode(obj))
        for documents in corpus()
        for kind in render.settle(load([("f.yaml", dumped(documents))]).objects).objects.values()
        for obj in kind.values()
        for resource in RESOURCES
        if type(obj) is resource.type
    ]
    for _ in range(ROUNDS // SEEDS // 2):
        type_, value = choose.choice(stored)
        if choose.random() < 0.5:
            tree = mutated([msgspec.json.decode(value)], choose)
            data = msgspec.json.encode(tree[0] if tree else None)
        else:
            data = bytearray(value)
            for _ in range(choose.randrange(1, 4)):
                data[choose.randrange(len(data))] = choose.choice(b'\x00\xff"{}[]:,\\/. 0aA')
        try:
            obj = decode(type_, bytes(data))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        said = problem_of(obj)
        assert said.isprintable()
