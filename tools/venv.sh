#!/bin/sh
# Makes a virtual environment: tools/venv.sh PYTHON FOLDER. Debian's Python comes without venv: root gets it installed.
set -eu
python=$1
folder=$2
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "genux needs Python 3.11 or newer; $python is $("$python" --version 2>&1). Try: make PYTHON=python3.12" >&2
    exit 1
}
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    else
        echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt install python3-venv" >&2
        exit 1
    fi
fi
"$python" -m venv "$folder"
"$folder/bin/pip" install -q --upgrade 'pip>=25.1'
