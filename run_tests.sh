#!/usr/bin/env bash
# Every notebook and every test, from a bare clone too. Arguments go to pytest; a path (from the repository's
# folder) narrows the run: ./run_tests.sh nbs/12_codec.ipynb      ./run_tests.sh tests -k papermill -x
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source .ci/setup.sh

read -ra extra <<<"${RUN_TESTS_ARGS:-}"
what=(nbs tests)
for a in ${extra[@]+"${extra[@]}"} "$@"; do
  if [[ "$a" != -* && -e "${a%%::*}" ]]; then what=(); break; fi
done

workers=()                            # the whole suite: two at a time (tests/conftest.py gives each a processor of its own)
if [[ ${#what[@]} -gt 0 && "$(getconf _NPROCESSORS_ONLN)" -gt 1 ]]; then workers=(-n 2 --dist loadfile); fi

say "testing"
exec .venv/bin/python -m pytest -q --nbmake --nbmake-timeout=900 --durations=15 ${workers[@]+"${workers[@]}"} \
  ${what[@]+"${what[@]}"} ${extra[@]+"${extra[@]}"} "$@"
