"""Controllers as pure functions: from a snapshot to the writes that bring it nearer to what its objects ask for."""
