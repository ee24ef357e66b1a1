#!/bin/sh
# Makes .venv in the checkout with the package (editable), training and developers' tools in it.
# Safe to repeat: what is there and fits is kept.
#
#   PYTHON    the interpreter that .venv is made from (default python3)
set -eu

cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
venv_python=".venv/bin/python"

# A .venv of which the interpreter was removed or upgraded, or that was left half made: anew.
if ! "$venv_python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

pip() {
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv_python" -m pip "$@" </dev/null
}

# Where pip would take a CUDA build of PyTorch (several GB), take PyTorch's own CPU build
# (200 MB) instead: nothing here uses a GPU. Where pip has a CPU build already, ask nobody else.
# With an index already chosen by PIP_EXTRA_INDEX_URL, that choice stands.
if [ -z "${PIP_EXTRA_INDEX_URL:-}" ] &&
    pip install --dry-run --quiet --no-deps --report - -c constraints.txt torch 2>/dev/null |
    grep -q -i -E '"(nvidia|cuda)-'; then
    export PIP_EXTRA_INDEX_URL="https://download.pytorch.org/whl/cpu"
    echo "taking PyTorch's CPU build from $PIP_EXTRA_INDEX_URL"
fi

echo "installing the package with its training and development extras into .venv"
pip install --quiet --editable '.[train,dev]' -c constraints.txt
