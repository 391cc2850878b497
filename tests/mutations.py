"""Would the tests notice? `python -m tests.mutations [NAME...]`, or `--quick` for a handful.

Each mutation breaks one promise in a copy of the code, and the tests that guard it must fail there.
One that survives, or whose text is no longer in the code, makes the exit code 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
_COPIED = ("inspector", "export", "bench", "samples", "tests", "pyproject.toml", "README.md")
_FAILED = 1
"""Exit code of pytest where tests ran and some failed; others mean that they did not run."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """`old`, which occurs once in `file`, becomes `new`; then one of `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str
    quick: bool = False


_JUDGE = "tests/model/test_judge.py"
_DECODER = "tests/workers/test_decoder.py"
_RESULTS = "tests/results/test_results.py"
_CHANGES = "tests/scanning/test_changes.py"
_CRASH = "tests/scanning/test_crash.py"
_JOURNAL = "tests/results/test_journal.py"
_MERGE = "tests/results/test_merge.py"
_POWER = "tests/results/test_power_failure.py"
_BUCKET = "tests/results/test_bucket.py"
_OBJECTS = "tests/photos/test_objects.py"
_BUNDLE = "tests/model/test_bundle.py"
_ORT = "tests/engines/test_ort.py"

MUTATIONS = (
    # judge: what a number means
    Mutation("crack column fixed", "inspector/engines/contract.py",
             "[:, bundle.positive_index]", "[:, 1]", f"{_ORT} -k positive_label", quick=True),
    Mutation("crack only above its threshold", "inspector/model/verdict.py",
             "p_N >= np.float32(thresholds.crack_from)", "p_N > np.float32(thresholds.crack_from)",
             _JUDGE, quick=True),
    Mutation("clear at its threshold", "inspector/model/verdict.py",
             "~(p_N < np.float32(thresholds.clear_below))",
             "p_N > np.float32(thresholds.clear_below)", _JUDGE, quick=True),
    Mutation("clear however much a photo shrank", "inspector/model/verdict.py",
             "np.asarray(shrink_N) > MAX_CLEAR_SHRINK", "np.False_", _JUDGE, quick=True),
    Mutation("clear however far out of distribution a photo is", "inspector/model/verdict.py",
             "np.False_ if limit is None else", "np.False_ if True else", _JUDGE),
    Mutation("compared in another precision", "inspector/model/verdict.py",
             "p_N = p_N.astype(np.float32)", "p_N = p_N.astype(np.float64)", _JUDGE),
    Mutation("an answer for each photo is taken for granted", "inspector/model/verdict.py",
             "!= {(len(photos),)}:", "!= {p_N.shape}:", _JUDGE),
    Mutation("no number is a number", "inspector/model/verdict.py",
             "if broken_N.any():", "if False:", _JUDGE),
    Mutation("peak turned", "inspector/model/verdict.py",
             "return (column + 0.5) / columns, (row + 0.5) / rows",
             "return (row + 0.5) / rows, (column + 0.5) / columns", _JUDGE),
    # tables in buckets: one row a photo, whoever writes
    Mutation("a part overwrites another writer's", "inspector/results/bucket.py",
             'mode="create"', 'mode="overwrite"', f"{_BUCKET} -k two_writers", quick=True),
    Mutation("rows that another part has are kept", "inspector/results/bucket_table.py",
             "            table = left\n", "", f"{_BUCKET} -k two_writers"),
    Mutation("parts of others are not remembered", "inspector/results/bucket_table.py",
             "self.ledger.add(name, rows)", "pass", f"{_BUCKET} -k two_writers"),
    Mutation("one's own part is another's where the answer got lost",
             "inspector/results/bucket_table.py",
             "if there == content:", "if there is content:", f"{_BUCKET} -k lost"),
    Mutation("a part is what lies there", "inspector/results/bucket_table.py",
             "        said = before\n", "", f"{_BUCKET} -k damage"),
    # photos in buckets
    Mutation("a photo is made of two versions", "inspector/photos/object_file.py",
             "if not _are_of_one(facts_of(self._got.meta), self._facts):", "if False:",
             f"{_OBJECTS} -k every_fault"),
    Mutation("a broken connection costs the photo", "inspector/photos/object_file.py",
             "if error.errno != errno.EIO or not left:", "if True:",
             f"{_OBJECTS} -k every_fault"),
    Mutation("published each time", "inspector/results/publish.py",
             "unchanged = last == state", "unchanged = False", "tests/results/test_publish.py"),
    # decoder: whose answer it is
    Mutation("any photo's answer will do", "inspector/workers/loader.py",
             "if item.ref.index != ref.index:", "if False:", f"{_DECODER} -k mixes", quick=True),
    Mutation("a failure takes a photo's pixels", "inspector/workers/gathering.py",
             "self.items.append(item)", "self.items.append(item); self.whole += pixels_HWC is None",
             f"{_DECODER} -k shot"),
    Mutation("memory by the size of files", "inspector/workers/gathering.py",
             "self.held += size", "self.held += 1", "tests/workers/test_native.py -k bytes"),
    Mutation("quarantined at the first death", "inspector/workers/loader.py",
             "if (place := gathering.done) == suspect:", "if True:", f"{_DECODER} -k shot"),
    Mutation("pixels of any size", "inspector/workers/loader.py",
             "if pixel_bytes != gathering.bytes_of(item):", "if False:",
             f"{_DECODER} -k another_size"),
    # scan: every photo once
    Mutation("a changed photo keeps its row", "inspector/results/ledger.py",
             "return Standing(known, current & known, failed)",
             "return Standing(known, known, failed)", _CHANGES),
    Mutation("a row is written twice", "inspector/scanning/pipeline.py",
             "rows.slice(0, count)", "rows.slice(0, count + 1)", _RESULTS, quick=True),
    Mutation("an old row stays beside the new one", "inspector/results/store.py",
             "self._rewrite(dict.fromkeys(files, partial(without, uris=uris)))",
             "0 * len(files)", _CHANGES),
    Mutation("two rows of one photo are taken in", "inspector/results/ledger.py",
             "if uri in owners:", "if False:", "tests/results/test_ledger.py"),
    Mutation("accounts that differ pass", "inspector/scanning/summary.py",
             "    if not right:\n", "    if False:\n", "tests/scanning/test_scan.py -k silence"),
    # commit protocol
    Mutation("a rewriting is not announced", "inspector/results/store.py",
             "self._write_manifest(states)", "pass", _CRASH),
    Mutation("any file is the one committed", "inspector/results/parts.py",
             "if (listed or announced) and part not in (listed, announced):", "if False:",
             _RESULTS),
    Mutation("a journal of another manifest counts", "inspector/results/manifest.py",
             'or first != {"follows": self.journal}', "", _JOURNAL),
    Mutation("a step is not written down", "inspector/results/journal.py",
             "        append_synced(content.encode(), self._file)\n", "", _JOURNAL),
    Mutation("a merge takes any bytes", "inspector/results/merge.py",
             "if sha256_of(file) != part.sha256:", "if False:", _MERGE),
    Mutation("a merge takes shards as they come", "inspector/results/merge.py",
             "if missing := [", "if missing := [] and [", _MERGE),
    Mutation("a scan that was stopped counts as whole", "inspector/results/store.py",
             '            self.ended = ""  # before any old row goes\n', "", _MERGE),
    Mutation("shards share photos", "inspector/photos/selection.py",
             "% self.count == self.number", "% self.count >= self.number",
             "tests/scanning/test_shards.py -k disjoint"),
    Mutation("two scans write at once", "inspector/results/store.py",
             "if not stack.enter_context(locked(at.lock)):", "if False:", _RESULTS),
    Mutation("another model continues a table", "inspector/results/manifest.py",
             "if manifest is None or manifest.identity == identity:", "if True:", _RESULTS),
    Mutation("labels are removed with the results", "inspector/core/layout.py",
             "        patiently(self.manifest.unlink, True)\n",
             "        patiently(self.manifest.unlink, True)\n"
             "        self.labels.unlink(missing_ok=True)\n",
             f"{_RESULTS} tests/results/test_labels.py"),
    Mutation("a draft is not synced", "inspector/core/durable.py",
             "        _sync_file(draft)\n", "", _POWER),
    Mutation("a rename is not synced", "inspector/core/durable.py",
             "    sync_directory(target.parent)\n", "", _POWER),
    Mutation("a rewritten part is not synced", "inspector/core/durable.py",
             "    write_new(content, file)\n    _sync_file(file)\n",
             "    write_new(content, file)\n", _POWER),
    Mutation("old rows may come back beside the new", "inspector/results/store.py",
             "        # The old rows are gone for good before the new ones appear.\n"
             "        sync_directory(self._at.table)\n", "", _POWER),
    Mutation("pages without checksums", "inspector/results/parts.py",
             '"write_page_checksum": True', '"write_page_checksum": False',
             "tests/results/test_layout.py"),
    # bundle
    Mutation("files that were changed are loaded", "inspector/model/bundle.py",
             "elif sha256_of(file) != expected:", "elif False:", _BUNDLE, quick=True),
    Mutation("files outside the bundle are loaded", "inspector/model/bundle.py",
             "if not is_plain_name(name):", "if False:", _BUNDLE),
    Mutation("another format is read", "inspector/model/bundle.py",
             'if values.get("format") != FORMAT:', "if False:", _BUNDLE),
    Mutation("the digest forgets a threshold", "inspector/model/bundle.py",
             "                self.thresholds.crack_from,\n", "", _BUNDLE),
)  # fmt: skip


def misplaced(mutation: Mutation, root: Path = REPOSITORY) -> str:
    """Why it cannot be made; empty if it can."""
    file = root / mutation.file
    count = file.read_text(encoding="utf-8").count(mutation.old) if file.is_file() else 0
    return "" if count == 1 else f"its text is {count} times in {mutation.file}"


def survives(mutation: Mutation, root: Path) -> str:
    """Why the mutation counts as not noticed; empty if its tests failed as they must."""
    if why := misplaced(mutation, root):
        return why
    file = root / mutation.file
    right = file.read_text(encoding="utf-8")
    file.write_text(right.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        code = _test([mutation], root)
    finally:
        file.write_text(right, encoding="utf-8")
    if code == _FAILED:
        return ""
    return "no test failed" if code == 0 else f"its tests did not run (pytest ended with {code})"


def _test(mutations: Sequence[Mutation], root: Path) -> int:
    """Run the tests of all; pytest's exit code."""
    words = mutations[0].tests.split() if len(mutations) == 1 else _union(mutations)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["--timeout", "60", *words]  # a mutation may make it go on for ever
    paths = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=root, env=paths, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).returncode


def _union(mutations: Sequence[Mutation]) -> list[str]:
    """The files in which their tests are."""
    return list(dict.fromkeys(w for m in mutations for w in m.tests.split() if w.endswith(".py")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="words of the names; all if none")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a handful, within a minute, after the tests have passed",
    )
    options = parser.parse_args(arguments)
    chosen = [
        mutation
        for mutation in MUTATIONS
        if (mutation.quick or not options.quick)
        and (not options.names or any(name in mutation.name for name in options.names))
    ]
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        root = Path(folder)
        for name in _COPIED:
            source, target = REPOSITORY / name, root / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        failed = 0
        for mutation in chosen:
            started = time.monotonic()
            why = survives(mutation, root)
            failed += bool(why)
            seconds = time.monotonic() - started
            print(f"{'SURVIVES' if why else 'noticed':<9} {mutation.name} ({seconds:.0f} s) {why}",
                  flush=True)  # fmt: skip
        if not options.quick and not failed and chosen and _test(chosen, root):
            print("SURVIVES  nothing: the tests fail without any mutation")
            failed += 1
    print(f"{len(chosen)} mutations, {failed} not noticed")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
