#!/usr/bin/env bash
# Makes the records behind the README's figures again (outputs/reference*), on two idle cores and without a key:
#   .ci/figures.sh general        the general run: four hours, most of it training
#   .ci/figures.sh default        what ./run_finetuning.sh does: 20 minutes
#   .ci/figures.sh specialists    one run for each of four real MCP servers: an hour (needs npx and uvx)
#   .ci/figures.sh in_use         the Agent SDK's tasks, load, attacks and the shell's gate, with the default run's INT8 model: 15 minutes
#   .ci/figures.sh flywheel       a planted fault, served, corrected, harvested, trained away: a quarter of an hour
#   .ci/figures.sh exports        the package's model for other programs, and whether all write the same calls: 20 minutes (needs the extra peers; VLLM=URL asks a running vLLM, too)
#   .ci/figures.sh judges         the Berkeley leaderboard and the tasks, by the general run's INT8 model: half an hour
# Each may be stopped and started again. `just docs` then writes the figures into README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case "${1:-}" in general|default|specialists|in_use|flywheel|exports|judges) ;; *) sed -n '2,10s/^# \{0,1\}//p' .ci/figures.sh >&2; exit 2 ;; esac
source .ci/setup.sh
nb=.venv/bin/mcp-nb

# The small records of a run, without models, examples and notebooks.
keep() {
  local from="outputs/$1" to="outputs/$2" f
  for f in params.json env.json report.html logs/training.log data/data_card.json checkpoints/metrics.json \
           validation/mcp_validation_results.json benchmark/finetune_comparison.json; do
    if [ -f "$from/$f" ]; then mkdir -p "$to/$(dirname "$f")"; cp "$from/$f" "$to/$f"; fi
  done
  say "kept: $to"
}

general() {                  # judged as it is served: the INT8 model
  "$nb" dataset --preset general --run general
  "$nb" train --preset general --run general
  "$nb" quantize --preset general --run general -p recipes int8 -p sets acceptance || [ $? = 1 ]
  "$nb" validate --preset general --run general -p model outputs/general/quantized/int8 -p sets unseen2,unseen,acceptance
  keep general reference
  without_failures outputs/reference/validation/mcp_validation_results.json
}

default() { "$nb" run --preset cpu --run cpu; keep cpu reference_default; }

specialist() {               # name, command
  "$nb" run --server "$2" --run "$1" -p scratch "$scratch" -p sets "validation,real-$1" || [ $? = 1 ]      # a gate that fails is a figure too
  keep "$1" "reference_servers/$1"
  rm -f "outputs/reference_servers/$1/report.html" "outputs/reference_servers/$1/validation/mcp_validation_results.json"
  without_failures "outputs/reference_servers/$1/benchmark/finetune_comparison.json"
}

# The frozen requests that were failed are not for reading.
without_failures() {
  .venv/bin/python - "$1" <<'END'
import json, sys
record = json.load(open(sys.argv[1]))
record.pop('failures', None); record.pop('mistakes', None)
[[task.pop(k) for k in set(task) - {'id', 'right', 'stopped', 'tool', 'seconds'}] for task in record.get('tasks', ())]
for engine in record.get('engines', {}).values(): [scores.pop('failures', None) for scores in engine['scores'].values()]
[scores.pop('failures', None) for scores in record.get('sets', {}).values()]
open(sys.argv[1], 'w').write(json.dumps(record, indent=1))
END
}

in_use() {
  "$nb" tasks --agent --run cpu --json outputs/reference/agent_tasks.json
  "$nb" trial injection --run cpu --json outputs/reference/injection.json
  "$nb" trial gate --json outputs/reference/bash_gate.json
  "$nb" trial load --run cpu --json outputs/reference/load.json
  without_failures outputs/reference/agent_tasks.json; without_failures outputs/reference/bash_gate.json
}

exports() { "$nb" export shipped --format gguf,adapter,genai --compare 104 ${VLLM:+--at "vLLM=$VLLM#shipped"} --json outputs/reference/exports.json; }

flywheel() { MCP_NB_OUTPUTS="${MCP_NB_OUTPUTS:-$PWD/outputs/flywheel}" .venv/bin/python .ci/flywheel.py; }

specialists() {
  scratch=/tmp/mcp_nb_scratch             # always the same: another name would be another server, and a stopped run would begin anew
  mkdir -p "$scratch"; git -C "$scratch" init -q
  specialist time "uvx mcp-server-time --local-timezone Europe/Berlin"
  specialist git "uvx mcp-server-git --repository $scratch"
  specialist filesystem "npx -y @modelcontextprotocol/server-filesystem $scratch"
  specialist memory "npx -y @modelcontextprotocol/server-memory"
}

judges() {
  "$nb" bfcl --model outputs/general/quantized/int8 --most 100 --json outputs/reference/bfcl.json
  "$nb" tasks --model outputs/general/quantized/int8 --json outputs/reference/tasks.json
  without_failures outputs/reference/bfcl.json
  without_failures outputs/reference/tasks.json
}

"$1"
