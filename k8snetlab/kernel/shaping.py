"""tc's queueing disciplines netem and tbf at the root of a device: put there, read back with what they counted, and
taken away.

Source: linux/pkt_sched.h, linux/gen_stats.h, net/sched/sch_netem.c, net/sched/sch_tbf.c. Times are told in ns and sizes
in octets (TCA_NETEM_LATENCY64, TCA_TBF_BURST), so that neither ticks nor rate tables are needed.
"""

from __future__ import annotations

import errno
import os
import secrets
import struct
from collections.abc import Iterator, Mapping

import msgspec

from k8snetlab.dataplane.shaping import Shape
from k8snetlab.errors import KernelError, NotFoundError
from k8snetlab.kernel import fault, netns
from k8snetlab.kernel.decoded import Device, devices, whole
from k8snetlab.kernel.messages import (
    HEADER,
    IFF_UP,
    IFLA_MTU,
    IFLA_QDISC,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    RTM_NEWLINK,
    NetlinkRequest,
    attribute,
    ifinfomsg,
    number,
    text,
)
from k8snetlab.kernel.netlink import Netlink, Refusal, attributes

HANDLE = 0x8B50 << 16
"""`tc` shows it as 8b50: and it tells the lab's own from somebody else's."""
_RTM_NEWQDISC, _RTM_DELQDISC, _RTM_GETQDISC = 36, 37, 38
_TCA_KIND, _TCA_OPTIONS, _TCA_STATS2 = 1, 2, 7
_STATS_BASIC, _STATS_QUEUE = 1, 3
_NETEM_RATE, _NETEM_RATE64, _NETEM_LATENCY64, _NETEM_JITTER64 = 6, 8, 10, 11
_TBF_PARMS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
_TC_H_ROOT, _ETHERNET = 0xFFFFFFFF, 1
_TCMSG, _NETEM, _NETEM_RATES = struct.Struct("=BxxxiIII"), struct.Struct("=6I"), struct.Struct("=IiIi")
_TBF = struct.Struct("=BBHhHIBBHhHIIII")
"""struct tc_tbf_qopt: rate and peakrate (cell_log, linklayer, overhead, cell_align, mpu, rate), limit, buffer, mtu."""
PACKETS = 10_000
"""That netem holds back before it loses those that come: what is slow is not to be lossy."""
_U32 = (1 << 32) - 1
_KINDS = (b"netem", b"tbf")


class Held(msgspec.Struct, frozen=True):
    """A discipline at the root of a device. `drops` counts what it lost, on purpose or for want of room; `overlimits`
    how often it made a packet wait for its rate."""

    device: str
    kind: str
    ours: bool
    shape: Shape
    octets: int = 0
    packets: int = 0
    drops: int = 0
    overlimits: int = 0
    waiting: int = 0
    """Packets that it holds back now."""


def held(namespace: str) -> dict[str, Held]:
    """The disciplines netem and tbf at the roots of a namespace's devices, by device. Raises NotFoundError."""
    with Netlink(namespace) as netlink:
        found = {one.ifindex: one.name for one in devices(netlink).values()}
        return {one.device: one for one in _held(netlink, found)}


def queues(netlink: Netlink, links: Mapping[int, Device]) -> dict[str, str]:
    """By device, what shapes it, in words. Where the devices themselves say that none is shaped nothing is asked."""
    if not any(link.given.get(IFLA_QDISC, b"").rstrip(b"\0") in _KINDS for link in links.values()):
        return {}
    found = _held(netlink, {link.ifindex: link.name for link in links.values()})
    return {one.device: f"{one.kind} {one.shape.words()}" for one in found}


def put(namespace: str, device: str, shape: Shape) -> None:
    """Puts it at the root of a device, in the place of what is there. Raises KernelError with tc's command,
    NotFoundError where there is no such device."""
    fault.point()
    with Netlink(namespace) as netlink:
        refusal = _put(netlink, device, shape)
    if refusal:
        words = f"tc -n {namespace} qdisc replace dev {device} root {shape.kind} {shape.words()}"
        raise KernelError(f"{words}: {refusal}", _hint(refusal, shape.kind), operation=words)


def remove(namespace: str, device: str) -> None:
    """Takes away the lab's own at the root of a device, if there is one."""
    fault.point()
    with Netlink(namespace) as netlink:
        index = netlink.index(device)
        body = _TCMSG.pack(0, index, HANDLE, _TC_H_ROOT, 0)
        [refusal] = netlink.batch([NetlinkRequest(_RTM_DELQDISC, 0, body)]) if index else [None]
    if refusal and refusal.errno not in (errno.ENOENT, errno.ENODEV, errno.EINVAL):
        words = f"tc -n {namespace} qdisc del dev {device} root"
        raise KernelError(f"{words}: {refusal}", operation=words)


def supported(kind: str) -> bool:
    """Whether this kernel has a discipline (it loads the module sch_KIND by itself where there is one), found by trying
    it in a namespace that is thrown away."""
    name = f"k8snetlab-doctor-{os.getpid()}-{secrets.token_hex(2)}"
    netns.create(name)
    try:
        return try_on(name, kind)
    finally:
        netns.delete(name)


def try_on(namespace: str, kind: str) -> bool:
    """As `supported`, in a namespace that is there; its lo has the discipline then."""
    with Netlink(namespace) as netlink:
        return _put(netlink, "lo", Shape(delay=1) if kind == "netem" else Shape(rate=10**6)) is None


def _put(netlink: Netlink, device: str, shape: Shape) -> Refusal | None:
    index = netlink.index(device)
    if not index:
        raise NotFoundError(f"there is no device {device} in {netlink.namespace}")
    options = _netem(shape) if shape.kind == "netem" else _tbf(shape, whole(devices(netlink)[index].given, IFLA_MTU))
    body = _TCMSG.pack(0, index, HANDLE, _TC_H_ROOT, 0) + text(_TCA_KIND, shape.kind)
    body += attribute(_TCA_OPTIONS, options)
    refusals = netlink.batch([NetlinkRequest(_RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body)])
    if refusals[0] and refusals[0].errno == errno.EINVAL:  # of another kind under the same handle: it goes first
        gone = _TCMSG.pack(0, index, 0, _TC_H_ROOT, 0)
        netlink.batch([NetlinkRequest(_RTM_DELQDISC, 0, gone)])
        refusals = netlink.batch([NetlinkRequest(_RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body)])
    return refusals[0]


def _netem(shape: Shape) -> bytes:
    data = _NETEM.pack(0, PACKETS, shape.loss, 0, 0, 0)
    data += attribute(_NETEM_LATENCY64, shape.delay.to_bytes(8, "little"))
    data += attribute(_NETEM_JITTER64, shape.jitter.to_bytes(8, "little"))
    rate = _NETEM_RATES.pack(min(shape.rate, _U32), 0, 0, 0)
    data += attribute(_NETEM_RATE64, shape.rate.to_bytes(8, "little")) if shape.rate > _U32 else b""
    return data + attribute(_NETEM_RATE, rate)


def _tbf(shape: Shape, mtu: int) -> bytes:
    """It may send 10 ms of its rate at once, or one frame, and holds back 50 ms of it, or ten frames."""
    frame = mtu + 100
    burst = max(shape.rate // 100, frame)
    limit = min(burst + max(shape.rate // 20, 10 * frame), _U32)
    rate = (0, _ETHERNET, 0, 0, 0, min(shape.rate, _U32))
    data = attribute(_TBF_PARMS, _TBF.pack(*rate, 0, 0, 0, 0, 0, 0, limit, 0, 0))
    data += attribute(_TBF_RATE64, shape.rate.to_bytes(8, "little")) if shape.rate > _U32 else b""
    return data + number(_TBF_BURST, min(burst, _U32))


def _held(netlink: Netlink, names: dict[int, str]) -> Iterator[Held]:
    request = NetlinkRequest(_RTM_GETQDISC, 0, _TCMSG.pack(0, 0, 0, 0, 0))
    for message in netlink.dump(request):
        _, index, handle, parent, _ = _TCMSG.unpack_from(message, HEADER.size)
        given = attributes(message, HEADER.size + _TCMSG.size)
        kind = given.get(_TCA_KIND, b"").rstrip(b"\0").decode()
        if parent != _TC_H_ROOT or kind not in ("netem", "tbf") or index not in names:
            continue
        options = given.get(_TCA_OPTIONS, b"")
        found = _netem_shape(options) if kind == "netem" else _tbf_shape(options)
        stats = attributes(given.get(_TCA_STATS2, b""))
        octets, packets = struct.unpack_from("=QI", stats.get(_STATS_BASIC, bytes(12)))
        waiting, _, drops, _, overlimits = struct.unpack_from("=5I", stats.get(_STATS_QUEUE, bytes(20)))
        yield Held(names[index], kind, handle == HANDLE, found, octets, packets, drops, overlimits, waiting)


def _netem_shape(options: bytes) -> Shape:
    loss = _NETEM.unpack_from(options)[2] if len(options) >= _NETEM.size else 0
    given = attributes(options, _NETEM.size)
    slow = given.get(_NETEM_RATE, b"")
    rate = _NETEM_RATES.unpack_from(slow)[0] if len(slow) >= _NETEM_RATES.size else 0
    return Shape(
        delay=_long(given.get(_NETEM_LATENCY64, b"")),
        jitter=_long(given.get(_NETEM_JITTER64, b"")),
        loss=loss,
        rate=_long(given.get(_NETEM_RATE64, b"")) or rate,
    )


def _tbf_shape(options: bytes) -> Shape:
    given = attributes(options)
    parms = given.get(_TBF_PARMS, b"")
    rate = _TBF.unpack_from(parms)[5] if len(parms) >= _TBF.size else 0
    return Shape(rate=_long(given.get(_TBF_RATE64, b"")) or rate)


def _long(data: bytes) -> int:
    return int.from_bytes(data[:8], "little")


def _hint(refusal: Refusal, kind: str) -> str:
    return f"this kernel has no {kind}: modprobe sch_{kind}" if refusal.errno == errno.ENOENT else ""


def exists(namespace: str, device: str) -> bool:
    with Netlink(namespace) as netlink:
        return bool(netlink.index(device))


def lower(namespace: str, device: str) -> None:
    """Takes a device down, if it is up: `ip link set DEVICE down`. Raises NotFoundError where there is none."""
    fault.point()
    with Netlink(namespace) as netlink:
        found = next((one for one in devices(netlink).values() if one.name == device), None)
        if found is None:
            raise NotFoundError(f"there is no device {device} in {namespace}")
        if found.flags & IFF_UP:
            [refusal] = netlink.batch([NetlinkRequest(RTM_NEWLINK, 0, ifinfomsg(found.ifindex, 0, IFF_UP))])
            if refusal:
                words = f"ip -n {namespace} link set dev {device} down"
                raise KernelError(f"{words}: {refusal}", operation=words)
