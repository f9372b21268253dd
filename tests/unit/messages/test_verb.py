"""What a declaration of a verb says: what is asked over HTTP is what is heard there."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec
import pytest
from verbs import DECLARED

from k8snetlab.apiserver import verbs
from k8snetlab.apiserver.verbs import Meant, VerbPaths
from k8snetlab.errors import RequestError
from k8snetlab.messages.changes import APPLY, UP, WAIT, Change, Named, Up, Wait
from k8snetlab.messages.nodes import AGENTS, MISSES, PAUSE, AgentsQuestion, MissesQuestion, NodeName
from k8snetlab.messages.places import EXEC, LOGS, RESOLVE, Execute, LogsQuestion, Resolve
from k8snetlab.messages.probe import PROBE, ProbeQuestion
from k8snetlab.messages.timeouts import LONG
from k8snetlab.messages.trace import TRACE, TraceQuestion
from k8snetlab.messages.verb import BASE, OfNode, OfPlace, OfPod, Verb
from k8snetlab.messages.watch import WATCH, WatchQuestion

PATHS = VerbPaths(DECLARED)
QUESTIONS: list[tuple[Verb[Any], Any]] = [
    (RESOLVE, Resolve("shop/web-1", "sh op")),
    (RESOLVE, Resolve("ä&=?#%2F")),
    (RESOLVE, Resolve("")),
    (PAUSE, NodeName("")),
    (LOGS, LogsQuestion("shop", "web", "c", follow=True, tailLines=-1, limitBytes=7)),
    (LOGS, LogsQuestion("shop", "web")),
    (EXEC, Execute("web", command=("sh", "-c", "a=1&b; echo 'x y'"), tty=True, rows=50, columns=132, term="xterm")),
    (EXEC, Execute("shop/web")),
    (WATCH, WatchQuestion(("one", "two"), (80, 0))),
    (PAUSE, NodeName("node1")),
    (MISSES, MissesQuestion()),
    (AGENTS, AgentsQuestion(2**40)),
    (UP, Up(objects=[{"kind": "Pod", "x": [None, 1.5]}], yes=True, wait=False, timeout=1.5)),
    (APPLY, Change(objects=[])),
    (WAIT, Wait(objects=(Named("Deployment", "web", "shop"),))),
    (PROBE, ProbeQuestion("client", "web", 80, ("TCP",), "shop")),
    (PROBE, ProbeQuestion()),
    (TRACE, TraceQuestion("client", "web:80", predictOnly=True)),
]


def heard(verb: Verb[Any], question: Any) -> Any:
    """The question as the daemon reads it, and that its path is that of no other verb."""
    path, _, query = verb.target(question).partition("?")
    values = parse_qs(query, keep_blank_values=True)
    body = verb.body(question)
    meant = PATHS.find(verb.method, unquote(path))
    assert meant.verb is verb
    verbs.check(verb, values)
    return verbs.asked(meant, values, msgspec.json.decode(body) if body else None)


@pytest.mark.parametrize(("verb", "question"), QUESTIONS, ids=lambda value: getattr(value, "name", ""))
def test_what_is_asked_is_what_is_heard(verb: Verb[Any], question: Any) -> None:
    assert heard(verb, question) == question


def test_no_two_verbs_have_one_way_or_one_name() -> None:
    assert len({(verb.method, verb.path) for verb in DECLARED}) == len({verb.name for verb in DECLARED})
    assert len({verb.name for verb in DECLARED}) == len(DECLARED) > 25


def needed(verb: Verb[Any]) -> set[str]:
    """The fields of the request by which the daemon that answers is found."""
    match verb.who:
        case OfNode():
            return {"node"}
        case OfPod():
            return {"namespace", "name"}
        case OfPlace(field):
            return {"namespace", field}
    return set()


@pytest.mark.parametrize("verb", DECLARED, ids=lambda verb: verb.name)
def test_a_path_names_fields_of_the_request(verb: Verb[Any]) -> None:
    fields = {field.encode_name for field in msgspec.structs.fields(verb.request)}
    for parameter in [part[1:-1].partition(":")[0] for part in verb.path.split("/") if part.startswith("{")]:
        assert parameter in fields
    assert needed(verb) <= {field.name for field in msgspec.structs.fields(verb.request)}
    assert verb.silence is None or 0 < verb.silence <= LONG


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("status?x=1", "unknown query parameter 'x'"),
        ("pods/default/a/log?tailLines=x", "tailLines: expected a whole number from -1 to"),
        ("pods/default/a/log?tailLines=-2", "tailLines: expected a whole number from -1 to"),
        ("pods/default/a/log?limitBytes=0", "limitBytes: expected a whole number from 1 to"),
        ("pods/default/a/log?follow=maybe", "follow: expected true or false, got 'maybe'"),
        ("leases?node=a&node=b", "the query parameter 'node' is given 2 times"),
    ],
)
def test_a_word_that_says_nothing_is_refused(target: str, message: str) -> None:
    path, _, query = target.partition("?")
    meant, values = PATHS.find("GET", f"{BASE}/{path}"), parse_qs(query)
    with pytest.raises(RequestError) as refused:
        verbs.check(meant.verb, values)
        verbs.asked(meant, values)
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("verb", "body", "message"),
    [
        ("up", {"timeout": 1}, "Object missing required field `objects`"),
        ("up", {"objects": [], "timeout": "1"}, r"Expected `float`, got `str` - at `\$.timeout`"),
        ("apply", {"objects": [], "timeout": 0}, "timeout: expected seconds, more than 0"),
        ("wait", {"objects": [{"kind": "Pod"}]}, r"missing required field `name` - at `\$.objects\[0\]`"),
        ("end", {"patience": True}, r"Expected `float`, got `bool` - at `\$.patience`"),
        ("probe", {"from": "a"}, "to: is missing"),
        ("probe", {"protocols": ["TCP", 1]}, r"Expected `str`, got `int` - at `\$.protocols\[1\]`"),
        (
            "wait",
            {"objects": [{"kind": "a", "name": None}]},
            r"Expected `str`, got `null` - at `\$.objects\[0\].name`",
        ),
        ("up", {"objects": None}, r"Expected `array`, got `null` - at `\$.objects`"),
        ("apply", [1], "the body of the request is to be an object, got"),
    ],
)
def test_what_is_wrong_in_a_body_is_said_with_its_path(verb: str, body: Any, message: str) -> None:
    with pytest.raises((RequestError, msgspec.ValidationError), match=message):
        verbs.asked(PATHS.find("POST", f"{BASE}/{verb}"), {}, body)


NEEDED = {"objects": [], "from": "client", "to": "web", "node": "node1", "name": "client"} | dict.fromkeys(
    ("netns", "pod", "url"), "mine"
)


@pytest.mark.parametrize("verb", [verb for verb in DECLARED if not verb.has_query], ids=lambda verb: verb.name)
def test_null_in_a_body_is_as_nothing_for_what_may_be_left_out(verb: Verb[Any]) -> None:
    fields = msgspec.structs.fields(verb.request)
    given = {field.encode_name: NEEDED[field.encode_name] for field in fields if field.required}
    nulls = {field.encode_name: None for field in fields if not field.required}
    meant = Meant(verb, {})
    assert verbs.asked(meant, {}, given | nulls) == verbs.asked(meant, {}, given)


def test_null_in_an_object_of_a_body_is_as_nothing() -> None:
    body = {"objects": [{"kind": "Pod", "name": "web", "namespace": None}], "timeout": None}
    assert verbs.asked(Meant(WAIT, {}), {}, body) == Wait(objects=(Named("Pod", "web"),))


def test_null_in_an_object_of_kubernetes_stays() -> None:
    body = {"objects": [{"kind": "Pod", "metadata": None}]}
    assert verbs.asked(Meant(APPLY, {}), {}, body) == Change(objects=body["objects"])


def test_what_follows_base_may_be_any_name() -> None:
    meant = PATHS.find("GET", f"{BASE}/tables/a/b\nc")
    assert (meant.verb.name, meant.parameters) == ("tables", {"name": "a/b\nc"})
