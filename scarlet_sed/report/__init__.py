"""The report that a person looks at."""
