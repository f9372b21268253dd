"""resolv.conf as kubelet makes it, and the names that resolvers make of it."""

from __future__ import annotations

import pytest

from k8snetlab.dns import resolv, walk
from k8snetlab.dns.resolv import Resolv

HOST = Resolv(("192.168.0.1",), ("lab.example",), ("edns0",))
POD = resolv.cluster_first(("10.254.0.2",), "default", "cluster.local", Resolv())


def test_a_pod_asks_the_clusters_server_first() -> None:
    assert POD.text == (
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.254.0.2\noptions ndots:5\n"
    )
    with_host = resolv.cluster_first(("10.254.0.2",), "shop", "cluster.local", HOST)
    assert with_host.searches == ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "lab.example")
    assert with_host.options == ("ndots:5",), "options of the node are not taken over"


def test_a_pods_own_wishes_are_added_and_options_of_a_name_replaced() -> None:
    more = POD.with_more(["10.254.0.2", "1.1.1.1"], ["cluster.local", "corp.example"], ["ndots:2", "single-request"])
    assert more.nameservers == ("10.254.0.2", "1.1.1.1")
    assert more.searches[-2:] == ("cluster.local", "corp.example")
    assert more.options == ("ndots:2", "single-request")


def test_what_is_within_the_limits_is_left_as_it_is() -> None:
    wanted = Resolv(("1.1.1.1", "1.1.1.2", "1.1.1.3"), tuple(f"d{n}.example" for n in range(32)))
    assert resolv.fitting(wanted) == (wanted, ())


def test_the_fourth_name_server_is_omitted_and_said() -> None:
    kept, (message,) = resolv.fitting(Resolv(("1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4")))
    assert kept.nameservers == ("1.1.1.1", "1.1.1.2", "1.1.1.3")
    assert message == (
        "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
        "1.1.1.1 1.1.1.2 1.1.1.3"
    )


def test_the_33rd_search_domain_a_long_one_and_characters_above_2048_are_omitted() -> None:
    kept, (message,) = resolv.fitting(Resolv(searches=tuple(f"d{n}" for n in range(33))))
    assert len(kept.searches) == 32
    assert message.startswith("Search Line limits were exceeded, some search paths have been omitted, ")
    kept, _ = resolv.fitting(Resolv(searches=("a" * 254, "short.example")))
    assert kept.searches == ("short.example",)
    kept, _ = resolv.fitting(Resolv(searches=tuple(f"{n:02d}{'a' * 98}" for n in range(21))))
    assert len(kept.searches) == 20
    assert len(" ".join(kept.searches)) <= 2048


def test_a_file_is_read_as_glibc_reads_it() -> None:
    lines = (
        "# by hand",
        ";search x",
        "domain old",
        "search a.example b.example",
        "nameserver 10.0.0.1",
        "options ndots:2",
        "x y",
    )
    text = "\n".join(lines)
    assert resolv.read(text) == Resolv(("10.0.0.1",), ("a.example", "b.example"), ("ndots:2",))
    assert resolv.read(POD.text) == POD
    assert (POD.ndots, Resolv().ndots, Resolv(options=("ndots:99",)).ndots) == (5, 1, 15)
    assert Resolv(options=("ndots:many",)).ndots == 1


def asked(name: str, library: walk.Library, statuses: dict[str, str], has: Resolv = POD) -> list[str]:
    """The names that are asked for when those of `statuses` are answered so, and all others are NXDOMAIN."""
    walked = walk.names(name, has, library)
    found = []
    try:
        one = next(walked)
        while True:
            found.append(one)
            one = walked.send(statuses.get(one, "NXDOMAIN"))
    except StopIteration:
        return found


OUTSIDE = [
    "example.com.default.svc.cluster.local.",
    "example.com.svc.cluster.local.",
    "example.com.cluster.local.",
    "example.com.",
]


@pytest.mark.parametrize("library", ["glibc", "musl"])
def test_a_name_outside_costs_four_questions(library: walk.Library) -> None:
    assert asked("example.com", library, {"example.com.": "NOERROR"}) == OUTSIDE


@pytest.mark.parametrize("library", ["glibc", "musl"])
def test_a_name_with_a_dot_at_its_end_is_asked_for_as_it_is(library: walk.Library) -> None:
    assert asked("example.com.", library, {}) == ["example.com."]


def test_a_service_is_found_with_the_first_question_and_another_namespaces_with_the_second() -> None:
    assert asked("web", "glibc", {"web.default.svc.cluster.local.": "NOERROR"}) == ["web.default.svc.cluster.local."]
    assert asked("web.shop", "glibc", {"web.shop.svc.cluster.local.": "NOERROR"}) == [
        "web.shop.default.svc.cluster.local.",
        "web.shop.svc.cluster.local.",
    ]


def test_with_dots_enough_glibc_asks_as_it_is_and_then_the_list_musl_never_does() -> None:
    name = "a.b.c.d.e.f"
    assert asked(name, "glibc", {})[:2] == ["a.b.c.d.e.f.", "a.b.c.d.e.f.default.svc.cluster.local."]
    assert asked(name, "musl", {}) == ["a.b.c.d.e.f."]


def test_no_data_goes_on_in_glibc_and_ends_it_in_musl() -> None:
    statuses = {OUTSIDE[0]: "NODATA", OUTSIDE[1]: "SERVFAIL", "example.com.": "NOERROR"}
    assert asked("example.com", "glibc", statuses) == OUTSIDE
    assert asked("example.com", "musl", statuses) == OUTSIDE[:1]


def test_who_has_no_address_is_not_asked() -> None:
    assert resolv.read("nameserver dns.example\nnameserver 192.0.2.1\nnameserver fd00::1\n").servers == (
        "192.0.2.1",
        "fd00::1",
    )
