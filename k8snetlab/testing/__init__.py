"""Public fakes for tests of code built on k8snetlab."""
