"""How time and memory grow with pods, nodes and Services: `python -m benchmarks.growth` writes docs/speed.md anew."""
