"""DHCPv6 servers of a provider that hand out the names of slots (option 64, RFC 6334)."""
