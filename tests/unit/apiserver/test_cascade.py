"""A deletion that orphans keeps what it was to keep."""

from __future__ import annotations

import asyncio
from typing import Any

from face import PODS, Face, pod, with_face

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment() -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": pod("x")["spec"]}
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    return {"metadata": {"name": "a"}, "spec": spec}


def test_what_changes_while_its_owner_goes_is_kept_all_the_same() -> None:
    async def test(face: Face) -> None:
        made = await face.ask("POST", DEPLOYMENTS, deployment())
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a", "uid": made.json["metadata"]["uid"]}
        kept = pod("kept")
        kept["metadata"]["ownerReferences"] = [owner]
        await face.ask("POST", PODS, kept)
        cluster = face.cluster
        real = cluster.write_batch
        changed = asyncio.Event()

        async def late(writes: Any, *options: Any, **more: Any) -> Any:
            if not changed.is_set():
                changed.set()
                await face.patch(f"{PODS}/kept", {"metadata": {"labels": {"a": "b"}}})
            return await real(writes, *options, **more)

        cluster.write_batch = late  # type: ignore[method-assign]
        assert (await face.ask("DELETE", f"{DEPLOYMENTS}/a?propagationPolicy=Orphan")).code == 200
        assert changed.is_set()
        metadata = (await face.ask("GET", f"{PODS}/kept")).json["metadata"]
        assert metadata["labels"] == {"a": "b"} and "ownerReferences" not in metadata

    with_face(test)
