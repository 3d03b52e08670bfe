"""Which B4 goes to which slot: buckets, maps, placement, moves.  Pure: it knows the contract and nothing of the cluster."""
