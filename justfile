# just VERB [arguments]. Every verb sets the environment up first; that takes no time once it is there.
set positional-arguments

nb := ".venv/bin/mcp-nb"

_list:
    @{{ just_executable() }} --list --unsorted

# make or refresh .venv
setup:
    @bash .ci/setup.sh

# what this machine can do, and what would be chosen for it
doctor *args: setup
    @{{ nb }} doctor "$@"

# tools -> training and test examples
dataset *args: setup
    @{{ nb }} dataset "$@"

# examples -> fine-tuned model
train *args: setup
    @{{ nb }} train "$@"

# how often the model calls the right tool with the right arguments
validate *args: setup
    @{{ nb }} validate "$@"

# models side by side on the same cases
benchmark *args: setup
    @{{ nb }} benchmark "$@"

# ONNX, INT8 and INT4, with the accuracy gate
quantize *args: setup
    @{{ nb }} quantize "$@"

# all of the above in order, with a report
run *args:
    @./run_finetuning.sh "$@"

# every notebook and every test
test *args:
    @./run_tests.sh "$@"

# README.md from nbs/index.ipynb (--check: only say whether it is in step)
docs *args: setup
    @.venv/bin/python -c 'import sys; from mcp_nb.docs import main; sys.exit(main(sys.argv[1:]))' "$@"

# the docs site, from the notebooks as the tests executed them, in _docs/site
site *args: setup
    @.venv/bin/python -m mcp_nb.site "$@"

# JupyterLab on the notebooks
lab *args: setup
    @.venv/bin/jupyter lab nbs "$@"

# one request -> one JSON object, e.g. just call "read package.json"
call *args: setup
    @{{ nb }} call "$@"
