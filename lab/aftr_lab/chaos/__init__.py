"""Faults in a running lab, judged from outside: by what B4s and a server on the internet see, and by nothing that an AFTR says.

crowd     hundreds of B4s in one process, and the server that they talk to
crash     AFTRs struck one after another
"""
