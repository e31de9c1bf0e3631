"""News of tasks while it is fresh: one capped stream that every API process tails once, and cancel signals."""
