"""Each benchmark stands beside its floor in the same run: compare ratios, never absolute times across runs."""
