"""Hosts of Mininet on its Linux bridges, without a controller. Run by the system's Python, which has Mininet:

    python3 mininet_hosts.py HOSTS PORTS

Prints the seconds of making them, pings the last from the first, waits for a line, stops, prints the seconds of that.
"""

from __future__ import annotations

import sys
import time

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge


def main() -> None:
    hosts, ports = int(sys.argv[1]), int(sys.argv[2])
    setLogLevel("error")
    began = time.perf_counter()
    net = Mininet(controller=None, switch=LinuxBridge, ipBase="10.0.0.0/8")
    switches: list[LinuxBridge] = []
    for number in range(hosts):
        if number % ports == 0:
            switches.append(net.addSwitch(f"s{len(switches) + 1}"))
            if number:
                net.addLink(*switches[-2:])
        net.addLink(net.addHost(f"h{number + 1}"), switches[-1])
    net.start()
    took = time.perf_counter() - began
    said = net.hosts[0].cmd(f"ping -c1 -W2 -w30 {net.hosts[-1].IP()}")
    if hosts > 1 and " 0% packet loss" not in said:
        sys.exit(f"no ping from the first host to the last: {said.strip()}")
    print(f"{took:.6f}", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    net.stop()
    print(f"{time.perf_counter() - began:.6f}", flush=True)


if __name__ == "__main__":
    main()
