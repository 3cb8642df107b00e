"One processor for each worker: what computes with threads would otherwise wait for the other worker's at every step."
import os


def pytest_configure(config):
    worker = getattr(config, 'workerinput', {}).get('workerid', '')
    if worker and hasattr(os, 'sched_setaffinity'):
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[int(worker.removeprefix('gw')) % len(processors)]})
