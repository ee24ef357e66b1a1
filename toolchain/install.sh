#!/bin/sh
# Installs from the system's packages what the project needs and this machine lacks: Python's
# venv module, a C compiler for this machine, and arm-none-eabi-gcc with newlib.
# Quiet and quick when nothing is missing. `--check` installs nothing: it names what is missing.
#
#   PYTHON          the interpreter that .venv is made from (default python3)
#   CC              the C compiler for this machine (default cc)
#   EBNN_ARM_GCC    an arm-none-eabi-gcc that is not on PATH
set -eu

python="${PYTHON:-python3}"
packages=""
what=""

need() { # need DESCRIPTION PACKAGE...
    what="$what${what:+, }$1"
    shift
    packages="$packages${packages:+ }$*"
}

compiles() { # compiles COMPILER FLAG... : does it find its own and the C library's headers?
    printf '#include <stdint.h>\n#include <stdio.h>\n' | "$@" -E -x c -o /dev/null - 2>/dev/null
}

if ! version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
    echo "error: $python is not a Python: install Python 3.11 or newer, or give make PYTHON=/path/to/python3" >&2
    exit 2
fi
case "$version" in
    2.* | 3.[0-9] | 3.10)
        echo "error: $python is Python $version, 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2
        exit 2
        ;;
esac

# Debian and Ubuntu ship python3 without ensurepip, so `python3 -m venv` alone would fail.
"$python" -c 'import ensurepip, venv' 2>/dev/null || need "Python's venv module" "python$version-venv"
# shellcheck disable=SC2086  # CC may hold several words, as in CC="ccache gcc"
compiles ${CC:-cc} || need "a C compiler for this machine" gcc libc6-dev
compiles "${EBNN_ARM_GCC:-arm-none-eabi-gcc}" --specs=nano.specs ||
    need "arm-none-eabi-gcc with newlib" gcc-arm-none-eabi libnewlib-arm-none-eabi

[ -n "$packages" ] || exit 0
echo "missing: $what"
[ "${1:-}" != "--check" ] || exit 2

by_hand() {
    command="apt-get update && apt-get install -y --no-install-recommends $packages"
    who=" as root"
    if command -v sudo >/dev/null; then
        who=""
        command="sudo sh -c '$command'"
    fi
    printf 'Run this one command%s, then make again:\n\n    %s\n\n' "$who" "$command" >&2
    exit 2
}

if ! command -v apt-get >/dev/null; then
    echo "error: this system has no apt-get: install by hand $what" >&2
    echo "       (Debian's names for the packages: $packages)" >&2
    exit 2
fi

if [ "$(id -u)" = 0 ]; then
    as_root="env"
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n env"
elif command -v sudo >/dev/null && [ -t 0 ] && [ -t 1 ]; then
    echo "sudo may ask for your password, to run: apt-get install $packages"
    as_root="sudo env"
else
    by_hand
fi

apt() {
    # shellcheck disable=SC2086  # words on purpose
    $as_root DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

install_packages() {
    # shellcheck disable=SC2086  # words on purpose
    apt install -y --no-install-recommends $packages
}

echo "installing: $packages"
# A fresh machine has no package lists yet, and old lists name files that are gone: update then.
# shellcheck disable=SC2086  # words on purpose
if ! apt-cache show $packages >/dev/null 2>&1; then
    apt update || by_hand
    install_packages || by_hand
elif ! install_packages; then
    apt update || by_hand
    install_packages || by_hand
fi
