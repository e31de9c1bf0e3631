"""How mail leaves. Loaded with the first mail: what it stands on is heavy, and many workers send none."""
