#!/usr/bin/env bash
# Tools in, a checked and quantized model out: dataset, training, validation, benchmark, quantization, report.
# The embedded base on the CPU by default; everything after the name goes to `mcp-nb run` (./run_finetuning.sh --help).
set -euo pipefail
caller="$PWD"
cd "$(dirname "${BASH_SOURCE[0]}")"

# The run works in the repository's folder; a file named from the caller's folder is still found.
args=()
for a in "$@"; do
  if [[ "$a" != [-/]* && ( "$a" == */* || "$a" == *.* ) && -e "$caller/$a" ]]; then a="$caller/$a"; fi
  args+=("$a")
done

source .ci/setup.sh
exec .venv/bin/mcp-nb run ${args[@]+"${args[@]}"}
