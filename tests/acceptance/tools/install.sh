#!/bin/sh
# Installs the real clients that tests/acceptance opens our files with: Khronos' glTF validator and three.js (npm),
# Blender as a Python module (a wheel in an environment of its own), Chromium and Godot (both from Debian).
# Everything but these two goes into the git-ignored .tools/ of the repository. Safe to run again: what is there stays.
#
# usage: tests/acceptance/tools/install.sh [PYTHON3.11]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
tools="$root/.tools"
python=${1:-python3.11}
mkdir -p "$tools"

say() { printf 'acceptance tools: %s\n' "$*"; }
need() { say "$1 is missing: $2"; exit 2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        need "permission to run '$*'" "run it as root, then call this script again"
    fi
}

apt_install() {
    command -v apt-get >/dev/null || need "apt-get" "install these yourself: $*"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
}

# --- apt: a browser, a game engine, node, and the X/GL libraries that Blender's module is linked against
wanted=""
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || wanted="$wanted chromium"
command -v godot3-server >/dev/null || wanted="$wanted godot3-server"
command -v npm >/dev/null || wanted="$wanted nodejs npm"
libraries="$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p)"
for pair in libXrender.so.1:libxrender1 libXi.so.6:libxi6 libXxf86vm.so.1:libxxf86vm1 libXfixes.so.3:libxfixes3 \
    libxkbcommon.so.0:libxkbcommon0 libSM.so.6:libsm6 libICE.so.6:libice6 libGL.so.1:libgl1 libEGL.so.1:libegl1; do
    case "$libraries" in *"${pair%%:*}"*) ;; *) wanted="$wanted ${pair##*:}" ;; esac
done
# shellcheck disable=SC2086  # a list of package names
[ -z "$wanted" ] || apt_install $wanted

# --- npm: validator, three.js, browser driver
if ! cmp -s "$here/package-lock.json" "$tools/node/installed.json"; then
    say "npm packages"
    mkdir -p "$tools/node"
    cp "$here/package.json" "$here/package-lock.json" "$tools/node/"
    (cd "$tools/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    cp "$here/package-lock.json" "$tools/node/installed.json"
fi

# --- pip: Blender
if ! cmp -s "$here/bpy-requirements.txt" "$tools/bpy-venv/installed.txt"; then
    say "Blender module (about 350 MB)"
    is_311='import sys; sys.exit(sys.version_info[:2] != (3, 11))'
    "$python" -c "$is_311" 2>/dev/null || python=python3.11
    "$python" -c "$is_311" 2>/dev/null || need "Python 3.11" "Blender's module needs it; name one as first argument"
    rm -rf "$tools/bpy-venv"
    "$python" -m venv "$tools/bpy-venv"
    "$tools/bpy-venv/bin/python" -m pip install -q -r "$here/bpy-requirements.txt"
    "$tools/bpy-venv/bin/python" -c "import bpy"
    cp "$here/bpy-requirements.txt" "$tools/bpy-venv/installed.txt"
fi
say "ready"
