"""Labs and fakes for tests of what is built on k8snetlab; its own tests use them.

With pytest there is nothing to import: the plugin `k8snetlab.testing.plugin` brings a mark and a fixture `lab`.

    @pytest.mark.lab("two-nodes")
    def test_web_answers(lab):
        assert lab.probe("client", "web").answeredBy == "web"

Without pytest, `running` does the same. Beside it, with a kernel:

- `machines`: network namespaces that play whole machines on one wire, with the lab's nodes in them
- `kernelstate`: what the kernel holds of two labs, compared line by line
- `etcd`: real etcds, and a proxy before one that is slow, silent or cut
- `madeup`: names of labs and namespaces, and which of those are still there
- `web`: the manifests of a client, and of a Service with pods behind it
- `forkserver`: the process that runs a Lab's verbs; `forkserver.close()` before you look for processes left behind

and without one:

- `fake_cluster.FakeCluster`: objects, the real controllers, and a kubelet that says pods are ready
- `services`: small clusters, and packets sent into the rules that kube-proxy writes for them
- `fake_kernel.FakeKernel`: a network namespace in which operations are done on values
- `FakeClock`; a store without a file is `EmbeddedStore(":memory:")`
"""

from k8snetlab.testing.lab import Lab, running
from k8snetlab.testing.waiting import FakeClock, eventually, kill

__all__ = [
    "FakeClock",
    "Lab",
    "etcd",
    "eventually",
    "fake_cluster",
    "fake_kernel",
    "forkserver",
    "kernelstate",
    "kill",
    "lab",
    "machines",
    "madeup",
    "running",
    "services",
    "web",
]
