"""A job's arguments between Python and JSON.

`parameters.py` takes the arguments of a whole call, `converter.py` one value by its annotation,
and `json_values.py` checks what is JSON already.
"""

from __future__ import annotations

from jobqueue.arguments.json_values import MAX_ARGS_BYTES, encode_args, encode_unchecked
from jobqueue.arguments.parameters import Misfit, ParameterFacts, Parameters

__all__ = [
    "MAX_ARGS_BYTES",
    "Misfit",
    "ParameterFacts",
    "Parameters",
    "encode_args",
    "encode_unchecked",
]
