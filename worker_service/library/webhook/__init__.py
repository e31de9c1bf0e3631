"""How a webhook leaves. Loaded with the first delivery: what it stands on is heavy, and many workers never call."""
