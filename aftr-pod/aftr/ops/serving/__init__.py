"""A member of a pool: the slots that it serves or copies, and what the store and the other members make it do.

member    its heartbeat, what it sees of the others, which slots are whose; journals out and in
slot      one slot: the state machine's wishes, carried out on engine, store and routes
peers     questions between members, signed
"""
