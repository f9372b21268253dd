"""Real virtual machines with Debian's kernel, and the tests that need them (`make test-vm`)."""
