"""`python -m k8snetlab.speaker`."""

from k8snetlab.speaker.main import main

main()
