#!/usr/bin/env bash
# Makes the Python environment: env.sh [DIRECTORY] [INTERPRETER], by default .venv and the system's Python.
#
# uv comes from PyPI into a small environment of its own outside the checkout; it then installs exactly what uv.lock says.
set -euo pipefail
cd "$(dirname "$0")/.."

UV_VERSION=0.13.9
environment=${1:-.venv}
python=${2:-$(scripts/python.sh)}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dslite
uv=$cache/uv-$UV_VERSION/bin/uv

mkdir -p "$cache"
exec 9>"$cache/uv.lock"
flock 9 # two `make env` at a time make one bootstrap environment
if ! "$uv" --version >/dev/null 2>&1; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || scripts/system.sh python3-venv
    "$python" -m venv --clear "$cache/uv-$UV_VERSION"
    "$cache/uv-$UV_VERSION/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"
fi
exec 9>&-

unset VIRTUAL_ENV
export UV_PYTHON_DOWNLOADS=never UV_PYTHON=$python UV_PROJECT_ENVIRONMENT=$environment
exec "$uv" sync --quiet --locked --all-packages
