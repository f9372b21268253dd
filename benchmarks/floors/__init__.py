"""The least that a thing can cost: the same kernel objects made by hand, by a C program or by plain tools."""
