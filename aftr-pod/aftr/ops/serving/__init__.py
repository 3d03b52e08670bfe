"""A member of a pool: the slots that it serves or copies, and what the store and the other members make it do.

settings    what it takes from the pool's configuration
member      its heartbeat, what it sees of the others, which slots are whose
slot        one slot: the state machine's wishes, carried out on engine, store and routes
copying     a slot's tables as others have written them
journals    entries out, and in
peers       questions between members, signed
heartbeats  what members say of themselves; versions, quarantine, compare: what follows from that, and from what is stored
"""
