"""Label names as they turn up in the data, each with the place of its first row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from hf_multilabel.data.findings import Findings
from hf_multilabel.data.labels import name_problem, normalize
from hf_multilabel.data.tables import Batch

NOT_A_NAME = -1


class Vocabulary:
    """Names to numbers in order of appearance; the label space is made from it once all splits are read.

    Args:
        renames: What the data hold to the name it stands for.
    """

    def __init__(self, renames: Mapping[str, str] | None = None) -> None:
        self.renames = renames or {}
        self.names: list[str] = []
        self.places: list[str] = []
        self._numbers: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.names)

    def number(self, raw: str, where: str, findings: Findings) -> int:
        """The number of a label, a new one where it was not seen before.

        Args:
            raw: The name as the data hold it.
            where: Its place, for the findings about it.
            findings: Receives names that are none.

        Returns:
            The number, or -1 for what is no name.
        """
        if raw in self._seen:
            return self._seen[raw]
        problem = name_problem(raw)
        if problem:
            findings.add("L101", where, *problem)
            return NOT_A_NAME
        name = normalize(raw)
        name = normalize(self.renames.get(name, name))
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
            self.places.append(where)
        self._seen[raw] = number
        return number

    def encode(self, batch: Batch, column: str, flat: pa.Array, rows: np.ndarray, findings: Findings) -> np.ndarray:
        """The numbers of many labels at once.

        Args:
            batch: For the places of its rows.
            column: For the places, too.
            flat: Names, shape (V,), no nulls.
            rows: The row of each name in the batch, shape (V,).
            findings: Receives names that are none.

        Returns:
            int64, shape (V,); -1 for what is no name.

        Cost: One dictionary look-up per different name in the batch.
        """
        encoded = flat.dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        if not len(codes):
            return np.zeros(0, dtype=np.int64)
        _, first = np.unique(codes, return_index=True)
        different: Sequence[str] = encoded.dictionary.to_pylist()
        numbers = [
            self.number(raw, batch.where(rows[first[code]], column), findings) for code, raw in enumerate(different)
        ]
        return np.array(numbers, dtype=np.int64)[codes]
