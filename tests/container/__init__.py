"""The namespace suite inside a container, as a CI job would run it (`make test-container`)."""
