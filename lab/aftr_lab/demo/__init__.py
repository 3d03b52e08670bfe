"""`make demo`: two customers with the same private addresses, one AFTR, shown and checked in under two minutes.

`stage` runs commands, shows and checks them; `steps` are what is shown; `__main__` puts them in order.
"""
