#!/usr/bin/env bash
# Makes the Python environment: env.sh [DIRECTORY] [INTERPRETER], by default .venv and the system's Python.
#
# uv comes from PyPI into a small environment of its own outside the checkout; it then installs exactly what uv.lock says.
# The interpreter is the system's: uv would otherwise download one, and a pyenv shim would change under our feet.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9
environment=${1:-.venv}
bootstrap=${XDG_CACHE_HOME:-$HOME/.cache}/dslite/uv-$UV_VERSION

usable() { # an interpreter new enough for us?
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in /usr/bin/python3 /usr/bin/python3.1[1-9] $(type -ap python3 python3.13 python3.12 python3.11); do
        if [[ -x $candidate ]] && usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "no Python 3.11 or newer found: install python3 (Debian 12 or later has it)" >&2
    return 1
}

python=${2:-$(find_python)}

if ! "$bootstrap/bin/uv" --version >/dev/null 2>&1; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || scripts/system.sh python3-venv
    rm -rf "$bootstrap"
    "$python" -m venv "$bootstrap"
    "$bootstrap/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"
fi

export UV_PYTHON_DOWNLOADS=never UV_PYTHON=$python UV_PROJECT_ENVIRONMENT=$environment
unset VIRTUAL_ENV
exec "$bootstrap/bin/uv" sync --quiet --locked --all-packages
