#!/bin/sh
# Makes .venv where there is none and installs one lock file into it: install.sh services|embedded|dev
#
# The Makefile calls it. PYTHON names an interpreter to use instead of the newest one found.
set -eu
cd "$(dirname "$0")/.."
lock=requirements/$1.txt
stamp=.venv/$1.stamp

say() { printf '%s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

# Runs it instead of looking for its name: a version manager's stand-in may be there with nothing behind it.
is_usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    candidates=${PYTHON:-python3.13 python3.12 python3.11 python3}
    for python in $candidates; do
        if is_usable "$python"; then return; fi
    done
    fail "Taskmill needs Python 3.11 or newer and found none (tried: $candidates): install one, or name it with PYTHON="
}

# Debian ships the parts that `python3 -m venv` needs in a package of its own.
ensure_venv_works() {
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        fail "$python cannot make virtual environments: install $package (as root: apt-get install $package)"
    fi
    say "Installing $package"
    said=$({ apt-get -qq update && apt-get -qq install --no-install-recommends "$package"; } 2>&1) ||
        fail "apt-get could not install $package: $said"
}

make_venv() {
    find_python
    ensure_venv_works
    say "Making .venv with $("$python" --version)"
    # Without pip it is a leftover of a run that was interrupted, or its interpreter is gone.
    "$python" -m venv --clear .venv || fail "$python could not make .venv"
}

# Two makes at once (run and test, say) take turns: the lock is on this script, so it leaves no file behind.
if command -v flock >/dev/null; then
    exec 9<"requirements/install.sh"
    flock 9
    # shellcheck disable=SC3013 # in every sh that is in use
    if [ "$stamp" -nt "$lock" ]; then exit; fi
fi

# Nobody is asked anything.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 DEBIAN_FRONTEND=noninteractive
.venv/bin/python -m pip --version >/dev/null 2>&1 || make_venv
say "Installing $lock into .venv"
.venv/bin/python -m pip install -qq --no-compile --require-hashes --requirement "$lock" || fail "pip could not install $lock"
# The command line, wherever .venv/bin is on the PATH.
ln -sf ../../client/taskmill .venv/bin/taskmill
touch "$stamp"
# What is asked for less is in there too: the embedded packages are among the developers'.
if [ "$1" = dev ]; then touch .venv/embedded.stamp; fi
