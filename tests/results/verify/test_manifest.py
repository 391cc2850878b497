"""A manifest of anything is an answer, not a crash."""

from __future__ import annotations

import pytest

from inspector.errors import OutputError
from inspector.results.verify import VerifyConfig, verify
from tests.results.verify.table import codes, edit

FIRST = "part-000000.parquet"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b"nonsense", b"\xff\xfe", b"[" * 100_000, b'{"rows": ' + b"9" * 9999,
        b'{"schema_version": 1}', b"null", b'"x"', b"1e999",
    ],
)  # fmt: skip
def test_a_manifest_of_anything(out, content):
    (out / "_inspector/manifest.json").write_bytes(content)
    assert codes(out) == {"manifest"}


@pytest.mark.parametrize(
    "change",
    [
        {"rows": "15"}, {"rows": -1}, {"rows": True}, {"rows": 15.0}, {"parts": {}}, {"parts": [1]},
        {"identity": []}, {"identity": {"a": 1}}, {"fingerprint": None}, {"fingerprint": "x" * 64},
        {"rewriting": {}}, {"rewriting": [None]}, {"rewriting": [{"file": FIRST, "rows": 1}]},
        {"rewriting": [{"file": "part-000009.parquet", "rows": 1, "sha256": "0" * 64}]},
        {"next": {}}, {"next": 1}, {"ended": "soon"}, {"journal": None}, {"more": 1},
        {"parts": [{"file": "../x", "rows": 0, "sha256": "0" * 64}]},
        {"parts": [{"file": FIRST, "rows": 0, "sha256": "0" * 64}] * 2},
        {"parts": [{"file": FIRST, "rows": None, "sha256": "0" * 64}]},
        {"parts": [{"file": FIRST, "rows": 1, "sha256": "0"}]},
        {"schema_version": "2"}, {"schema_version": None},
    ],
)  # fmt: skip
def test_a_manifest_of_wrong_types(out, change):
    edit(out, lambda values: values.update(change))
    assert "manifest" in codes(out)


def test_a_table_of_another_version_is_not_called_damaged(out):
    """It may be sound; nothing is said of its parts, which are not read."""
    edit(out, lambda values: values.update(schema_version=5, tool_version="0.0.9"))
    for part in (out / "table").iterdir():
        part.write_bytes(b"")
    with pytest.raises(OutputError, match=r"not verified: version 0\.0\.9 wrote it") as caught:
        verify(VerifyConfig(out=out))
    said = str(caught.value)
    assert said.endswith("use the version that wrote it")
    assert "\n" not in said and "damage" not in said and "--overwrite" not in said
