"""nginx by hand is a lab's, for whom it passes requests on to and in its log; and what requests take is measured."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks import labs
from benchmarks.asking import seconds, seconds_of_a_core
from benchmarks.ingress import HOST, address_of, by_hand, controller_of, doors, front, point, the_lab
from benchmarks.labs import Lab
from k8snetlab.kernel import netns

pytestmark = pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is missing")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere"


@pytest.fixture(scope="module")
def one() -> Iterator[Lab]:
    with the_lab() as made:
        yield made


def test_both_ways_of_measuring_find_something_and_leave_programs_to_all_cores(one: Lab) -> None:
    ways = doors(one)
    pids = {0, *(pid for way in ways for pid in way.pids)}
    before = [os.sched_getaffinity(pid) for pid in pids]
    found = [*seconds(ways, 2), *seconds_of_a_core(ways, 2)]
    assert all(len(each) == 2 and min(each) > 0 for each in found)
    assert (len(pids), [os.sched_getaffinity(pid) for pid in pids]) == (4, before)


def test_nginx_by_hand_passes_on_the_same_headers_and_logs_the_same_words(one: Lab) -> None:
    file = one.directory / "heard.json"
    file.write_text(json.dumps(labs.pod("heard", 9)))
    one.timed("apply", "-f", str(file))
    by_hand(one, "other-hand", "heard")
    point(one, "heard")
    with netns.inside(one.netns("default", "heard")):
        listener = socket.create_server(("", 8080))
    with listener:
        ours, hand = (heard(listener, one, address) for address in (front(one), address_of(one, "other-hand")))
    assert ours == hand and len(ours) == 10

    (made,) = one.directory.glob("run/*/ingress/*/conf/nginx.conf")
    (portions,) = re.findall(r"access_log /dev/stdout \w+ (.*);", made.read_text())
    written = one.directory / "other-hand.conf"
    assert re.findall(r"access_log \S+ \w+ ([^;]*);", written.read_text()) == [portions]
    pod = controller_of(one)["metadata"]["name"]
    line = last(lambda: one.output("logs", pod, "-n", "ingress-nginx"), address_of(one, "heard"))
    assert line == last((one.directory / "other-hand.log").read_text, address_of(one, "heard"))


def heard(listener: socket.socket, one: Lab, address: str) -> list[bytes]:
    """The headers that a request by an nginx comes with, without what is another one each time."""
    asking = threading.Thread(target=asked, args=(one.netns("node1"), address))
    asking.start()
    line, _ = listener.accept()
    with line:
        text = b""
        while not text.endswith(b"\r\n\r\n"):
            text += line.recv(4096)
        line.sendall(ANSWER)
        asking.join()
    return sorted(re.sub(rb"[0-9a-f]{32}", b"ID", text).split(b"\r\n")[:-2])


def asked(namespace: str, address: str) -> None:
    with netns.inside(namespace), socket.create_connection((address, 80), timeout=20) as line:
        line.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        while line.recv(4096):
            pass


def last(read: Callable[[], str], word: str) -> str:
    """The last line with a word, once there is one, without what is another one each time."""
    until = time.monotonic() + 10
    while not (lines := [line for line in read().splitlines() if word in line]):
        assert time.monotonic() < until
        time.sleep(0.02)
    return re.sub(r"[0-9a-f]{32}", "ID", re.sub(r"\[\d\d/.*?\]|\b\d\.\d{3}\b", "TIME", lines[-1]))
