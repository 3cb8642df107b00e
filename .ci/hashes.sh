#!/usr/bin/env bash
# Writes .ci/hashes.txt: what a default and development install consists of, each version with the SHA-256 of its files.
# To be run after a change of settings.ini or constraints.txt (a test compares them). Needs uv. torch is left out: which build fits depends on the machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wanted="$(mktemp)"; trap 'rm -f "$wanted"' EXIT
python3 - >"$wanted" <<'END'
import configparser
settings = configparser.ConfigParser(interpolation=None); settings.read('settings.ini')
print(settings['DEFAULT']['requirements'], settings['DEFAULT']['dev_requirements'])
END
{ printf '# Made by .ci/hashes.sh, for Linux and Python 3.11. How to use it: SECURITY.md.\n'
  uv pip compile --quiet --no-header --no-annotate --generate-hashes --index-strategy unsafe-best-match --python-version 3.11 -c constraints.txt "$wanted" |
    awk '/^[^ ]/ {skip = /^torch==/} !skip'
} >.ci/hashes.txt.new
mv .ci/hashes.txt.new .ci/hashes.txt
