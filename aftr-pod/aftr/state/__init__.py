"""State of a pod in its arena: layouts of records, tables, slots, policy, counters."""
