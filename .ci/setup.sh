#!/usr/bin/env bash
# Gives the repository a working .venv, and costs nothing when it has one.
# run_tests.sh and run_finetuning.sh source this; `bash .ci/setup.sh` does only the setup.
# PYTHON=… picks the interpreter. Messages go to standard error, so a command's output stays its own.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv"
STAMP="$VENV/.mcp_nb_setup"        # what was installed, and for which folder
PARTIAL="$VENV/.mcp_nb_partial"    # here while .venv is being made: a killed setup leaves it behind

say() { printf '[%4ss] %s\n' "$SECONDS" "$*" >&2; }
die() { printf '%s\n' "$*" >&2; exit 2; }

# The first Python >= 3.11 that can make environments, in $BASE.
find_python() {
  local c v old="" bare=""
  for c in ${PYTHON:+"$PYTHON"} python3 python3.11 python3.12 python3.13 python3.14 python; do
    v="$("$c" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" || continue
    if ! "$c" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then old="${old:-$c is $v}"
    elif ! "$c" -c 'import venv, ensurepip' 2>/dev/null; then bare="${bare:-$c $v}"
    else BASE="$c"; say "Python $v ($(command -v "$c"))"; return
    fi
  done
  [ -z "$bare" ] || die "mcp_nb: $bare has no venv module; install it (Debian, Ubuntu: apt install python3-venv) and run this again."
  die "mcp_nb: needs Python 3.11 or newer (${old:-no Python found}); install one, or name it: PYTHON=/path/to/python3.11 $0"
}

venv_works() { "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

has_pip() { "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || "$VENV/bin/python" -m ensurepip >/dev/null 2>&1; }

# uv from PATH, from .venv, or from the package index, in $UV.
find_uv() {
  for UV in uv "$VENV/bin/uv"; do
    if "$UV" --version >/dev/null 2>&1; then return 0; fi
  done
  say "getting uv"
  has_pip && "$VENV/bin/python" -m pip install --quiet uv >&2
}

# uv does not read pip's settings. Where pip is told where wheels lie (a CPU build of torch, say), tell uv too.
share_find_links() {
  local links
  [ -z "${UV_FIND_LINKS+set}" ] || return 0
  links="${PIP_FIND_LINKS:-$("$VENV/bin/python" -m pip config get global.find-links 2>/dev/null || true)}"
  # shellcheck disable=SC2086  # pip separates by white space, uv by commas
  links="$(printf '%s,' $links)"
  [ "$links" = , ] || export UV_FIND_LINKS="${links%,}"
}

# Installed without their dependencies: the data and the checker of the Berkeley leaderboard, beside which nothing of it is needed.
ALONE=(bfcl-eval==2026.3.23)

install_all() {
  local quiet=--quiet
  [ ! -t 2 ] || quiet=                   # a person sees the progress, a log does not
  if find_uv; then
    share_find_links
    say "installing with $("$UV" --version | cut -d' ' -f1,2) (about a minute; longer the first time)"
    if "$UV" pip install $quiet --python "$VENV/bin/python" -c constraints.txt -e '.[dev]' >&2 &&
       "$UV" pip install --quiet --python "$VENV/bin/python" --no-deps "${ALONE[@]}" >&2; then return 0; fi
    say "uv could not do it; trying pip"
  fi
  has_pip || die "mcp_nb: $VENV has neither a working uv nor pip; remove that folder and run this again."
  say "installing with pip (some minutes)"
  "$VENV/bin/python" -m pip install $quiet --use-pep517 -c constraints.txt -e '.[dev]' >&2
  "$VENV/bin/python" -m pip install --quiet --no-deps "${ALONE[@]}" >&2
}

setup() {
  local want have="" where="" crc size
  cd "$ROOT"
  want="$(cat settings.ini constraints.txt setup.py .ci/setup.sh | cksum)"
  [ ! -f "$STAMP" ] || { read -r crc size where <"$STAMP" || true; have="$crc $size"; }
  if [ "$have" = "$want" ] && [ "$where" = "$ROOT" ] && [ ! -e "$PARTIAL" ] && [ -x "$VENV/bin/mcp-nb" ] && venv_works; then return 0; fi

  if [ -e "$PARTIAL" ]; then say "an earlier setup did not finish; starting .venv afresh"; rm -rf "$VENV"
  elif [ -n "$where" ] && [ "$where" != "$ROOT" ]; then say "the repository was moved or copied; starting .venv afresh"; rm -rf "$VENV"
  elif [ -e "$VENV" ] && ! venv_works; then say ".venv does not work any more; starting it afresh"; rm -rf "$VENV"
  fi
  if [ ! -e "$VENV" ]; then
    find_python
    say "making .venv"
    mkdir -p "$VENV"; : >"$PARTIAL"
    "$BASE" -m venv "$VENV" >&2
  fi
  : >"$PARTIAL"
  install_all
  printf '%s %s\n' "$want" "$ROOT" >"$STAMP"
  rm -f "$PARTIAL"
  say "setup done"
}

# One setup at a time where flock exists; the second waits and then finds the work done.
if command -v flock >/dev/null 2>&1; then
  exec 9<"$ROOT/settings.ini"
  flock -n 9 || { say "another setup runs here; waiting for it"; flock 9 || true; }
  setup
  exec 9<&-
else
  setup
fi
