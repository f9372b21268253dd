"""An operator of twenty lines, on kopf: each ConfigMap labelled `shop` gets a Deployment that follows its size."""

import kopf
import kr8s


@kopf.on.startup()
def settle(settings, **_):
    settings.posting.enabled = True
    settings.persistence.finalizer = "shops.example.org/kopf"


@kopf.on.create("configmaps", labels={"shop": kopf.PRESENT})
@kopf.on.update("configmaps", labels={"shop": kopf.PRESENT}, field="data")
def open_shop(name, namespace, body, **_):
    labels = {"app": name}
    pods = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "nginx"}]}}
    spec = {"replicas": int(body["data"]["size"]), "selector": {"matchLabels": labels}, "template": pods}
    wanted = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    kopf.adopt(wanted, owner=body)
    deployment = kr8s.objects.Deployment(wanted)
    if deployment.exists():
        deployment.scale(spec["replicas"])
    else:
        deployment.create()
    kopf.info(body, reason="Opened", message=f"{name} has {spec['replicas']} pods")


@kopf.on.delete("configmaps", labels={"shop": kopf.PRESENT})
def close_shop(name, logger, **_):
    logger.info("%s is closed", name)
