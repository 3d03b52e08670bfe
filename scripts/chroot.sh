#!/usr/bin/env bash
# Prints the folder of a Debian of another release with some packages: chroot.sh SUITE PACKAGE...  Made once (root), kept outside the checkout
# under the suite and what was asked for; `rm -rf` the folder to have it made anew with Debian's packages of today.
set -euo pipefail

suite=$1 packages=("${@:2}")
folder=${XDG_CACHE_HOME:-$HOME/.cache}/dslite/chroots/$suite-$(printf '%s\n' "${packages[@]}" | sha256sum | head -c 8)

if [[ ! -d $folder ]]; then
    [[ $(id -u) == 0 ]] || { echo "needs root to make a Debian $suite in $folder" >&2; exit 1; }
    mkdir -p "${folder%/*}"
    draft=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$draft"' EXIT
    chmod 755 "$draft"
    echo "making a Debian $suite with ${packages[*]}" >&2
    include=$(IFS=,; echo "${packages[*]}")
    # A mirror may serve a sid of some weeks ago, whose signature is right and whose date is over.
    mmdebstrap --quiet --mode=root --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include="$include" \
        "$suite" "$draft" http://deb.debian.org/debian >&2
    mv --no-target-directory "$draft" "$folder" 2>/dev/null || [[ -d $folder ]]  # another may have been faster
fi
echo "$folder"
