"""What both services need: the domain, the store, and the seams to broker, cache and events."""
