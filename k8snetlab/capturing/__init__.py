"""The filter language of `capture` and pcapng: pure."""
