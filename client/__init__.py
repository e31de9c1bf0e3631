"""What talks to Taskmill over HTTP: it knows the contract and nothing of what is behind it."""
