"""The commands, one a file.

Exit codes: 0 done; 2 bad input, nothing written; 3 the machine, the network or a stored file failed; 130 interrupted
(SIGINT), 143 terminated (SIGTERM); 1 is a bug of ours.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import sys

from hf_multilabel.cli.app import app
from hf_multilabel.cli.card import card
from hf_multilabel.cli.doctor import doctor
from hf_multilabel.cli.evaluate import evaluate
from hf_multilabel.cli.export import export
from hf_multilabel.cli.inspect import inspect
from hf_multilabel.cli.predict import predict
from hf_multilabel.cli.push import push
from hf_multilabel.cli.report import report as report_command
from hf_multilabel.cli.space import space
from hf_multilabel.cli.study import study
from hf_multilabel.cli.train import train
from hf_multilabel.cli.tune import tune
from hf_multilabel.errors import EnvironmentFault, Finding, InputError, Interrupted, MultiLabelError
from hf_multilabel.progress import emit, mode

# What no command can help: rights, a full or a read-only disk. Any other OSError is a bug of ours and shows its trace.
REFUSED_BY_MACHINE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
# In the order of --help: one function a file, whose docstring and arguments are the command's help.
COMMANDS = (inspect, train, evaluate, tune, predict, report_command, study, card, push, doctor, space)

for command in COMMANDS:
    app.command()(command)
app.add_typer(export)


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
        if isinstance(error, Interrupted):  # on every process, each of which has done its part
            leave_group()
        return error.exit_code
    except OSError as error:
        if error.errno not in REFUSED_BY_MACHINE:
            raise
        what = f"expected to read or write it, found {str(error.strerror).lower()}"
        fix = "name a place where you may read and write and that has room"
        fault = EnvironmentFault(Finding("C125", str(error.filename or "disk"), what, fix))
        report(fault)
        return fault.exit_code
    return 0


def leave_group() -> None:
    """Part from the other processes of a run that is over; one that ends while its threads still listen would abort."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def report(error: MultiLabelError) -> None:
    """Print an error once: input errors are the same on every process, faults may be one process's own."""
    rank = int(os.environ.get("RANK", "0"))
    if mode() == "json" and (rank == 0 or isinstance(error, EnvironmentFault)):
        for finding in error.findings if isinstance(error, InputError) else [getattr(error, "finding", None)]:
            emit("error", rank=rank, **(dataclasses.asdict(finding) if finding else {"what": str(error)}))
    elif rank == 0:
        print(error, file=sys.stderr)
    elif isinstance(error, EnvironmentFault):
        print(f"[rank {rank}] {error}", file=sys.stderr)
