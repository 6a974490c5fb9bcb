"""What a schema is, as a database has it and as models say it, and how the two differ."""
