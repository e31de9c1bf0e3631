"""Live news: what clients are told of tasks while they happen, over server-sent events and WebSockets."""
