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

# Nothing here uses a GPU: say so before pip takes a CUDA build of PyTorch (several GB). Where pip's
# own settings already lead it to a CPU build (200 MB), or PIP_EXTRA_INDEX_URL is set, say nothing.
if [ -z "${PIP_EXTRA_INDEX_URL:-}" ] &&
    pip install --dry-run --quiet --no-deps --report - -c constraints.txt torch 2>/dev/null |
    grep -q -i -E '"(nvidia|cuda)-'; then
    echo "note: pip is about to download PyTorch with CUDA, several GB; to avoid that, stop here," \
        "set PIP_EXTRA_INDEX_URL to PyTorch's CPU package index, and run make again" >&2
fi

echo "installing the package with its training and development extras into .venv"
pip install --quiet --editable '.[train,dev]' -c constraints.txt
