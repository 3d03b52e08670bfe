"""TCP session flags (docs/design/0001, 3; rows T01, T03, T04): pure functions of the flags and a segment's control bits."""

from __future__ import annotations

from aftr.lowlevel.kernel import inline_kernel, kernel
from aftr.state.layout import FIN_IN, FIN_OUT, IN_SEEN, OUT_SEEN, RESET

FIN, SYN, RST, ACK = 1, 2, 4, 16  # RFC 9293 section 3.1
_CLOSED = FIN_OUT | FIN_IN
_BOTH = OUT_SEEN | IN_SEEN


@kernel
def flags_after(flags: int, control: int, outbound: bool) -> int:
    """Session flags after a segment with these control bits."""
    if control & RST:
        return flags | RESET
    if outbound and control & SYN and (flags & RESET or flags & _CLOSED == _CLOSED):
        return OUT_SEEN
    flags &= ~RESET
    if outbound:
        return flags | OUT_SEEN | (FIN_OUT if control & FIN else 0)
    return flags | IN_SEEN | (FIN_IN if control & FIN else 0)


@inline_kernel
def is_established(flags: int) -> bool:
    """Seen both ways, not closed both ways, not reset."""
    return flags & _BOTH == _BOTH and flags & _CLOSED != _CLOSED and flags & RESET == 0
