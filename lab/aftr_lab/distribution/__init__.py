"""`aftr-lab distribute`: B4s told the names of their slots, by the operator's own functions, and followed while they move."""
