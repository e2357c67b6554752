"""`hf-multilabel push`: a finished run to the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_multilabel.cli.app import silence_libraries
from hf_multilabel.request import check_run


def push(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    repo_id: Annotated[str, typer.Argument(help="OWNER/NAME on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Create the repo as a private one.")] = False,
    revision: Annotated[str | None, typer.Option(help="Branch to push to, created if it is not there.")] = None,
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead of moving the branch.")
    ] = False,
    tag: Annotated[
        str | None, typer.Option(help="Name the commit so, for instance v1.0; a name that is taken stays where it is.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="decision: only what tune changed; refused if the Hub holds another model.", metavar="PART"),
    ] = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
) -> None:
    """Push a finished run to the Hub in one commit; the token comes from HF_TOKEN or `hf auth login`.

    Example: [bold]hf-multilabel push runs/toxic me/toxic-comments --private --tag v1.0[/bold]
    """
    if only not in (None, "decision"):
        raise typer.BadParameter(f"expected decision, found {only!r}", param_hint="--only")
    check_run(folder)
    silence_libraries()
    from hf_multilabel.publishing.decision_push import push_decision
    from hf_multilabel.publishing.hub import push_bundle

    where = {"revision": revision, "create_pr": create_pr, "tag": tag, "commit_message": message}
    if only:
        typer.echo(push_decision(folder, repo_id, **where))
    else:
        typer.echo(push_bundle(folder, repo_id, private=private, **where))
