#!/usr/bin/env bash
# Prints the path of a usable Python: python.sh [VERSION], by default the first that is 3.11 or newer.
#
# The system's interpreter comes first. A pyenv shim is the last choice: it changes with the folder it is called in.
set -euo pipefail
version=${1:-}

fits() {
    "$1" - "$version" 2>/dev/null <<'PY'
import sys
wanted = sys.argv[1]
sys.exit(not ("%d.%d" % sys.version_info[:2] == wanted if wanted else sys.version_info >= (3, 11)))
PY
}

candidates=("/usr/bin/python${version:-3}" /usr/bin/python3)
mapfile -t -O 2 candidates < <(type -ap "python${version:-3}" python3 | grep -v /shims/)
candidates+=("${PYENV_ROOT:-$HOME/.pyenv}"/versions/"${version:-3}"*/bin/python3)

for candidate in "${candidates[@]}"; do
    if [[ -x $candidate ]] && fits "$candidate"; then
        echo "$candidate"
        exit
    fi
done
echo "no Python ${version:-3.11 or newer} found: install python3 (Debian 12 and later have it)" >&2
exit 1
