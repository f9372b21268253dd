"""Felix's part of the filter table: endpoints, policies and profiles as chains, rules and ipsets.

Source: Calico felix/rules, felix/generictables, felix/ipsets, felix/calc.
"""

__all__ = ["hashed", "node", "policy", "static"]
