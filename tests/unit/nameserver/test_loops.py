"""A server that meets its own question is in a loop; nobody else's question is one."""

from __future__ import annotations

import asyncio

import pytest

from k8snetlab.dns.answers import Answer, Question
from k8snetlab.dns.chain import Onward
from k8snetlab.dns.corefile import Block, Forward, parse
from k8snetlab.nameserver import loops
from k8snetlab.nameserver.loops import Loops

BLOCKS = parse(". {\n forward . 192.0.2.1\n loop\n}\ncorp.example {\n forward . 192.0.2.2\n loop\n}")
QUIET = parse(". {\n forward . 192.0.2.1\n}")


def asked(monkeypatch: pytest.MonkeyPatch, blocks: tuple[Block, ...], back: str = "") -> tuple[list[Onward], list[str]]:
    """What is asked of whom, and what is found, where questions to the server `back` come back."""
    monkeypatch.setattr(loops, "PAUSES", (0.0, 0.0, 0.0))
    sent: list[Onward] = []
    found: list[str] = []

    async def ask(onward: Onward) -> Answer:
        sent.append(onward)
        if back in [address for address, _ in onward.forward.to]:
            one.seen(Question(onward.question.name.upper(), "HINFO"))
        return Answer("SERVFAIL")

    async def work() -> None:
        one.look(blocks)
        for _ in range(100):  # turns of the loop, not time: a machine may stand still for longer than one would wait
            await asyncio.sleep(0)
        one.close()

    one = Loops(ask, found.append)
    asyncio.run(work())
    return sent, found


def test_each_forward_of_a_block_with_loop_is_asked_again_with_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, found = asked(monkeypatch, BLOCKS)
    assert not found
    assert [onward.forward.to[0][0] for onward in sent] == ["192.0.2.1", "192.0.2.2"] * 3
    assert {onward.question.type for onward in sent} == {"HINFO"}
    assert len({onward.question.name for onward in sent}) == 6
    assert all(onward.question.name.endswith(".corp.example.") for onward in sent[1::2])
    assert asked(monkeypatch, QUIET) == ([], [])


def test_a_question_that_comes_back_is_a_loop_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, found = asked(monkeypatch, BLOCKS, "192.0.2.2")
    (said,) = found
    assert said.startswith(
        'plugin/loop: Loop (:53 -> 192.0.2.2) detected for zone "corp.example.", see https://coredns'
    )


def test_the_question_of_somebody_else_is_none() -> None:
    found: list[str] = []

    async def ask(onward: Onward) -> Answer:
        return Answer()

    one = Loops(ask, found.append)
    one._names["1.2."] = ".", Forward(".")
    one.seen(Question("1.3.", "HINFO"))
    one.seen(Question("1.2.", "A"))
    assert not found
