"""The only room that touches the kernel: read, execute, watch."""
