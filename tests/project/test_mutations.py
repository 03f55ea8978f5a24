"""The faults that `make mutations` restores."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from scripts.mutations import MUTATIONS, Mutation
from tests.support.source import PACKAGE, ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.fault)
def test_each_mutation_still_applies(mutation: Mutation, tmp_path: Path) -> None:
    for edit in mutation.edits:
        (tmp_path / edit.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / edit.path, tmp_path / edit.path)
        edit.apply(tmp_path)
        compile((tmp_path / edit.path).read_text("utf-8"), edit.path, "exec")


def test_a_text_that_is_gone_is_an_error(tmp_path: Path) -> None:
    edit = MUTATIONS[0].edits[0]
    (tmp_path / edit.path).parent.mkdir(parents=True)
    (tmp_path / edit.path).write_text("moved", "utf-8")
    with pytest.raises(LookupError, match="contains this text 0 times, not once"):
        edit.apply(tmp_path)


def test_the_documentation_lists_the_faults_of_the_property_test() -> None:
    page = (ROOT / "docs" / "testing.md").read_text("utf-8")
    assert [mutation.fault for mutation in MUTATIONS if f"| {mutation.fault} |" not in page] == []
