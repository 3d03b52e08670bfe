"""`kubectl dslite`: what an engineer asks of pools, and does to them, from a shell."""
