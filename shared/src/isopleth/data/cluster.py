"""Run tasks here, or on a dask cluster, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from isopleth.cluster import connect
from isopleth.errors import require

_TASKS_A_THREAD = 2


def run_tasks(tasks: Iterator[Any], scheduler: str | None) -> Iterator[Any]:
    """Compute delayed tasks and yield their results as they come.

    Here they run one after another, each on dask's threads; on a cluster there are never more under way than
    twice its threads, so that memory stays bounded however long the series is.

    Parameters
    ----------
    tasks : iterator of dask Delayed
    scheduler : str, optional
        Address of a dask.distributed scheduler, such as ``tcp://10.0.0.1:8786``. Its workers must see the
        same files under the same paths.

    Raises
    ------
    ConfigError
        If no scheduler answers there.
    """
    if scheduler is None:
        for task in tasks:
            yield task.compute()
        return
    distributed = require("distributed", install="isopleth[cluster]", purpose="use a dask cluster")
    with connect(scheduler) as client:
        limit = max(1, _TASKS_A_THREAD * sum(client.nthreads().values()))
        running = distributed.as_completed(loop=client.loop)
        for task in tasks:
            running.add(client.compute(task))
            if running.count() >= limit:
                yield next(running).result()
        for future in running:
            yield future.result()
