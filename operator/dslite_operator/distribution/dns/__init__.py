"""Names of slots in DNS: what B4s resolve when a DHCPv6 server has told them the name of their slot (RFC 6334)."""
