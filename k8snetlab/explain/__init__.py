"""Live kernels explained: traces, tables, probes, diagnosis."""
