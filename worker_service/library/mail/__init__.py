"""How mail leaves. All but `payloads` is loaded with the first letter: it is heavy, and many workers send none."""
