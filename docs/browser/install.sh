#!/usr/bin/env bash
# Chromium and its driver for `make test-docs`: from Debian's packages where they are
# missing and may be installed, otherwise a message that says what to do.
set -euo pipefail

have() { command -v "$1" > /dev/null; }

if { have chromium || have chromium-browser || have google-chrome; } &&
    have chromedriver; then
    exit 0
fi
if have apt-get && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium chromium-driver fonts-dejavu-core > /dev/null
    exit 0
fi
echo "make test-docs needs Chromium (or Chrome) and chromedriver on the PATH:" >&2
echo "on Debian, 'apt-get install chromium chromium-driver' as root." >&2
exit 1
