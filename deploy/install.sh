#!/bin/sh
# Builds the wheel of a source tree, and installs it with the service's libraries into a new virtual environment.
#   sh deploy/install.sh SOURCE TARGET
# The image is built by these steps, and a test runs them without Docker.
set -eu
source=$1
target=$2
python=${PYTHON:-python3}

"$python" -m venv "$target"
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
"$target/bin/pip" wheel --quiet --no-deps --wheel-dir "$wheels" "$source"
wheel=$(find "$wheels" -name 'genux-*.whl')
"$target/bin/pip" install --quiet --constraint "$source/constraints.txt" "$wheel[postgres]"
"$target/bin/genux" --version
