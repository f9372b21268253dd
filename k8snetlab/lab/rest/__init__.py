"""The daemon's REST face."""
