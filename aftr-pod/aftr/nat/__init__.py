"""NAT44: who a packet belongs to (softwire, subscriber), port blocks, mappings, sessions, expiry."""
