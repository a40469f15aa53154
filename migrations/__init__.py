"""Database migrations. `python -m migrations new "what changes"` writes the next one; none is edited once released."""
