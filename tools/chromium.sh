#!/bin/sh
# The browser tests drive a real Chromium. Root gets Debian's; anyone else is told, and those tests skip with the reason.
set -eu
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian's Chromium for the browser tests ..."
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null
else
    echo "No Chromium found: the browser tests will be skipped. On Debian: sudo apt install chromium" >&2
fi
