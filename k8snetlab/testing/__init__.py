"""Labs and fakes for tests of what is built on k8snetlab; its own tests use them.

With pytest there is nothing to import: the plugin `k8snetlab.testing.plugin` brings a mark and a fixture `lab`.

    @pytest.mark.lab("two-nodes")
    def test_web_answers(lab):
        assert lab.probe("client", "web").answeredBy == "web"

Without pytest, `running` does the same. `machines` are network namespaces that play whole machines, `kernelstate`
compares what the kernel holds of two labs, `etcd` runs real ones and gets between.
"""

from k8snetlab.testing.lab import Lab, running
from k8snetlab.testing.waiting import eventually

__all__ = ["Lab", "etcd", "eventually", "kernelstate", "lab", "machines", "running"]
