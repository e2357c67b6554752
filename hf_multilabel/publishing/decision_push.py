"""Push only a new decision: the weights, tokenizer and code on the Hub must be those the decision was fitted for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.publishing.attempts import check_login
from hf_multilabel.publishing.bundle import CARD, MANIFEST
from hf_multilabel.publishing.card_sections import replace_measured
from hf_multilabel.publishing.hub import REFS, Delivery, Target, bundle_contents, describe_scores
from hf_multilabel.publishing.origin import read_origin, write_origin
from hf_multilabel.publishing.remote import Content, Held, fetch_json, fetch_text, find_changes, find_stale

CONFIG = "config.json"
# What `tune` rewrites, beside the card's figures; every other file must lie on the Hub as it is in the folder.
REWRITTEN = frozenset({CONFIG, "metrics.json", CARD, MANIFEST})
FIGURES = "figures/"


def push_decision(
    folder: str | Path,
    repo_id: str,
    *,
    revision: str | None = None,
    create_pr: bool = False,
    tag: str | None = None,
    commit_message: str | None = None,
    token: str | None = None,
) -> str:
    """Push the decision of a tuned model in one commit: config.json, metrics.json, the card's parts, the manifest.

    What people wrote into the card on the Hub stays. A folder that was downloaded goes back only onto the commit it
    was downloaded from.

    Args:
        folder: The tuned bundle.
        repo_id: The repo that holds the model.
        revision: Branch; None: main.
        create_pr: As in `Target`.
        tag: As in `Target`.
        commit_message: First line of the commit; None: one with the main metrics.
        token: None takes HF_TOKEN or the saved login.

    Returns:
        Address of the commit, or of the pull request.

    Raises:
        InputError: As `push_bundle`, and if the Hub holds another model.
        EnvironmentFault: As `push_bundle`.

    Cost: Reads the bundle twice; uploads four small files and the figures.
    """
    folder = Path(folder)
    target = Target(repo_id, revision, create_pr=create_pr, tag=tag)
    target.check()
    contents = bundle_contents(folder, repo_id)
    if token is None:
        check_login(repo_id)
    delivery = Delivery(folder, target, token)
    if not delivery.hub.attempt(lambda: delivery.api.repo_exists(repo_id)):
        raise InputError(other_model(folder, repo_id, "no such repo that may be read"))
    if not is_branch(delivery, revision):
        what = f"expected a branch or a pull request to push to, found {revision!r}, which is none"
        raise InputError(Finding("P313", repo_id, what, "leave the revision out to push to main"))
    held = delivery.look()
    check_origin(delivery, folder, held)
    contents, stale = check_same_model(delivery, contents, folder, held)
    message = commit_message or describe_scores(folder).replace("Upload multi-label model", "New decision", 1)
    pushed = delivery.deliver(contents, held, stale, message)
    origin = read_origin(folder)
    if origin is not None and origin.repo_id == repo_id and not create_pr:
        write_origin(folder, replace(origin, commit=pushed.commit))
    return pushed.url


def is_branch(delivery: Delivery, revision: str | None) -> bool:
    """Whether commits can go there: a tag or a commit does not move."""
    if revision in (None, "main") or revision.startswith(REFS):
        return True
    refs = delivery.hub.attempt(lambda: delivery.api.list_repo_refs(delivery.repo_id))
    return revision in {branch.name for branch in refs.branches}


def check_origin(delivery: Delivery, folder: Path, held: Held) -> None:
    """Refuse to put a decision over a commit that whoever tuned it has not seen.

    Raises:
        EnvironmentFault: If the newest commit is not the one the folder was downloaded from.
    """
    origin = read_origin(folder)
    if origin is None or origin.repo_id != delivery.repo_id or origin.commit == held.commit:
        return
    what = f"expected {origin.repo_id} as it was downloaded ({origin.commit[:12]}), found {held.commit[:12]}"
    fix = f"look at that commit, then `hf-multilabel tune {origin.repo_id}` into a new folder"
    raise EnvironmentFault(Finding("P304", str(folder), what, fix))


def check_same_model(
    delivery: Delivery, contents: dict[str, Content], folder: Path, held: Held
) -> tuple[dict[str, Content], set[str]]:
    """The files to push and those that go, if the Hub holds the same model but for its decision.

    Raises:
        InputError: If any other file differs, or is missing on one side.
    """
    repo_id, api, hub = delivery.repo_id, delivery.api, delivery.hub
    changes = find_changes(contents, held, hub.attempt(lambda: find_stale(api, repo_id, held, contents, ())))
    changed = {name for name in (*changes.written, *changes.deleted) if not name.startswith(FIGURES)}
    others = sorted(changed - REWRITTEN, key=lambda name: "safetensors" not in name)
    if others or CONFIG not in held.files:
        more = f" and {len(others) - 1} more files" if len(others) > 1 else ""
        raise InputError(other_model(folder, repo_id, f"another {(others or [CONFIG])[0]}{more}"))
    there = hub.attempt(lambda: fetch_json(api, repo_id, held.commit, CONFIG))
    here = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if {**there, "decision": None} != {**here, "decision": None}:
        differing = [key for key in {**there, **here} if key != "decision" and there.get(key) != here.get(key)]
        raise InputError(other_model(folder, repo_id, f"another {differing[0]} in {CONFIG}"))
    if CARD in held.files and CARD in contents:
        card = hub.attempt(lambda: fetch_text(api, repo_id, held.commit, CARD))
        fresh = contents[CARD].read().decode("utf-8")
        contents = contents | {CARD: Content(replace_measured(card, fresh, {}).encode("utf-8"))}
    return contents, set(changes.deleted)


def other_model(folder: Path, repo_id: str, found: str) -> Finding:
    """The Hub does not hold the model that the decision belongs to."""
    what = f"expected {repo_id} to hold the model of {folder} but for its decision, found {found}"
    return Finding("P308", str(folder), what, f"push all of it: `hf-multilabel push {folder} {repo_id}`")
