"""Push a bundle to the Hub: one commit that leaves exactly the manifest's files, on top of the commit seen, or none.

what the repo holds -> what must change -> one commit that names its parent -> the tag on it
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

from hf_multilabel.errors import EnvironmentFault, Finding, InputError
from hf_multilabel.publishing.attempts import CONFLICT, Attempts, check_login, status_of
from hf_multilabel.publishing.bundle import CARD, MANIFEST, verify_bundle
from hf_multilabel.publishing.card import number, pretty, readdress_card
from hf_multilabel.publishing.remote import Changes, Content, Held, find_changes, find_stale, look

# References that are no branches: a pull request is one.
REFS = "refs/"


@dataclass(frozen=True)
class Target:
    """Where a push goes.

    Args:
        repo_id: OWNER/NAME.
        revision: Branch, created from `main` if it is not there, or `refs/pr/N`; None is `main`.
        private: Whether a repo created here is private.
        create_pr: Open a pull request with the commit instead of moving the branch.
        tag: Name the commit so; must be free, or on this very commit.
    """

    repo_id: str
    revision: str | None = None
    private: bool = False
    create_pr: bool = False
    tag: str | None = None

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            InputError: If a pull request is to be opened against a branch, or to be tagged.
        """
        wrong = "a tag" if self.tag else "a revision" if self.revision not in (None, "main") else None
        if self.create_pr and wrong:
            what = f"expected a pull request alone, found {wrong} beside it"
            fix = "tag the commit when it is merged" if self.tag else "push to the branch itself, or leave it out"
            raise InputError(Finding("P306", self.repo_id, what, fix))


@dataclass(frozen=True)
class Pushed:
    """What a push led to.

    Args:
        url: Address of the commit, or of the pull request.
        commit: Its id.
    """

    url: str
    commit: str


def push_bundle(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
    tag: str | None = None,
    commit_message: str | None = None,
    token: str | None = None,
) -> str:
    """Push a finished run in one commit. Checkpoints, logs and whatever else lies in the folder stay here.

    The commit names the commit it builds on, so that the Hub refuses it if somebody else committed meanwhile. An
    answer that was lost after the commit was made is noticed: the next try finds nothing left to change. Files that an
    older bundle left in the repo go, all others stay.

    Args:
        folder: The run's folder; its manifest must verify.
        repo_id: OWNER/NAME; created if it is not there.
        private: As in `Target`, as are `revision`, `create_pr` and `tag`.
        revision: See there.
        create_pr: See there.
        tag: See there.
        commit_message: First line of the commit; None: one with the main metrics.
        token: None takes HF_TOKEN or the saved login.

    Returns:
        Address of the commit, or of the pull request.

    Raises:
        InputError: If the folder holds no bundle, there is no login or it may not write there, `repo_id` is none, or
            the tag stands on another commit.
        EnvironmentFault: If the bundle is damaged, the Hub can't be reached or fails repeatedly, or the branch changed.

    Cost: Reads the bundle twice; uploads what the repo does not hold yet.
    """
    target = Target(repo_id, revision, private, create_pr, tag)
    return push_files(Path(folder), target, commit_message, token=token).url


def push_files(
    folder: Path,
    target: Target,
    message: str | None = None,
    *,
    token: str | None = None,
    beside: Mapping[str, Path] | None = None,
    folders: Iterable[str] = (),
) -> Pushed:
    """Push a bundle and perhaps files beside it, which its manifest does not list, in the same commit.

    Args:
        folder: As for `push_bundle`.
        target: Where it goes.
        message: First line of the commit; None: one with the main metrics.
        token: None takes HF_TOKEN or the saved login.
        beside: Path in the repo to file.
        folders: Folders of the repo that hold nothing else afterwards.

    Raises:
        InputError: As `push_bundle`.
        EnvironmentFault: As `push_bundle`.
    """
    target.check()
    contents = bundle_contents(folder, target.repo_id)
    contents |= {name: Content(path) for name, path in (beside or {}).items()}
    if token is None:
        check_login(target.repo_id)
    delivery = Delivery(folder, target, token)
    delivery.open_repo()
    start = delivery.look()
    stale = delivery.find_stale(start, contents, folders)
    return delivery.deliver(contents, start, stale, message or describe_scores(folder))


def bundle_contents(folder: Path, repo_id: str) -> dict[str, Content]:
    """The files of a bundle as they are pushed: the card's code lines name the repo, all else is as it is.

    Raises:
        InputError: As `verify_bundle`.
        EnvironmentFault: As `verify_bundle`.
    """
    names = [*verify_bundle(folder)["files"], MANIFEST]
    contents = {name: Content(folder / name) for name in names}
    if CARD in contents:
        card = readdress_card((folder / CARD).read_text(encoding="utf-8"), repo_id)
        contents[CARD] = Content(card.encode("utf-8"))
    return contents


def describe_scores(folder: Path) -> str:
    """A commit message with the scores of the stored decision, as far as metrics.json has them."""
    path = folder / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for split in ("test", "validation"):
        tuned = metrics.get(split, {}).get("tuned", {})
        scores = [f"{pretty(name)} {number(tuned[name])}" for name in ("micro_f1", "macro_f1") if name in tuned]
        if scores:
            return f"Upload multi-label model, {split} {', '.join(scores)}"
    return "Upload multi-label model"


class Delivery:
    """One push of some files to one target.

    Args:
        folder: The local copy, named in every error.
        target: Where it goes.
        token: None takes HF_TOKEN or the saved login.
    """

    def __init__(self, folder: Path, target: Target, token: str | None = None) -> None:
        self.target, self.repo_id, self.revision = target, target.repo_id, target.revision
        self.api = HfApi(token=token, library_name="hf_multilabel")
        self.hub = Attempts(folder, target.repo_id)

    def open_repo(self) -> None:
        """Create repo and branch where they are not there."""
        created = self.hub.attempt(
            lambda: self.api.create_repo(self.repo_id, private=self.target.private, exist_ok=True)
        )
        self.repo_id = created.repo_id  # with the owner, if only a name was given
        if self.revision not in (None, "main") and not self.revision.startswith(REFS):
            self.hub.attempt(lambda: self.api.create_branch(self.repo_id, branch=self.revision, exist_ok=True))

    def look(self) -> Held:
        """What the target holds now."""
        return self.hub.attempt(lambda: look(self.api, self.repo_id, self.revision))

    def find_stale(self, held: Held, contents: Mapping[str, Content], folders: Iterable[str] = ()) -> set[str]:
        """As `remote.find_stale`."""
        return self.hub.attempt(lambda: find_stale(self.api, self.repo_id, held, contents, folders))

    def deliver(self, contents: Mapping[str, Content], start: Held, stale: set[str], message: str) -> Pushed:
        """Make the target hold these files, in one commit or none.

        Args:
            contents: Path in the repo to content.
            start: The commit to build on, read once: no try overwrites one it has not seen.
            stale: Paths that go.
            message: First line of the commit.

        Raises:
            InputError: As `push_bundle`.
            EnvironmentFault: As `push_bundle`.
        """
        changes = find_changes(contents, start, stale)
        self.check_tag(None if changes else start.commit)
        done = self.pushed(start.commit)
        if changes:
            commit = self.request if self.target.create_pr else self.commit
            done = commit(contents, start, stale, message)
        self.set_tag(done.commit)
        return done

    def commit(self, contents: Mapping[str, Content], start: Held, stale: set[str], message: str) -> Pushed:
        """Commit what must change on top of `start`."""

        def send() -> Pushed:
            held = look(self.api, self.repo_id, self.revision)
            if not (changes := find_changes(contents, held, stale)):
                return self.pushed(held.commit)  # a try whose answer was lost
            if held.commit != start.commit:
                raise self.hub.changed()
            try:
                return self.send(contents, changes, start, message)
            except HfHubHTTPError as error:
                if status_of(error) not in CONFLICT:
                    raise
                # a try that was answered with an error may have gone through after that
                newest = look(self.api, self.repo_id, self.revision)
                if find_changes(contents, newest, stale):
                    raise
                return self.pushed(newest.commit)

        return self.hub.attempt(send)

    def request(self, contents: Mapping[str, Content], start: Held, stale: set[str], message: str) -> Pushed:
        """Open a pull request on top of `start`; one that an earlier try opened unheard is found again."""
        known = self.hub.attempt(self.pull_requests)

        def send() -> Pushed:
            for ref in self.pull_requests() - known:
                held = look(self.api, self.repo_id, ref)
                if not find_changes(contents, held, stale):
                    url = f"{self.api.endpoint}/{self.repo_id}/discussions/{ref.rpartition('/')[2]}"
                    return Pushed(url, held.commit)
            return self.send(contents, find_changes(contents, start, stale), start, message)

        return self.hub.attempt(send)

    def send(self, contents: Mapping[str, Content], changes: Changes, start: Held, message: str) -> Pushed:
        """One try of the commit. The operations carry what the Hub held when they were sent, so each has new ones."""
        made = self.api.create_commit(
            self.repo_id,
            [
                *(CommitOperationAdd(name, contents[name].source) for name in changes.written),
                *(CommitOperationDelete(name) for name in changes.deleted),
            ],
            commit_message=message,
            revision=self.revision,
            parent_commit=start.commit,
            create_pr=self.target.create_pr,
        )
        return Pushed(made.pr_url or made.commit_url, made.oid)

    def pushed(self, commit: str) -> Pushed:
        """A commit that is there already."""
        return Pushed(f"{self.api.endpoint}/{self.repo_id}/commit/{commit}", commit)

    def pull_requests(self) -> set[str]:
        """References of all pull requests of the repo."""
        found = self.api.list_repo_refs(self.repo_id, include_pull_requests=True).pull_requests
        return {request.ref for request in found or ()}

    def check_tag(self, commit: str | None) -> None:
        """Refuse a tag that stands on another commit, before anything is committed.

        Args:
            commit: The commit it may stand on; None: it must be free.
        """
        if self.target.tag is None:
            return
        refs = self.hub.attempt(lambda: self.api.list_repo_refs(self.repo_id))
        found = next((tag.target_commit for tag in refs.tags if tag.name == self.target.tag), None)
        if found not in (None, commit):
            raise InputError(self.taken(found))

    def set_tag(self, commit: str) -> None:
        """Put the tag on the commit, once."""
        tag = self.target.tag
        if tag is None:
            return
        self.hub.attempt(lambda: self.api.create_tag(self.repo_id, tag=tag, revision=commit, exist_ok=True))
        refs = self.hub.attempt(lambda: self.api.list_repo_refs(self.repo_id))
        found = next((other.target_commit for other in refs.tags if other.name == tag), None)
        if found != commit:
            raise EnvironmentFault(self.taken(found))

    def taken(self, commit: str | None) -> Finding:
        """The tag stands elsewhere."""
        tag = self.target.tag
        what = f"expected the tag {tag} to be free, found it on commit {(commit or 'none')[:12]}"
        fix = f"choose another tag, or give it up with `hf repos tag delete {self.repo_id} {tag}` and push again"
        return Finding("P307", self.repo_id, what, fix)
