"""Redis as the pool's memory: a journal and a checkpoint per slot, fenced by epochs, and the members' heartbeats.

From below: `line` (one connection), `topology` (standalone, Sentinel, Cluster), `client` (the right connection for a key),
`durable` (WAIT), `scripts` (what runs inside Redis); on these `slots` (owners, entries), `reading`, `tailing`,
`checkpoint`, `members`, `readiness`; on top `store`.
Why it is a log: docs/design/0003-state.md. Nothing here knows what a record means, or when a member counts as dead.
"""
