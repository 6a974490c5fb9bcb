"""Questions to the database, one plural noun a file; ``select(`` lives only here."""
