"""A small Hugging Face Hub on a loopback port: the real client talks to it, and tests tell it to fail.

It keeps model repositories in memory: branches of commits, each commit a dict of path to `Blob`; tags; pull requests,
which are branches `refs/pr/N`. `fail` makes chosen requests go wrong, before or after their work is done: with an error
status, a connection that is reset or ends, a body that is cut short, or slowly. `before_commit` runs just before a
commit is applied. `requests` records what was asked, `traffic` every byte of it but the login.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback_repos import NOT_FOUND, Blob, Commit, Fault, Refused, Repo, reference

__all__ = ["Blob", "Commit", "LoopbackHub", "Repo"]

LFS_MARKS = (".safetensors", ".bin", ".onnx")


class LoopbackHub:
    """The server, its repositories and the faults it was told to have.

    Example:
        >>> with LoopbackHub() as hub:
        ...     hub.fail("POST /api/models/.*/commit/", status=503, times=2)
        ...     environment = hub.environment(home)  # for the subprocess that runs the real client
    """

    def __init__(self, token: str = "hf_loopbackcanary") -> None:
        self.token, self.stranger = token, f"{token}stranger"
        self.users = {f"Bearer {self.token}": "user", f"Bearer {self.stranger}": "stranger"}
        self.repos: dict[str, Repo] = {}
        self.large_files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.traffic: list[bytes] = []
        self.delay_s = 0.2
        self.faults: list[Fault] = []
        self.before_commit: Callable[[Repo], None] | None = None
        self.lock = threading.RLock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> LoopbackHub:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def environment(self, home: Path, token: str | None = None, **extra: str) -> dict[str, str]:
        """The variables of a process whose client should talk to this server; without `token` it is not logged in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "PYTEST"))}
        chosen = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        chosen |= {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"} | ({"HF_TOKEN": token} if token else {})
        return kept | chosen | extra

    def fail(
        self,
        pattern: str,
        status: int | str = 503,
        times: int = 1,
        late: bool = False,
        retry_after: int | None = None,
    ) -> None:
        self.faults.append(Fault(pattern, status, times, late, retry_after))

    def asked(self, pattern: str) -> int:
        """How many requests matched `pattern`."""
        return sum(bool(re.match(pattern, request)) for request in self.requests)

    def next_fault(self, request: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.match(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None

    def repo(self, name: str) -> Repo:
        if name not in self.repos:
            raise Refused(404, "Repository not found", NOT_FOUND["repo"])
        return self.repos[name]


class Handler(BaseHTTPRequestHandler):
    """Answers one request; the table at the end of the file says which method serves which address."""

    hub: LoopbackHub
    protocol_version = "HTTP/1.1"
    # headers and body are two packets: the second would wait 40 ms for the first one's receipt
    disable_nagle_algorithm = True

    def serve(self) -> None:
        address = urlsplit(self.path)
        self.query = parse_qs(address.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self.read_chunks()
        request = f"{self.command} {address.path}"
        headers = "".join(
            f"{name}: {value}\n" for name, value in self.headers.items() if name.lower() != "authorization"
        )
        self.hub.requests.append(request)
        self.hub.traffic.append(f"{self.command} {self.path}\n{headers}\n".encode() + self.body)
        self.fault = self.hub.next_fault(request)
        try:
            if self.fault is None or self.fault.works:
                self.dispatch(request)
            else:
                self.answer({})
        except Refused as refusal:
            headers = {"X-Error-Message": refusal.message} | ({"X-Error-Code": refusal.code} if refusal.code else {})
            self.answer({"error": refusal.message}, refusal.status, headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def dispatch(self, request: str) -> None:
        for pattern, name in ROUTES:
            if match := re.fullmatch(pattern, request):
                arguments = [unquote(group) if group is not None else None for group in match.groups()]
                with self.hub.lock:
                    getattr(self, name)(*arguments)
                return
        raise Refused(404, f"no such address: {request}", NOT_FOUND["entry"])

    def read_chunks(self) -> bytes:
        parts = []
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        return b"".join(parts)

    def answer(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        fault = self.fault.status if self.fault else None
        if isinstance(fault, int):
            after = self.fault.retry_after
            headers = {} if after is None else {"Retry-After": str(after)}
            status, content = fault, {"error": "told to fail"}
        if status == 0 or fault == "reset":
            self.hang_up(reset=fault == "reset")
            return
        if fault == "slow":
            time.sleep(self.hub.delay_s)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if fault == "short" else data)
        if fault == "short":
            self.hang_up(reset=False)

    def hang_up(self, reset: bool) -> None:
        """End the connection, with a TCP reset or in good order."""
        self.close_connection = True
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *_: object) -> None:
        """Silence the access log; `LoopbackHub.requests` keeps it."""

    @property
    def user(self) -> str | None:
        """Who asks; None: nobody knows."""
        return self.hub.users.get(self.headers.get("Authorization", ""))

    def needs_login(self) -> str:
        if self.user is None:
            raise Refused(401, "Invalid username or password.")
        return self.user

    def readable(self, name: str) -> Repo:
        """A repo; of a private one a stranger hears that it is not there, and who is not logged in that he is not."""
        repo = self.hub.repo(name)
        if repo.private and self.user is None:
            raise Refused(401, "Invalid username or password.", NOT_FOUND["repo"])
        if repo.private and self.user != name.split("/")[0]:
            raise Refused(404, "Repository not found", NOT_FOUND["repo"])
        return repo

    def writable(self, name: str) -> Repo:
        self.needs_login()
        repo = self.readable(name)
        if self.user != name.split("/")[0]:
            raise Refused(403, f"You don't have the rights to write to {name}")
        return repo

    def create(self) -> None:
        user = self.needs_login()
        asked = json.loads(self.body)
        owner = asked.get("organization") or user
        name = f"{owner}/{asked['name']}"
        if owner != user:
            raise Refused(403, f'You don\'t have the rights to create a model under the namespace "{owner}"')
        known = name in self.hub.repos
        if not known:
            repo = self.hub.repos[name] = Repo(
                private=asked.get("visibility") == "private" or bool(asked.get("private"))
            )
            repo.commit("initial commit", {".gitattributes": Blob(b"*.safetensors filter=lfs\n")})
        answer = {"url": f"{self.hub.url}/{name}", "name": name, "id": name}
        self.answer(answer | ({"error": "You already created this model repo"} if known else {}), 409 if known else 200)

    def branch(self, name: str, branch: str) -> None:
        repo = self.writable(name)
        if branch in repo.branches:
            raise Refused(409, "Reference already exists")
        repo.branches[branch] = list(repo.branches["main"])
        self.answer({})

    def tag(self, name: str, revision: str) -> None:
        repo, tag = self.writable(name), json.loads(self.body)["tag"]
        if tag in repo.tags:
            raise Refused(409, "Tag reference exists already")
        repo.tags[tag] = repo.at(revision).oid
        self.answer({})

    def untag(self, name: str, tag: str) -> None:
        repo = self.writable(name)
        if repo.tags.pop(tag, None) is None:
            raise Refused(404, f"Invalid rev id: {tag}", NOT_FOUND["revision"])
        self.answer({})

    def refs(self, name: str) -> None:
        repo = self.readable(name)
        heads = {branch: commits[-1].oid for branch, commits in repo.branches.items()}
        requests = {ref: oid for ref, oid in heads.items() if ref.startswith("refs/pr/")}
        found = {
            "branches": [reference(f"refs/heads/{ref}", oid) for ref, oid in heads.items() if ref not in requests],
            "tags": [reference(f"refs/tags/{tag}", oid) for tag, oid in repo.tags.items()],
            "converts": [],
        }
        if "include_prs" in self.query:
            found["pullRequests"] = [reference(ref, oid) for ref, oid in requests.items()]
        self.answer(found)

    def preupload(self, name: str, revision: str) -> None:
        self.needs_login()
        present = self.readable(name).at(revision).files
        files = []
        for asked in json.loads(self.body)["files"]:
            mode = "lfs" if asked["path"].endswith(LFS_MARKS) else "regular"
            blob = present.get(asked["path"])
            files.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": blob and blob.oid})
        self.answer({"files": files})

    def batch(self, name: str) -> None:
        self.needs_login()
        objects = []
        for asked in json.loads(self.body)["objects"]:
            upload = {"href": f"{self.hub.url}/lfs/{asked['oid']}"}
            verify = {"href": f"{self.hub.url}/{name}.git/info/lfs/objects/verify"}
            known = asked["oid"] in self.hub.large_files
            objects.append(asked if known else asked | {"actions": {"upload": upload, "verify": verify}})
        self.answer({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, "the content does not have this SHA-256")
        self.hub.large_files[oid] = self.body
        self.answer(b"")

    def verify(self, name: str) -> None:
        asked = json.loads(self.body)
        if len(self.hub.large_files.get(asked["oid"], b"")) != asked["size"]:
            raise Refused(404, "object not uploaded")
        self.answer({})

    def commit(self, name: str, revision: str) -> None:
        requested = "create_pr" in self.query
        self.needs_login()
        repo = self.readable(name) if requested else self.writable(name)
        if self.hub.before_commit:
            self.hub.before_commit(repo)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header, parent = lines[0]["value"], repo.at(revision)
        if requested:
            parent = repo.at(header.get("parentCommit") or revision)
            number = 1 + sum(branch.startswith("refs/pr/") for branch in repo.branches)
            revision = f"refs/pr/{number}"
        elif header.get("parentCommit") not in (None, parent.oid):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for line in lines[1:]:
            self.apply(line["key"], line["value"], files)
        if requested:
            repo.branches[revision] = [parent]
        commit = repo.commit(header["summary"], files, revision)
        address = f"{self.hub.url}/{name}/commit/{commit.oid}"
        asked = f"{self.hub.url}/{name}/discussions/{revision.rpartition('/')[2]}" if requested else None
        self.answer({"success": True, "commitOid": commit.oid, "commitUrl": address, "pullRequestUrl": asked})

    def apply(self, key: str, value: dict[str, Any], files: dict[str, Blob]) -> None:
        if key == "file":
            files[value["path"]] = Blob(base64.b64decode(value["content"]))
        elif key == "lfsFile":
            if value["oid"] not in self.hub.large_files:
                raise Refused(400, f"{value['path']}: large file not uploaded")
            files[value["path"]] = Blob(self.hub.large_files[value["oid"]], lfs=True)
        elif key == "deletedFile":
            if files.pop(value["path"], None) is None:
                raise Refused(404, "A file with this name doesn't exist", NOT_FOUND["entry"])
        else:
            raise Refused(400, f"unknown operation {key}")

    def info(self, name: str, revision: str | None = None) -> None:
        repo = self.readable(name)
        commit = repo.at(revision or "main")
        siblings = [{"rfilename": path} for path in sorted(commit.files)]
        self.answer({"id": name, "modelId": name, "sha": commit.oid, "private": repo.private, "siblings": siblings})

    def tree(self, name: str, revision: str, under: str | None = None) -> None:
        commit = self.readable(name).at(revision)
        if under and not any(path.startswith(f"{under}/") for path in commit.files):
            raise Refused(404, f"{under} does not exist", NOT_FOUND["entry"])
        rows = []
        for path, blob in sorted(commit.files.items()):
            if not under or path.startswith(f"{under}/"):
                large = {"lfs": {"oid": blob.oid, "size": len(blob.data), "pointerSize": 130}} if blob.lfs else {}
                rows.append({"type": "file", "path": path, "oid": blob.oid, "size": len(blob.data)} | large)
        self.answer(rows)

    def resolve(self, name: str, revision: str, path: str) -> None:
        commit = self.readable(name).at(revision)
        if path not in commit.files:
            raise Refused(404, "Entry not found", NOT_FOUND["entry"])
        blob = commit.files[path]
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{blob.oid}"'}
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{blob.oid}"', "X-Linked-Size": str(len(blob.data))}
        data, status = blob.data, 200
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):  # a download that goes on
            start = int(match.group(1))
            data, status = data[start:], 206
            headers["Content-Range"] = f"bytes {start}-{len(blob.data) - 1}/{len(blob.data)}"
        self.answer(data, status, headers)

    def validate(self) -> None:
        self.answer({"errors": [], "warnings": []})

    def whoami(self) -> None:
        self.answer({"type": "user", "name": self.needs_login(), "auth": {"accessToken": {"role": "write"}}})


NAME = "([^/]+/[^/]+)"
ROUTES = (
    ("POST /api/repos/create", "create"),
    ("POST /api/validate-yaml", "validate"),
    ("GET /api/whoami-v2", "whoami"),
    (f"POST /api/models/{NAME}/branch/([^/]+)", "branch"),
    (f"POST /api/models/{NAME}/tag/([^/]+)", "tag"),
    (f"DELETE /api/models/{NAME}/tag/([^/]+)", "untag"),
    (f"GET /api/models/{NAME}/refs", "refs"),
    (f"POST /api/models/{NAME}/preupload/([^/]+)", "preupload"),
    (f"POST /api/models/{NAME}/commit/([^/]+)", "commit"),
    (f"GET /api/models/{NAME}/tree/([^/]+)(?:/(.+))?", "tree"),
    (f"GET /api/models/{NAME}(?:/revision/([^/]+))?", "info"),
    (f"POST /{NAME}[.]git/info/lfs/objects/batch", "batch"),
    (f"POST /{NAME}[.]git/info/lfs/objects/verify", "verify"),
    ("PUT /lfs/([0-9a-f]{64})", "upload"),
    (f"(?:GET|HEAD) /{NAME}/resolve/([^/]+)/(.+)", "resolve"),
)
