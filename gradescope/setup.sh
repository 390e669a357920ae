#!/usr/bin/env bash
# Gradescope runs this once, as root, to build the machine that grades. It needs the network.
set -euo pipefail
cd "${AUTOGRADER:-/autograder}/source"

apt-get update
for version in 3.12 3.11; do
    if apt-get install -y "python$version" "python$version-venv"; then
        "python$version" -m venv .venv
        break
    fi
done
# The build of PyTorch for processors is a tenth of the default one; it has an index of its own.
mapfile -t torch < <(grep -E '^torch(vision)?==' requirements.txt)
.venv/bin/pip install --no-cache-dir "${torch[@]}" --index-url https://download.pytorch.org/whl/cpu
.venv/bin/pip install --no-cache-dir -r requirements.txt
