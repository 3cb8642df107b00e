"One processor for each worker: what computes with threads would otherwise wait for the other worker's at every step. And executed notebooks are kept for the docs site."
import os
from pathlib import Path


def pytest_configure(config):
    worker = getattr(config, 'workerinput', {}).get('workerid', '')
    if worker and hasattr(os, 'sched_setaffinity'):
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[int(worker.removeprefix('gw')) % len(processors)]})
    keep_executed_notebooks()


def keep_executed_notebooks():
    "The site (room 91) shows the outputs of the notebooks that the suite has just executed, rather than executing them again."
    from nbmake.nb_run import NotebookRun
    execute = NotebookRun.execute
    def kept(self):
        result = execute(self)
        if result.error is None and Path(self.filename).parent.name == 'nbs':
            from mcp_nb.site import keep_executed
            keep_executed(Path(self.filename).name, result.nb)
        return result
    NotebookRun.execute = kept
