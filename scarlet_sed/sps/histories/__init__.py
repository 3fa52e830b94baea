"""Star-formation histories: one family a file."""
