"""What is declared is answered, each verb by one function, and merged where all machines answer."""

from __future__ import annotations

from face import ANSWERING
from verbs import DECLARED

from k8snetlab.lab.merging import Merging
from k8snetlab.lab.table import Table
from k8snetlab.messages.verb import All

TABLE = Table(*(object.__new__(answering) for answering in (*ANSWERING, Merging)))


def test_every_declared_verb_is_answered_and_no_other() -> None:
    assert sorted(verb.name for verb in TABLE) == sorted(verb.name for verb in DECLARED)


def test_what_all_machines_answer_is_merged_and_nothing_else() -> None:
    of_all = [verb for verb in DECLARED if isinstance(verb.who, All) or isinstance(_otherwise(verb), All)]
    assert (
        {verb.name for verb in of_all}
        == {"status", "probe", "misses", "guest list", "fault list", "fault clear", "controlplane status"}
        == {verb.name for verb in TABLE.merged}
    )


def _otherwise(verb: object) -> object:
    return getattr(getattr(verb, "who", None), "otherwise", None)
