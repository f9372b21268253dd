"""From objects to the dataplane of a node."""
