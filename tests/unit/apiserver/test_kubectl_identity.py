"""A real kubectl: ServiceAccounts' tokens, and RBAC where it is enforced."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import kubectl
import pytest
from kubectl import Kubectl
from msgspec.structs import replace

from k8snetlab.api.lab import ApiSpec, Lab
from k8snetlab.store.keys import Keys
from k8snetlab.store.signing import ISSUER, Account

pytestmark = pytest.mark.skipif(kubectl.found() is None, reason=kubectl.NOWHERE)


class Server:
    """A face with a namespace of its own, and kubectl as an administrator and by token."""

    def __init__(self, directory: Path, face: Any, listener: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.directory, self.face, self.listener, self.loop = directory, face, listener, loop
        program = kubectl.found()
        assert program
        self.program = program
        self.admin = Kubectl(program, directory, kubectl.kubeconfig(listener, "admin", directory / "admin"))

    def by_token(self, token: str) -> Kubectl:
        config = json.loads((self.directory / "admin").read_text())
        config["users"][0]["user"] = {"token": token}
        file = self.directory / "token"
        file.write_text(json.dumps(config))
        return Kubectl(self.program, self.directory, file)

    def enforce(self, rbac: bool) -> None:
        lab = next(iter(self.face.cluster.snapshot.all(Lab).values()))

        def change(stored: Lab) -> Lab:
            return replace(stored, spec=replace(stored.spec, api=ApiSpec(rbac=rbac)))

        asyncio.run_coroutine_threadsafe(self.face.cluster.edit(lab, change), self.loop).result(30)

    def until(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("identity")
    with kubectl.serving(directory) as (face, listener, loop):
        made = Server(directory, face, listener, loop)
        ca = listener.authority.pem.decode()
        made.admin.run(
            "create",
            "configmap",
            "-n",
            "kube-system",
            "extension-apiserver-authentication",
            f"--from-literal=client-ca-file={ca}",
        )
        made.until(lambda: "cluster-admin" in made.admin.run("get", "clusterrolebindings", "-o", "name"))
        made.admin.run("create", "serviceaccount", "robot")
        yield made


@pytest.fixture
def enforced(server: Server) -> Iterator[Server]:
    server.enforce(True)
    yield server
    server.enforce(False)


def test_a_token_says_whose_it_is_and_gets_in(server: Server) -> None:
    token = server.admin.run("create", "token", "robot", "--duration=20m").strip()
    said = jwt.decode(token, options={"verify_signature": False})
    assert (said["iss"], said["aud"], said["sub"]) == (ISSUER, [ISSUER], "system:serviceaccount:default:robot")
    assert said["exp"] - said["iat"] == 1200
    uid = server.admin.json("get", "serviceaccount", "robot")["metadata"]["uid"]
    assert said["kubernetes.io"] == {"namespace": "default", "serviceaccount": {"name": "robot", "uid": uid}}
    robot = server.by_token(token)
    assert robot.json("auth", "whoami")["status"]["userInfo"]["groups"] == [
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    ]
    assert robot.run("get", "pods") == "" and "not found" in robot.run("get", "pod", "nothing", code=1)


def test_what_is_no_good_token_is_401_in_a_real_servers_words(server: Server, tmp_path: Path) -> None:
    signer, now = server.listener.keys.signer, time.time()
    uid = server.admin.json("get", "serviceaccount", "robot")["metadata"]["uid"]
    robot = Account("default", "robot", uid)
    good = signer.token(robot, [ISSUER], 600, now)
    head, body, signature = good.split(".")
    assert "default" in server.by_token(good).run("get", "ns", "-o", "name")
    bad = {
        "expired": signer.token(robot, [ISSUER], 600, now - 601),
        "forged": f"{head}.{body}.{signature[:-4]}AAAA",
        "unsigned": jwt.encode(jwt.decode(good, options={"verify_signature": False}), "", "none"),
        "of another lab": Keys(tmp_path).signer.token(robot, [ISSUER], 600, now),
        "for others": signer.token(robot, ["https://vault"], 600, now),
        "of a ServiceAccount that was made anew": signer.token(replace(robot, uid="0"), [ISSUER], 600, now),
        "nonsense": "abc",
    }
    for why, token in bad.items():
        said = server.by_token(token).run("get", "ns", code=1)
        assert said.endswith("error: You must be logged in to the server (Unauthorized)\n"), why


def test_a_review_says_whose_a_token_is(server: Server) -> None:
    token = server.admin.run("create", "token", "robot", "--audience=vault").strip()

    def reviewed(*audiences: str) -> Any:
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": list(audiences)},
        }
        return json.loads(server.admin.run("create", "-o", "json", "-f", "-", stdin=json.dumps(review)))["status"]

    status = reviewed("vault")
    assert status["authenticated"] and status["audiences"] == ["vault"]
    assert status["user"]["username"] == "system:serviceaccount:default:robot"
    assert "invalid bearer token" in reviewed()["error"]


def test_a_token_is_asked_for_within_limits(server: Server) -> None:
    assert "may not specify a duration less than 10 minutes" in server.admin.run(
        "create", "token", "robot", "--duration=1m", code=1
    )
    assert 'serviceaccounts "nobody" not found' in server.admin.run("create", "token", "nobody", code=1)
    assert 'pods "gone" not found' in server.admin.run(
        "create", "token", "robot", "--bound-object-kind=Pod", "--bound-object-name=gone", code=1
    )


def test_a_namespace_has_its_account_and_the_ca(server: Server) -> None:
    server.admin.run("create", "ns", "own")
    ca = server.listener.authority.pem.decode()
    server.until(lambda: server.admin.try_("get", "cm", "-n", "own", "kube-root-ca.crt").returncode == 0)
    assert server.admin.json("get", "cm", "-n", "own", "kube-root-ca.crt")["data"] == {"ca.crt": ca}
    server.admin.run("delete", "cm", "-n", "own", "kube-root-ca.crt")
    server.until(lambda: server.admin.try_("get", "cm", "-n", "own", "kube-root-ca.crt").returncode == 0)


def test_what_is_stored_and_not_enforced_is_warned_of(server: Server) -> None:
    done = server.admin.try_("create", "role", "unread", "--verb=get", "--resource=pods")
    assert (
        "Warning: RBAC is stored, and not enforced" in done.stderr
        and "role.rbac.authorization.k8s.io/unread created" in done.stdout
    )
    server.admin.run("delete", "role", "unread")


def test_a_role_lets_in_whom_it_is_bound_to(enforced: Server) -> None:
    admin = enforced.admin
    robot = enforced.by_token(admin.run("create", "token", "robot").strip())
    said = robot.run("get", "pods", code=1)
    assert said == (
        'Error from server (Forbidden): pods is forbidden: User "system:serviceaccount:default:robot" cannot list '
        'resource "pods" in API group "" in the namespace "default"\n'
    )
    assert robot.try_("auth", "can-i", "list", "pods").stdout == "no\n"
    admin.run("create", "role", "reader", "--verb=get,list,watch", "--resource=pods,pods/log")
    admin.run("create", "rolebinding", "reads", "--role=reader", "--serviceaccount=default:robot")
    assert robot.run("get", "pods") == "" and robot.run("auth", "can-i", "list", "pods") == "yes\n"
    assert 'in the namespace "kube-system"' in robot.run("get", "pods", "-n", "kube-system", code=1)
    assert "cannot delete resource" in robot.run("delete", "pod", "x", code=1)
    table = robot.run("auth", "can-i", "--list")
    assert "pods/log" in table and "[get list watch]" in table and "selfsubjectreviews.authentication.k8s.io" in table
    assert admin.run("auth", "can-i", "list", "pods", "--as=system:serviceaccount:default:robot") == "yes\n"
    wide = admin.run("get", "rolebinding", "reads", "-o", "wide").split()
    assert {"Role/reader", "default/robot"} <= set(wide)
    admin.run("delete", "rolebinding/reads", "role/reader")


def test_a_cluster_role_is_bound_in_a_namespace_and_everywhere(enforced: Server) -> None:
    admin = enforced.admin
    admin.run("create", "rolebinding", "views", "--clusterrole=view", "--user=ann")
    ann = ("--as=ann",)
    assert admin.run("get", "svc", "-o", "name", *ann) == ""
    assert 'cannot list resource "secrets"' in admin.run("get", "secrets", *ann, code=1)
    assert 'cannot list resource "nodes" in API group "" at the cluster scope' in admin.run(
        "get", "nodes", *ann, code=1
    )
    admin.run("create", "clusterrole", "nodes", "--verb=list", "--resource=nodes")
    admin.run("create", "clusterrolebinding", "nodes", "--clusterrole=nodes", "--group=operators")
    assert "node1" in admin.run("get", "nodes", "-o", "name", *ann, "--as-group=operators")
    admin.run("create", "rolebinding", "lost", "--role=gone", "--user=bob")
    said = admin.run("get", "pods", "--as=bob", code=1)
    assert said.endswith('in the namespace "default": RBAC: role.rbac.authorization.k8s.io "gone" not found\n')
    admin.run("delete", "rolebinding/views", "rolebinding/lost", "clusterrole/nodes", "clusterrolebinding/nodes")


def test_nobody_gives_away_what_he_does_not_have(enforced: Server) -> None:
    admin = enforced.admin
    admin.run("create", "rolebinding", "administers", "--clusterrole=admin", "--user=eve")
    eve = ("--as=eve",)
    admin.run("create", "role", "small", "--verb=get", "--resource=pods", *eve)
    said = admin.run("create", "role", "large", "--verb=get,list", "--resource=nodes", *eve, code=1)
    assert said == (
        'Error from server (Forbidden): roles.rbac.authorization.k8s.io "large" is forbidden: user "eve" '
        '(groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n'
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}\n'
    )
    admin.run("create", "rolebinding", "given", "--role=small", "--user=tom", *eve)
    said = admin.run("create", "rolebinding", "root", "--clusterrole=cluster-admin", "--user=eve", *eve, code=1)
    assert 'rolebindings.rbac.authorization.k8s.io "root" is forbidden' in said
    assert '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}' in said
    admin.run("delete", "role/small", "rolebinding/given", "rolebinding/administers")


def test_a_sum_of_roles_and_the_label_of_one_give_nothing_away(enforced: Server) -> None:
    admin, eve = enforced.admin, ("--as=eve",)
    admin.run("create", "clusterrole", "hers", "--verb=get", "--resource=pods")
    admin.run("create", "clusterrole", "keeps", "--verb=get,patch", "--resource=clusterroles.rbac.authorization.k8s.io")
    for name in ("hers", "keeps"):
        admin.run("create", "clusterrolebinding", name, f"--clusterrole={name}", "--user=eve")
    everything = '{"aggregationRule": {"clusterRoleSelectors": [{}]}}'
    said = admin.run("patch", "clusterrole", "hers", "--type=merge", "-p", everything, *eve, code=1)
    assert said == (
        'Error from server (Forbidden): clusterroles.rbac.authorization.k8s.io "hers" is forbidden: must have '
        "cluster-admin privileges to use the aggregationRule\n"
    )
    said = admin.run("label", "clusterrole", "cluster-admin", "rbac.example.com/aggregate-to-hers=true", *eve, code=1)
    assert "attempting to grant RBAC permissions not currently held" in said
    admin.run("label", "clusterrole", "hers", "team=a", *eve)
    admin.run("patch", "clusterrole", "view", "--type=merge", "-p", '{"metadata": {"finalizers": ["a.com/b"]}}', *eve)
    admin.run("patch", "clusterrole", "view", "--type=merge", "-p", '{"metadata": {"finalizers": []}}', *eve)
    for name in ("hers", "keeps"):
        admin.run("delete", f"clusterrole/{name}", f"clusterrolebinding/{name}")


def test_who_may_list_one_object_lists_no_others(enforced: Server) -> None:
    admin = enforced.admin
    for name in ("mine", "hidden"):
        admin.run("create", "configmap", name)
    admin.run("create", "role", "one", "--verb=list", "--resource=configmaps", "--resource-name=mine")
    admin.run("create", "rolebinding", "one", "--role=one", "--user=tom")
    path = "/api/v1/namespaces/default/configmaps"
    own = "fieldSelector=metadata.name%3Dmine"
    listed = json.loads(admin.run("get", "--raw", f"{path}?{own}", "--as=tom"))
    assert [one["metadata"]["name"] for one in listed["items"]] == ["mine"]
    for query in ("", f"fieldSelector=&{own}", f"fieldSelector=metadata.name%3Dhidden&{own}", f"watch=true&{own}"):
        assert "forbidden" in admin.run("get", "--raw", f"{path}?{query}", "--as=tom", code=1), query
    admin.run("delete", "configmap/mine", "configmap/hidden", "role/one", "rolebinding/one")


def test_who_may_change_and_not_make_makes_nothing_by_apply_either(enforced: Server) -> None:
    admin = enforced.admin
    admin.run("create", "role", "changes", "--verb=get,patch", "--resource=configmaps")
    admin.run("create", "rolebinding", "changes", "--role=changes", "--user=tom")
    made = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}}'
    apply = ("apply", "--server-side", "-f", "-")
    said = admin.run(*apply, "--as=tom", stdin=made, code=1)
    assert 'User "tom" cannot create resource "configmaps" in API group "" in the namespace "default"' in said
    admin.run(*apply, stdin=made)
    admin.run(*apply, "--as=tom", stdin=made)
    admin.run("delete", "configmap/one", "role/changes", "rolebinding/changes")


def test_only_who_may_is_answered_as_another(enforced: Server) -> None:
    robot = enforced.by_token(enforced.admin.run("create", "token", "robot").strip())
    said = robot.run("get", "pods", "--as=ann", code=1)
    assert said.endswith(
        'Error from server (Forbidden): users "ann" is forbidden: User "system:serviceaccount:default:robot" cannot '
        'impersonate resource "users" in API group "" at the cluster scope\n'
    )


def test_roles_are_checked_and_summed_up(server: Server) -> None:
    admin = server.admin
    part = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "part", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]}],
    }
    admin.run("apply", "-f", "-", stdin=json.dumps(part))
    for name in ("view", "edit", "admin"):
        server.until(lambda name=name: "example.com" in admin.run("get", "clusterrole", name, "-o", "yaml"))
    admin.run("delete", "clusterrole", "part")
    server.until(lambda: "example.com" not in admin.run("get", "clusterrole", "admin", "-o", "yaml"))
    empty = {**part, "rules": [{"apiGroups": [""], "resources": [], "verbs": []}]}
    said = admin.run("create", "-f", "-", stdin=json.dumps(empty), code=1)
    assert "rules[0].verbs: Required value: verbs must contain at least one value" in said
    assert "rules[0].resources: Required value: resource rules must supply at least one resource" in said
    admin.run("create", "rolebinding", "fixed", "--clusterrole=view", "--user=ann")
    other = '{"roleRef": {"name": "edit"}}'
    assert "cannot change roleRef" in admin.run("patch", "rolebinding", "fixed", "--type=merge", "-p", other, code=1)
    admin.run("delete", "rolebinding", "fixed")
    assert "cluster-admin" in admin.run("describe", "clusterrolebinding", "cluster-admin")


def test_reconcile_adds_what_is_missing(server: Server) -> None:
    admin = server.admin
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "grows", "namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    admin.run("auth", "reconcile", "-f", "-", stdin=json.dumps(role))
    role["rules"][0]["verbs"] = ["list"]  # type: ignore[index]
    assert "reconciled" in admin.run("auth", "reconcile", "-f", "-", stdin=json.dumps(role))
    rules = admin.json("get", "role", "grows")["rules"]
    assert sorted(verb for rule in rules for verb in rule["verbs"]) == ["get", "list"]
    admin.run("delete", "role", "grows")
