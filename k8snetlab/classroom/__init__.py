"""A class: a lab for each student on one machine, each in a seat that sees nothing of the others."""

__all__ = ["entering", "looking", "opening", "records", "roll", "seats", "sheet", "work"]
