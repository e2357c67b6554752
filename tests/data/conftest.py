"""Small files on disk, and where the real datasets lie."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[str, "str | bytes"], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(name, content)` makes a file in the test's folder, gzipped where its name says so."""

    def written(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode("utf-8") if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return written


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """`real_data(name)` is the folder of a real dataset, or a skip that says what is missing."""
    root = Path(os.environ.get("HF_MULTILABEL_DATA", Path(__file__).parents[2] / "../shared/data"))

    def folder(name: str) -> Path:
        if not (root / name).is_dir():
            pytest.skip(f"REAL DATA MISSING: {root / name}; set HF_MULTILABEL_DATA to the folder that holds it")
        return root / name

    return folder
