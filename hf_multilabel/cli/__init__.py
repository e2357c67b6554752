"""The commands, one a file.

Exit codes: 0 done; 2 bad input, nothing written; 3 the machine, the network or a stored file failed; 130 interrupted;
1 is a bug of ours.
"""

from __future__ import annotations

import os
import sys

from hf_multilabel.cli.app import app
from hf_multilabel.cli.card import card
from hf_multilabel.cli.evaluate import evaluate
from hf_multilabel.cli.inspect import inspect
from hf_multilabel.cli.predict import predict
from hf_multilabel.cli.push import push
from hf_multilabel.cli.train import train
from hf_multilabel.cli.tune import tune
from hf_multilabel.errors import EnvironmentFault, MultiLabelError

# In the order of --help: one function a file, whose docstring and arguments are the command's help.
COMMANDS = (inspect, train, evaluate, tune, predict, card, push)

for command in COMMANDS:
    app.command()(command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `hf-multilabel`."""
    sys.exit(call(arguments))


def run() -> None:
    """Entry point of `run.py`: `hf-multilabel train`, for launchers that start a script."""
    sys.exit(call(["train", *sys.argv[1:]]))


def call(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; usage errors are typer's own, with code 2."""
    try:
        app(args=arguments)
    except SystemExit as end:
        if not end.code:
            leave_group()
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except MultiLabelError as error:
        report(error)
        return error.exit_code
    return 0


def leave_group() -> None:
    """Part from the other processes of a finished run; one that ends while its threads still listen would abort."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def report(error: MultiLabelError) -> None:
    """Print an error once: input errors are the same on every process, faults may be one process's own."""
    rank = int(os.environ.get("RANK", "0"))
    if rank == 0:
        print(error, file=sys.stderr)
    elif isinstance(error, EnvironmentFault):
        print(f"[rank {rank}] {error}", file=sys.stderr)
