"""The packet's way, a file per stop."""
