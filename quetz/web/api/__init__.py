"""The JSON API, one plural noun a file."""
