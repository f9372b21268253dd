"""In the path of a lab's daemon: its diagnoses read no pod in which no change was told, as if there were thousands."""

import sys

if "k8snetlab.lab.main" in sys.orig_argv:
    from k8snetlab.diagnose import sampling

    sampling.PODS = 0
