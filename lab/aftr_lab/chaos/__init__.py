"""Faults in a running lab, judged from outside: by what B4s and a server on the internet see, and by nothing that an AFTR says.

crowd         hundreds of B4s in one process, and the server that they talk to
probes        a packet per slot each few milliseconds: outages, and what a move costs
transfers     downloads that are always under way
routes        where the router sends slots, and when that changed
captures      frames between an AFTR and the router
load          all of this going on, and whether every flow still has its binding
served        which AFTR serves which slots, as it says itself
scene         the lab under load, and what can be done to its nodes
faults        AFTRs and links; store_faults the store
strike        one fault after another
report        what it cost
"""
