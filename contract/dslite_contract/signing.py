"""Questions by HTTP that are answered to who has a key: the operator's to AFTRs, and those between members.

Nothing is encrypted, and no signature has a time: who can listen hears the answers, and can put the same question again
until the key changes.
"""

from __future__ import annotations

import hashlib
import hmac

SIGNATURE, DIGEST = "X-Dslite-Signature", "X-Dslite-Digest"


def signature(key: bytes, data: bytes) -> str:
    """HMAC-SHA256, in hex."""
    return hmac.new(key, data, hashlib.sha256).hexdigest()


def genuine(given: str, key: bytes, data: bytes) -> bool:
    """Whether a header, whatever is in it, is the signature.  With an empty key none is: anybody can sign with that."""
    return bool(key) and hmac.compare_digest(given.encode(errors="surrogateescape"), signature(key, data).encode())


def digest(body: bytes) -> str:
    """SHA-256, in hex."""
    return hashlib.sha256(body).hexdigest()


def question(method: str, path: str, digest: str) -> bytes:
    """What the operator signs: headers say whether it was, before anything of the body is read."""
    return f"{method} {path} {digest}\n".encode(errors="surrogateescape")
