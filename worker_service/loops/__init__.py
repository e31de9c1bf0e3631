"""Small periodic loops that every worker runs. No leader: the database makes each round safe to run twice."""
