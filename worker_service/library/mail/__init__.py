"""How mail leaves. Loaded with the first mail, but for `payloads`: what it stands on is heavy, and many workers send none."""
