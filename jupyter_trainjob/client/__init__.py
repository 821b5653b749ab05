"""The client of a trainjob server. Imports nothing of ours but itself, and httpx only at the first request.

>>> from jupyter_trainjob import Client
>>> job = Client().submit_cell("print(1 + 1)", name="sum", time_limit="1m")
>>> job.wait().phase
'Succeeded'
"""

from .aio import AsyncClient, AsyncJob, AsyncSweep
from .errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    ConnectionLost,
    Expired,
    Forbidden,
    InputError,
    Invalid,
    JobFailed,
    NotFound,
    RangeNotSatisfiable,
    ResultError,
    ServerError,
    ServerNotFound,
    TooLarge,
    TooMany,
    TrainJobError,
    Unauthorized,
    Unavailable,
    WaitTimeout,
)
from .spec import JobOptions
from .sweeps import Sweep
from .sync import Client, Job

__all__ = [
    "AlreadyExists",
    "AsyncClient",
    "AsyncJob",
    "AsyncSweep",
    "BadRequest",
    "Client",
    "Conflict",
    "ConnectionLost",
    "Expired",
    "Forbidden",
    "InputError",
    "Invalid",
    "Job",
    "JobFailed",
    "JobOptions",
    "NotFound",
    "RangeNotSatisfiable",
    "ResultError",
    "ServerError",
    "ServerNotFound",
    "Sweep",
    "TooLarge",
    "TooMany",
    "TrainJobError",
    "Unauthorized",
    "Unavailable",
    "WaitTimeout",
]
