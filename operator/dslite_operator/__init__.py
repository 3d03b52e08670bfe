"""The operator: AftrPool and B4Group → pods that serve them.  observe → desired → plan → apply → status."""
