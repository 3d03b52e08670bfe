"""Who is alive, who serves which slot, and what a slot does next: pure functions of values passed in.

Nothing here reads a clock, a socket or the store; `aftr.ops` observes, calls and acts.
"""
