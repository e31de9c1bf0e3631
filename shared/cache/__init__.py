"""Fast status: documents by task id, and counters. May forget everything at any time."""
