#!/bin/sh
# Hook of the lab's Kea for leases that it has given: the router gets the way to each delegated prefix, as an access router's relay does it.
[ "$1" = leases6_committed ] || exit 0
here=$(ip netns identify $$)
lease=0
while [ "$lease" -lt "$LEASES6_SIZE" ]; do
    eval "type=\$LEASES6_AT${lease}_TYPE prefix=\$LEASES6_AT${lease}_ADDRESS/\$LEASES6_AT${lease}_PREFIX_LEN"
    [ "$type" != IA_PD ] || ip -n "${here%-dhcp}-router" -6 route replace "$prefix" via "$QUERY6_REMOTE_ADDR" dev subscribers
    lease=$((lease + 1))
done
