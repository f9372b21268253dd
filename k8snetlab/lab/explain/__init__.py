"""Showing and explaining: tables, rules, packets predicted and watched, and what is broken."""
