"""What is well and what is not in a whole deployment: facts, gathered at once, and what they mean."""
