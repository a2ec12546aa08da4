#!/usr/bin/env bash
# Prepares a Debian or Ubuntu machine: Python 3.11, system libraries, .venv with the pinned packages.
# Steps that are done are not repeated.
#
#   setup.sh              the above
#   setup.sh corpora      also the texts and captioned images that Debian has (0.2 GB)
#   setup.sh tests        also the programs that only tests need
#   setup.sh slow-tests   also those of the slow tests
#
# uv installs the packages, in a quarter of pip's time: the machine's own, or one that pip brings. Where it
# cannot (no route to PyPI), pip does, which reads the machine's configuration; NO_UV=1 takes pip at once.
# Another interpreter is chosen with PYTHON=/path/to/python3.11.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Of two `make` at the same time the second one waits.
exec 9<. && flock 9

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
say() { printf 'setup: %s\n' "$*" >&2; }

is_311() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3 python; do
    if [[ -n "$candidate" ]] && is_311 "$candidate"; then command -v "$candidate"; return; fi
  done
  fail "Python 3.11 not found (looked for python3.11, python3, python). Debian 12: sudo apt-get install -y python3.11" \
    "python3.11-venv. Ubuntu: sudo add-apt-repository -y ppa:deadsnakes/ppa && sudo apt-get install -y python3.11" \
    "python3.11-venv. Elsewhere: pyenv install 3.11. Or name one: make PYTHON=/path/to/python3.11"
}

# apt_install PACKAGE...: installs the packages, or prints the command to run and fails.
apt_install() {
  local command="apt-get install -y --no-install-recommends $*"
  local -a as_root=()
  if [[ $EUID -ne 0 ]]; then
    command="sudo $command"
    sudo -n true 2>/dev/null || fail "system packages are missing: $*. Run: sudo apt-get update && $command"
    as_root=(sudo -n)
  fi
  command -v apt-get >/dev/null || fail "system packages are missing and there is no apt-get; install what Debian calls: $*"
  say "installing system packages: $*"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 \
    || say "apt-get update failed; trying with the package lists that are here"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 \
    || fail "apt-get could not install them. Run: $command"
}

# Prints the packages whose library cannot be loaded. Headless rendering and the simulators need all
# of them.
missing_packages() {
  "$1" - <<'PYTHON'
import ctypes

PACKAGES = {
  "libEGL.so.1": "libegl1",
  "libEGL_mesa.so.0": "libegl-mesa0",
  "libGL.so.1": "libgl1",
  "libGLX_mesa.so.0": "libglx-mesa0",
  "libGLESv2.so.2": "libgles2",
  "libOSMesa.so.8": "libosmesa6",
  "libGLU.so.1": "libglu1-mesa",
  "libgthread-2.0.so.0": "libglib2.0-0",  # Procgen's
}
for library, package in PACKAGES.items():
  try:
    ctypes.CDLL(library)
  except OSError:
    print(package)
PYTHON
}

# Installs texts and captioned images (rlds_builders/text, align, ltip, m3w), and the programs that
# only tests need: Slurm, and for slow tests xpk and SkyPilot in environments of their own, because
# their pins are not ours. Where they cannot be installed their tests are skipped, with a message.
prepare() {
  [[ "$1" ]] || return 0
  # shellcheck disable=SC2086  # one word per package
  dpkg-query --show $CORPORA >/dev/null 2>&1 || (apt_install $CORPORA) \
    || say "not all of $CORPORA: mixtures leave them out, the tests of them will be skipped"
  [[ "$1" != corpora ]] || return 0
  command -v sbatch >/dev/null && [[ -e /usr/sbin/slurmctld && -e /usr/sbin/munged ]] \
    || (apt_install slurm-wlm slurm-wlm-basic-plugins munge) \
    || say "no Slurm: tests/launch/test_launch_slurm.py will be skipped"
  [[ "$1" == slow-tests ]] || return 0
  alone xpk "xpk==1.16.0"
  alone sky "skypilot==0.14.1"
}

# alone NAME PACKAGE==VERSION: installs a package in the environment .venv/NAME.
alone() {
  local place=".venv/$1"
  "$place/bin/python" -m pip list --format=freeze 2>/dev/null | grep -qx "$2" \
    || (.venv/bin/python -m venv --clear "$place" && "$place/bin/python" -m pip install -q "$2") \
    || { rm -rf "$place"; say "no $2: the tests with it will be skipped"; }
}
CORPORA="tuxpaint-stamps-default fonts-noto-color-emoji unicode-cldr-core bible-kjv-text wordnet-base dict-gcide"
CORPORA+=" dict-foldoc fortunes-min"

# Installs the pinned packages with uv; fails where it cannot.
by_uv() {
  [[ -z "${NO_UV:-}" ]] || return 1
  local uv certificates
  uv="$(command -v uv)" || {
    .venv/bin/python -m pip install -q "$UV" || return 1
    uv=.venv/bin/uv
  }
  # pip may have been told of certificates that uv would not look at.
  certificates="${SSL_CERT_FILE:-$(.venv/bin/python -m pip config get global.cert 2>/dev/null || true)}"
  [[ -z "$certificates" ]] || export SSL_CERT_FILE="$certificates"
  # Without compiled modules every start is slow where Python is told to write none.
  "$uv" pip install "${quiet[@]}" --compile-bytecode --python .venv/bin/python -r requirements.txt -c constraints.txt \
    || { say "uv could not install the packages: pip does"; return 1; }
}
UV="uv==0.13.9"

python="$(find_python)"

# The stamp of a finished installation: a change of any of these files, or of the path, installs again.
stamp="$({ sha256sum requirements.txt constraints.txt rlds_builders/procgen/requirements.txt setup.py pyproject.toml launch/setup.sh launch/requirements.txt; pwd; } | sha256sum | cut -c1-16)"

packages="$(missing_packages "$python")"
if [[ -n "$packages" ]]; then
  # shellcheck disable=SC2086  # one word per package
  apt_install $packages
  packages="$(missing_packages "$python")"
  [[ -z "$packages" ]] || fail "still not loadable after installing: ${packages//$'\n'/ }; see ldconfig -p"
fi

# Everything is installed already.
if [[ -f .venv/setup.stamp && "$(<.venv/setup.stamp)" == "$stamp" ]] && is_311 .venv/bin/python; then
  prepare "${1:-}"
  exit 0
fi
if ! is_311 .venv/bin/python; then
  "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3.11-venv
  say "creating .venv with $python"
  "$python" -m venv --clear .venv
fi
say "installing the pinned packages into .venv (about 5 GB; minutes the first time)"
quiet=(-q)
[[ -t 1 ]] && quiet=()
by_uv || .venv/bin/python -m pip install "${quiet[@]}" -r requirements.txt -c constraints.txt
.venv/bin/python -m pip install "${quiet[@]}" --no-deps --upgrade --target .venv/libtpu -r launch/requirements.txt
.venv/bin/python -m pip install -q --no-deps --no-build-isolation -r rlds_builders/procgen/requirements.txt -e .
printf '%s' "$stamp" > .venv/setup.stamp
prepare "${1:-}"
say "ready"
