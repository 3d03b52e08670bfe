"""How routers learn which AFTR serves a slot: kernel routes that BIRD announces by BGP, or unasked words to neighbours.

`routes` puts a slot's addresses into a kernel table of their own; BIRD, a child process, learns that table and tells the routers
(`config` writes its configuration, `control` asks it, `bird` starts and watches it). `announcer` is what others use.
On a shared layer 2 `layer2` takes its place, with the frames of `claims`.
"""
