"""For how long an answer is remembered, and when it is asked for anew, as CoreDNS' cache does."""

from __future__ import annotations

import pytest

from k8snetlab.dns.answers import Answer, Question, Record
from k8snetlab.dns.caching import NONE, Cache
from k8snetlab.dns.corefile import Block, parse
from k8snetlab.nameserver import remembering
from k8snetlab.nameserver.counters import Counters
from k8snetlab.nameserver.remembering import Memory

WWW = Question("www.example.com.", "A")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def there(ttl: int) -> Answer:
    return Answer(records=(Record(WWW.name, "A", ttl, "192.0.2.80"), Record(WWW.name, "A", ttl + 9, "192.0.2.81")))


NOWHERE = Answer("NXDOMAIN", authority=(Record("example.com.", "SOA", 300, "a. b. 1 2 3 4 5"),))


def of(*lines: str) -> Cache:
    block: Block
    (block,) = parse(". {\n cache " + "\n".join(lines) + "\n}")
    return block.cache


@pytest.mark.parametrize(
    ("cache", "question", "answer", "seconds"),
    [
        (of(), WWW, there(60), 60),
        (of(), WWW, there(7200), 3600),
        (of(), WWW, there(1), 5),  # at least so long
        (of(), WWW, NOWHERE, 300),
        (of("30"), WWW, there(60), 30),
        (of("30"), WWW, NOWHERE, 30),
        (of("{", "success 9984 100 20", "denial 9984 10", "}"), WWW, there(1), 20),
        (of("{", "success 9984 100 20", "denial 9984 10", "}"), WWW, there(3000), 100),
        (of("{", "success 9984 100 20", "denial 9984 10", "}"), WWW, NOWHERE, 10),
        (of(), WWW, Answer("SERVFAIL"), 5),
        (of("{", "servfail 0", "}"), WWW, Answer("SERVFAIL"), 0),
        (of("{", "servfail 20s", "}"), WWW, Answer("SERVFAIL"), 20),
        (of("{", "disable success example.com", "}"), WWW, there(60), 0),
        (of("{", "disable success example.com", "}"), WWW, NOWHERE, 300),
        (of("{", "disable denial", "}"), WWW, NOWHERE, 0),
        (of("{", "disable success corp.example", "}"), WWW, there(60), 60),
        (NONE, WWW, there(60), 0),
        (of(), WWW, Answer("NXDOMAIN"), 0),  # nobody says for how long
        (of(), WWW, Answer("REFUSED"), 0),
        (
            of(),
            WWW,
            Answer(records=(Record(WWW.name, "CNAME", 60, "elsewhere.example."),)),
            0,
        ),  # and where does it end?
        (NONE, WWW, Answer("SERVFAIL"), 0),
    ],
)
def test_an_answer_is_remembered_for_so_long(cache: Cache, question: Question, answer: Answer, seconds: int) -> None:
    clock = Clock()
    memory = Memory(cache, clock)
    memory.put(question, answer)
    assert (memory.get(Question("WWW.example.com.", "A"))[0] is not None) == (seconds > 0)
    clock.now += seconds - 0.1
    assert (memory.get(question)[0] is not None) == (seconds > 0)
    clock.now += 0.2
    assert memory.get(question) == (None, False)
    assert memory.get(Question(question.name, "AAAA")) == (None, False)


def test_what_comes_for_a_cache_that_began_anew_meanwhile_is_not_counted() -> None:
    counters, clock = Counters(), Clock()
    before = Memory(of(), clock, counters.cache((".",)))
    before.put(WWW, there(60))
    counters.emptied()
    after = Memory(of(), clock, counters.cache((".",)))
    before.put(WWW, there(60))
    assert not counters.cache((".",)).entries.total()
    after.put(WWW, there(60))
    assert counters.cache((".",)).entries == {"success": 1}


def test_an_answer_that_is_not_kept_leaves_what_is_remembered() -> None:
    memory = Memory(of(), Clock())
    memory.put(WWW, there(60))
    memory.put(WWW, Answer("REFUSED"))
    found, _ = memory.get(WWW)
    assert found is not None
    assert found.records


def test_an_answer_grows_old_unless_told_otherwise() -> None:
    """All its records as that which ends first, and with AA, as CoreDNS writes them."""
    for lines, ttls in (("",), (50, 50)), (("{", "keepttl", "}"), (60, 60)):
        clock = Clock()
        memory = Memory(of(*lines), clock)
        memory.put(WWW, there(60))
        clock.now += 10.5
        answer, _ = memory.get(WWW)
        assert answer is not None
        assert tuple(record.ttl for record in answer.records) == ttls
        assert answer.authoritative


def test_what_is_asked_for_often_is_asked_for_anew_near_its_end() -> None:
    clock = Clock()
    memory = Memory(of("60 {", "prefetch 3 10s 20%", "}"), clock)
    memory.put(WWW, there(60))
    assert [memory.get(WWW)[1] for _ in range(5)] == [False] * 5, "it is new"
    clock.now += 11
    assert not memory.get(WWW)[1]
    clock.now += 38
    assert [memory.get(WWW)[1] for _ in range(4)] == [False, False, True, True], "after a gap it is counted anew"
    memory.put(WWW, there(60))
    clock.now += 5
    assert not memory.get(WWW)[1], "it is new again"


def test_a_name_that_was_prefetched_is_as_often_asked_for_as_before() -> None:
    clock = Clock()
    memory = Memory(of("60 {", "prefetch 2 60s 10%", "}"), clock)
    memory.put(WWW, there(60))
    clock.now += 55
    assert [memory.get(WWW)[1] for _ in range(2)] == [False, True]
    memory.put(WWW, there(60))
    clock.now += 55
    assert memory.get(WWW)[1]


def test_without_prefetch_nothing_is_asked_for_anew() -> None:
    clock = Clock()
    memory = Memory(of("30"), clock)
    memory.put(WWW, there(60))
    clock.now += 29.5
    assert not any(memory.get(WWW)[1] for _ in range(50))


def test_what_was_asked_for_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "NAMES", 2)
    memory = Memory(of(), Clock())
    one, two, three = (Question(f"{name}.example.", "A") for name in ("one", "two", "three"))
    for question in (one, two):
        memory.put(question, there(60))
    memory.get(one)
    memory.put(three, there(60))
    assert [memory.get(question)[0] is not None for question in (one, two, three)] == [True, False, True]
