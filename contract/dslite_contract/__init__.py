"""What the operator and the AFTR pods agree on: schema, slot arithmetic, names of counters. No heavy imports."""
