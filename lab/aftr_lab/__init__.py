"""aftr-lab: a DS-Lite network on one Linux machine, from the same YAML as in Kubernetes.

In the order of the way from a file to a network and back: `plan` (pure: which nodes, addresses and routes) → `record`
(what is about to be made, on disk before it is) → `build` (`up`: `network` for namespaces, links and routes, `programs`
for what runs inside, with `routing`, `processes` and `ready`) → `teardown` (`down`). `status` and `cli` show and command; `server`
is the HTTP server on the internet; `demo` is `make demo`.
"""
