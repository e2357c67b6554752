from __future__ import annotations

import json

import pytest

from hf_multilabel.data.labels import LabelSpace, nearest_labels, read_label_names
from hf_multilabel.errors import InputError
from hf_multilabel.remote_code.decision_multilabel import hash_labels


def test_ids_follow_the_given_order() -> None:
    space = LabelSpace.from_names(["sport", "0010", "10"], counts=[3, 2, 1])
    assert len(space) == 3
    assert space.id_of == {"sport": 0, "0010": 1, "10": 2} == space.label2id
    assert space.id2label == {0: "sport", 1: "0010", 2: "10"}
    assert space.counts == (3, 2, 1)
    assert space.sha256 == hash_labels(["sport", "0010", "10"])


def test_counts_are_zero_where_nothing_was_counted() -> None:
    assert LabelSpace.from_names(["a", "b"]).counts == (0, 0)


def test_counts_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 numbers, one a label, found 1"):
        LabelSpace.from_names(["a", "b"], counts=[1])


def test_names_are_nfc_on_the_way_in_and_when_looked_up() -> None:
    space = LabelSpace.from_names(["cafe\u0301"])
    assert space.names == ("caf\u00e9",)
    assert space.encode(["cafe\u0301"]) == space.encode(["caf\u00e9"]) == [0]


def test_encode_sorts_and_drops_repetitions() -> None:
    space = LabelSpace.from_names(["a", "b", "c"])
    assert space.encode(["c", "a", "c"]) == [0, 2]
    assert space.decode([2, 0]) == ["c", "a"]


def test_unknown_names_are_all_reported_with_the_nearest() -> None:
    space = LabelSpace.from_names(["politics", "sport"])
    with pytest.raises(InputError, match="found 'politcs'; fix: did you mean 'politics'") as caught:
        space.encode(["politcs", "sport", "zzz"])
    assert len(caught.value.findings) == 2


@pytest.mark.parametrize("number", [-1, 2])
def test_ids_outside_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"expected 0 to 1, found {number}"):
        LabelSpace.from_names(["a", "b"]).decode([number])


@pytest.mark.parametrize("pair", [("Sport", "sport"), ("sport", " sport"), ("caf\u00e9", "cafe\u0301"), ("a", "a")])
def test_names_people_take_for_the_same_clash(pair: tuple[str, str]) -> None:
    with pytest.raises(InputError, match=r"L102.*expected different labels.*1\.\).*2\.\)"):
        LabelSpace.from_names(pair)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (False, "quote it"),
        (8, "found 8"),
        ("", "found ''"),
        ("  ", "a label name"),
        ("a\nb", "control"),
        ("\ud800", "control"),
    ],
)
def test_what_is_no_name(name: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelSpace.from_names(["fine", name])


def test_no_labels_at_all() -> None:
    with pytest.raises(InputError, match="expected at least one label, found none"):
        LabelSpace.from_names([])


def test_nearest_stays_quick_with_many_labels() -> None:
    names = [f"label number {i}" for i in range(200_000)]
    assert nearest_labels("LABEL number 77", names) == ["label number 77"]
    assert nearest_labels("lable number 77777", names) == [] or nearest_labels("label nunber 77", names)


def test_names_from_a_text_file(write) -> None:
    assert read_label_names(write("Y.txt", "\ufeffsport\r\nno\r\n\r\n0010\r\n")) == (["sport", "no", "0010"], {})


def test_names_from_json(write) -> None:
    assert read_label_names(write("names.json", '["b", "a"]')) == (["b", "a"], {})
    names, renames = read_label_names(write("map.json", json.dumps({"10": "trade", "9": "law"})))
    assert names == ["trade", "law"]
    assert renames == {"10": "trade", "9": "law"}


@pytest.mark.parametrize(("content", "message"), [("{", "expected JSON"), ("3", "a JSON list of names")])
def test_broken_name_files(write, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_label_names(write("names.json", content))


def test_missing_name_file(tmp_path) -> None:
    with pytest.raises(InputError, match="expected a file of label names, found none"):
        read_label_names(tmp_path / "nothing.txt")
