"""The one door through which objects change, and the controllers' loop."""
