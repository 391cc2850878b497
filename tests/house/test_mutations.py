"""The mutations that `python -m tests.mutations` makes can still be made."""

from __future__ import annotations

import pytest

from tests.mutations import MUTATIONS, REPOSITORY, misplaced


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_a_mutation_changes_is_in_the_code_once(mutation):
    assert misplaced(mutation) == ""
    assert mutation.old != mutation.new
    files = [word for word in mutation.tests.split() if word.endswith(".py")]
    assert files and all((REPOSITORY / file).is_file() for file in files)


def test_names_are_unique():
    names = [mutation.name for mutation in MUTATIONS]
    assert len(names) == len(set(names))
