"""What a store costs: `make bench-store`, or `python -m bench.store --help`.

servers   the Redis of each durability
aftr      a member of a pool as `aftr run` has it, its network played in memory (`bench.wire`)
measures  what is measured
figures   arithmetic
"""
