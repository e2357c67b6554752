"""`hf-multilabel push`: a finished run to the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    repo_id: Annotated[str, typer.Argument(help="OWNER/NAME on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Create the repo as a private one.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to push to.")] = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
) -> None:
    """Push a finished run to the Hub in one commit; the token comes from HF_TOKEN or `hf auth login`.

    Example: [bold]hf-multilabel push runs/toxic me/toxic-comments --private[/bold]
    """
    from hf_multilabel.publishing.hub import push_bundle

    typer.echo(push_bundle(folder, repo_id, private=private, revision=revision, commit_message=message))
