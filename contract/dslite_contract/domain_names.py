"""What a domain name may be: its labels and lengths (RFC 1035, RFC 1123).  Without any import that takes time."""

from __future__ import annotations

import re

LONGEST_LABEL = 63  # characters, RFC 1035 section 2.3.4
LONGEST_NAME = 253  # characters without the last dot: 255 octets on the wire
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123 section 2.1, in lower case
