"""Other programs of our kind, measured where Debian's packages of them are installed (`make bench-peers`)."""
