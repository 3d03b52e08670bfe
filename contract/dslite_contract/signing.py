"""Questions by HTTP that are answered to who has a key: the operator's to AFTRs, and those between members.

Nothing is encrypted: who can listen hears the answers, and can put the same question again.
"""

from __future__ import annotations

import hashlib
import hmac

SIGNATURE = "X-Dslite-Signature"


def signature(key: bytes, data: bytes) -> str:
    """HMAC-SHA256, in hex."""
    return hmac.new(key, data, hashlib.sha256).hexdigest()


def genuine(given: str, key: bytes, data: bytes) -> bool:
    """Whether a header, whatever is in it, is the signature.  With an empty key none is: anybody can sign with that."""
    return bool(key) and hmac.compare_digest(given.encode(errors="surrogateescape"), signature(key, data).encode())


def question(method: str, path: str, body: bytes) -> bytes:
    """What the operator signs."""
    return f"{method} {path}\n".encode() + body
