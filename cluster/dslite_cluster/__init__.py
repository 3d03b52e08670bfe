"""dslite-cluster: a real Kubernetes on one Linux machine, for tests and for people to try things on.

In the order of the way from sources to a pod: `binaries` (Kubernetes and its neighbours, built by Go) and `images` (ours, built by
buildah) → `plan` (pure: namespaces, addresses, ports) → `build` (`up`: `authority` for certificates, `controlplane`, `node`) →
`outside` (a lab without AFTRs, joined to the nodes' devices) → `teardown` (`down`). `again` kills a program and starts it again.
Nothing of it touches the machine's own network, but for one port on its loopback address.
"""
