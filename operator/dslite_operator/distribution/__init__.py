"""Which B4 goes to which AFTR, and how the B4 is told."""
