"""The command `taskmill`: everything that the client can, for people and for scripts."""
