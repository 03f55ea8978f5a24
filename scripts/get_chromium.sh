#!/bin/sh
# Make sure that a Chromium for the browser tests is on the PATH; install Debian's if necessary.
set -eu
for name in chromium chromium-browser google-chrome; do
	command -v "$name" >/dev/null && exit 0
done
if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
	exit 0
fi
echo "The browser tests need Chromium, but none is on the PATH. Debian: sudo apt-get install chromium" >&2
exit 1
