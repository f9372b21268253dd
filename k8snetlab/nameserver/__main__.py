"""`python -m k8snetlab.nameserver`."""

from k8snetlab.nameserver.main import main

main()
