"""The loopback Hub with Spaces: a Space OWNER/NAME is kept as if it were a model OWNER/space:NAME."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.loopback_hub import LFS_MARKS, Blob, Handler, LoopbackHub, Refused, Repo

ADDRESS = re.compile(r"^(/api)?/spaces/([^/]+)/")


class SpaceHandler(Handler):
    """Answers for models, and for Spaces by another name."""

    def serve(self) -> None:
        api = "/api/models" if self.path.startswith("/api") else ""
        self.path = ADDRESS.sub(lambda found: f"{api}/{found.group(2)}/space:", self.path)
        super().serve()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = serve

    def create(self) -> None:
        asked = json.loads(self.body)
        if asked.get("type") == "space":
            if asked.get("sdk") not in ("gradio", "docker", "static"):
                raise Refused(400, f"sdk: expected a known one, found {asked.get('sdk')!r}")
            self.body = json.dumps(asked | {"name": f"space:{asked['name']}"}).encode()
        super().create()

    def answer(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        if isinstance(content, dict):
            address = re.escape(self.hub.url)
            told = re.sub(f"{address}/([^/]+)/space:", rf"{self.hub.url}/spaces/\1/", json.dumps(content))
            content = json.loads(told.replace("/space:", "/"))
        super().answer(content, status, headers)


class SpacesHub(LoopbackHub):
    """`LoopbackHub` that has Spaces too."""

    def __init__(self) -> None:
        super().__init__()
        self.server.RequestHandlerClass = type("BoundHandler", (SpaceHandler,), {"hub": self})

    def space(self, name: str) -> Repo:
        """The Space OWNER/NAME."""
        return self.repos[name.replace("/", "/space:")]

    def add_model(self, name: str, files: dict[str, bytes]) -> str:
        """A model as if somebody had pushed it; its commit."""
        blobs = {path: Blob(data, lfs=path.endswith(LFS_MARKS)) for path, data in files.items()}
        with self.lock:
            return self.repos.setdefault(name, Repo()).commit("a model", blobs).oid
