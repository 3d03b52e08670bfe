"""A second machine for tests that need a kernel of their own and a card that this one has not: QEMU, without hardware virtualisation.

`debian` (QEMU, kernel, its modules: a Debian tree) → `initramfs` → `guest` (started, commands, ended), in which `init.sh` and `agent` run.
The guest's file system is this machine's, read-only: it runs the Python, the environment and the compiled kernels of the checkout.
"""
