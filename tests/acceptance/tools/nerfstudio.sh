#!/bin/sh
# Makes the environment in which nerfstudio runs with our plug-in: .tools/nerfstudio, apart from ours, as nerfstudio pins
# older versions of what both use. Wheels only. Safe to run again: what is there stays.
#
# usage: tests/acceptance/tools/nerfstudio.sh [PYTHON3.11]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
venv="$root/.tools/nerfstudio"
python=${1:-python3.11}

say() { printf 'nerfstudio: %s\n' "$*"; }
wanted() { cat "$here/nerfstudio-requirements.txt" "$here/nerfstudio.sh" "$here/torchvision_operators.py"; }
pip() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
# Editable, so that only what pyproject.toml says is copied: the entry points.
ours() { pip --no-deps --no-build-isolation --editable "$root"; }
if wanted | cmp -s - "$venv/installed.txt" 2>/dev/null; then
    ours
    exit 0
fi

is_311='import sys; sys.exit(sys.version_info[:2] != (3, 11))'
"$python" -c "$is_311" 2>/dev/null || python=python3.11
"$python" -c "$is_311" 2>/dev/null || { say "Python 3.11 is missing; name one as first argument"; exit 2; }
say "installing wheels into .tools/nerfstudio (about 2.3 GB)"
rm -rf "$venv"
"$python" -m venv "$venv"
# Torch comes first and alone, with what it needs: the same build as in our own environment.
pip --only-binary :all: --constraint "$root/constraints.txt" torch
pip --only-binary :all: --no-deps --requirement "$here/nerfstudio-requirements.txt"
ours
# A torchvision built for CUDA does not load beside a torch built for CPUs. nerfstudio wants no more of it than pictures.
if ! "$venv/bin/python" -c "import torchvision" 2>/dev/null; then
    packages=$("$venv/bin/python" -c "import sysconfig; print(sysconfig.get_path('purelib'))")
    cp "$here/torchvision_operators.py" "$packages/"
    echo "import torchvision_operators" >"$packages/torchvision_operators.pth"
fi
"$venv/bin/python" -c "import torchvision.utils, nerfstudio, pipelines.nerfstudio.method"
wanted >"$venv/installed.txt"
say "ready: .tools/nerfstudio/bin/ns-train turnabout --data CAPTURE"
