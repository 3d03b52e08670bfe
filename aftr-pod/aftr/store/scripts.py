"""The scripts that run inside Redis: each checks the owner and writes in one step, which nothing can come between.

A head is a hash: `epoch` and `uid` (the owner; `sealed` while only named by the one before), `last` (id of the last entry), and of the
checkpoint `generation`, `chunks`, `covers` and, while one is being written, `writing` = `<generation>:<chunks so far>`.  `oldest` and
`newest` are the format versions that a reader meets in the checkpoint and the journal after it; a head without them has version 1.
An answer is one word.  What Redis may refuse comes first, as a script that fails is not undone.  A repeated call writes the head once
more, so that the WAIT after it, which counts this connection's writes only, says something.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from aftr.store.line import Command


@dataclass(frozen=True)
class Script:
    """Lua and its SHA-1, by which Redis knows it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode()).hexdigest())

    def call(self, keys: Sequence[str], *arguments: str | bytes | int) -> Command:
        """The command that runs it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)


# By this line, of Redis 7.0, a script that may write is refused as a whole: by a replica, without memory, with too few replicas.
_WRITES = "#!lua\n"

# The format version of an entry (third byte of its header) goes into the head, unless it is the first thing there is.
_NOTE_VERSION = """
local function note_version(entry, known)
  local version, found = string.byte(entry, 3) or 0, redis.call('HMGET', KEYS[1], 'oldest', 'newest')
  local oldest, newest = tonumber(found[1] or (known and 1) or version), tonumber(found[2] or (known and 1) or version)
  if not found[2] or version < oldest or version > newest then
    redis.call('HSET', KEYS[1], 'oldest', math.min(oldest, version), 'newest', math.max(newest, version))
  end
end
"""

_OWNER = (
    _WRITES
    + """
local head = redis.call('HMGET', KEYS[1], 'epoch', 'uid', 'last', 'writing')
local epoch, mine = tonumber(head[1] or 0), tonumber(ARGV[1])
if epoch > mine or (epoch == mine and head[2] ~= ARGV[2]) then return 'FENCED' end
"""
)

# head, journal; epoch, uid, last, id, entry
APPEND = Script(
    _OWNER
    + _NOTE_VERSION
    + """
if epoch < mine then return 'REWOUND' end
local answer = 'OK'
if head[3] == ARGV[3] then
  redis.call('XADD', KEYS[2], ARGV[4], 'entry', ARGV[5])
  note_version(ARGV[5], true)
else
  local there = head[3] == ARGV[4] and redis.call('XRANGE', KEYS[2], ARGV[4], ARGV[4])[1]
  if not there or there[2][2] ~= ARGV[5] then return 'REWOUND' end
  answer = 'DUPLICATE'
end
redis.call('HSET', KEYS[1], 'last', ARGV[4])
return answer
"""
)

# head, journal; owner expected (epoch, uid), last expected or '', new owner (epoch, uid), entry, '1' when the old owner names it
RAISE = Script(
    _WRITES
    + _NOTE_VERSION
    + """
local head = redis.call('HMGET', KEYS[1], 'epoch', 'uid', 'last')
local id = ARGV[4] .. '-0'
if head[1] ~= ARGV[4] or head[2] ~= ARGV[5] or head[3] ~= id then
  if tonumber(head[1] or 0) < tonumber(ARGV[1]) then return 'REWOUND' end
  if (head[1] or '0') ~= ARGV[1] or (head[2] or '') ~= ARGV[2] then return 'FENCED' end
  if ARGV[3] ~= '' and (head[3] or '0-0') ~= ARGV[3] then return 'REWOUND' end
  redis.call('XADD', KEYS[2], id, 'entry', ARGV[6], 'after', head[3] or '0-0')
  note_version(ARGV[6], head[1])
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[4], 'uid', ARGV[5], 'last', id, 'sealed', ARGV[7])
return 'OK'
"""
)

# head, orphans of an earlier attempt...; epoch, uid, generation: also puts the owner back into a head that was rewound
BEGIN = Script(
    _OWNER
    + """
for number = 2, #KEYS do redis.call('UNLINK', KEYS[number]) end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'uid', ARGV[2], 'sealed', '0', 'writing', ARGV[3] .. ':0')
return 'OK'
"""
)

_WRITING = (
    _OWNER
    + """
if epoch < mine or head[4] ~= ARGV[3] then return 'REWOUND' end
"""
)

# head, chunk; epoch, uid, `writing` before, `writing` after, bytes
CHUNK = Script(
    _WRITING
    + """
redis.call('SET', KEYS[2], ARGV[5])
redis.call('HSET', KEYS[1], 'writing', ARGV[4])
return 'OK'
"""
)

# head, journal, chunks of the checkpoint before...;
# epoch, uid, `writing`, generation, chunks, covers, last if it was rewound, oldest id to keep, entry that makes a gap or "", version
SWITCH = Script(
    _WRITING
    + """
if ARGV[9] ~= '' then redis.call('XADD', KEYS[2], ARGV[6], 'entry', ARGV[9]) end
redis.call('HSET', KEYS[1], 'generation', ARGV[4], 'chunks', ARGV[5], 'covers', ARGV[6], 'oldest', ARGV[10], 'newest', ARGV[10])
redis.call('HDEL', KEYS[1], 'writing')
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'last', ARGV[7]) end
redis.call('XTRIM', KEYS[2], 'MINID', '=', ARGV[8])
for number = 3, #KEYS do redis.call('UNLINK', KEYS[number]) end
return 'OK'
"""
)

WRITERS = (APPEND, RAISE, BEGIN, CHUNK, SWITCH)
