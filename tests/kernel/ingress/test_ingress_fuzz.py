"""Thousands of Ingresses that nobody has checked, read by nginx itself."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from unchecked import CLASS, ingress

from k8snetlab.addons import nginx
from k8snetlab.addons.program import Place
from k8snetlab.api.snapshot import Snapshot
from k8snetlab.kernel import netns
from k8snetlab.render.ingress import collect, conf
from k8snetlab.running import fake_certificate
from k8snetlab.testing.services import endpoint, service, slice_of

COUNT = int(os.environ.get("K8SNETLAB_INGRESSES", "5000"))
EACH = 400
"""Ingresses of one nginx.conf."""


def test_nginx_takes_whatever_stands_in_ingresses(namespace: Callable[[str], str], tmp_path: Path) -> None:
    where = namespace("nginx")
    web = (service("web"), slice_of("web", endpoint("10.244.1.5"), endpoint("10.244.2.5")))
    certificate = fake_certificate.read(tmp_path / "fake.pem")
    place = Place("n", where, netns.number(where) or 0, str(tmp_path / "nginx"))
    for seed in range(max(1, COUNT // EACH)):
        chance = random.Random(seed)
        objects = [ingress(number, chance, expressions=False) for number in range(min(EACH, COUNT))]
        site = collect.site(Snapshot.of([CLASS, *web, *objects]))
        assert len(site.servers) > EACH // 5
        text = conf.render(site).text
        files = {**site.files, conf.DEFAULT_CERTIFICATE: certificate, conf.FILE: text}
        assert nginx.refusal(place, files) == "", seed
