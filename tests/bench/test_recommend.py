"""What is recommended, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from bench.ceilings import percent_of
from bench.recommend import pick, recommend, tuned_by, unproven
from bench.results import Case
from bench.run import finish

SPREAD = (0.99, 1.0, 1.01)


def case(name, rate, *, level="scan", images="tiles", spread=SPREAD, setting="", **changes):
    engine, precision = name.split()
    facts: dict[str, Any] = {"device": "cpu", "batch_size": 32, "workers": 1} | changes
    return Case(
        id="/".join(filter(None, (level, name, images, setting))), level=level, name=name,
        input=images, engine=engine, precision=precision,
        rates=[rate * factor for factor in spread], **facts,
    )  # fmt: skip


def picked(cases):
    found = pick(cases, "tiles")
    assert found is not None
    return found


def marked(*cases):
    finish(cases, [])
    return list(cases)


def test_the_fastest_right_scan_is_taken():
    cases = marked(
        case("onnxruntime fp32", 40), case("onnxruntime int8", 70),
        case("openvino int8", 90, status="failed"), case("plain fp32", 99, level="peer"),
    )  # fmt: skip
    assert [c.best for c in cases] == [False, True, False, True]
    assert picked(cases).name == "onnxruntime int8"
    assert pick(cases, "photos") is None


def test_what_is_not_told_apart_is_taken_if_it_is_more_exact():
    wide = (0.8, 1.0, 1.2)
    cases = marked(case("onnxruntime fp32", 66), case("onnxruntime int8", 70, spread=wide))
    assert [c.tied for c in cases] == [True, False]
    assert picked(cases).precision == "fp32"
    cases = marked(case("onnxruntime fp32", 60), case("onnxruntime int8", 70, spread=wide))
    assert cases[0].tied, "and yet the guess would cost too much"
    assert picked(cases).precision == "int8"


def test_what_is_alike_is_taken_in_the_usual_way():
    """Two runs agree, whichever of equals happened to be the fastest."""
    for by in (0.96, 1.04):
        usual = case("onnxruntime int8", 70, spread=(0.9, 1.0, 1.1))
        other = case("openvino int8", 70 * by)
        varied = case("onnxruntime int8", 70 * by, batch_size=8, setting="batch 8")
        found = picked(marked(other, varied, usual))
        assert (found.engine, found.batch_size) == ("onnxruntime", 32)


def test_with_one_round_the_faster_is_taken_though_nothing_is_certain():
    cases = marked(case("onnxruntime fp32", 40, spread=(1,)),
                   case("onnxruntime int8", 70, spread=(1,)))  # fmt: skip
    assert not any(c.tied for c in cases)
    assert picked(cases).precision == "int8"


def test_the_sentence_says_what_limits_it():
    limited = {"shares": {"int8 arithmetic": 0.76}}
    whole = {"shares": {"engine alone": 0.95}}
    cases = marked(
        case("onnxruntime int8", 74, level="engine", images="pixels", **limited),
        case("onnxruntime int8", 70, **whole),
    )
    found = recommend(cases, "A Processor")
    assert found.sentence == (
        "On this machine (A Processor) use onnxruntime int8 for tiles, 70 images/s."
    )
    assert found.limits == (
        "Tiles: limited by the engine at 95 % of what it does alone, and that by int8 arithmetic "
        "at 76 % of its peak."
    )
    advice = tuned_by(found)
    assert (advice.tiles.backend, advice.precision, advice.device) == ("onnxruntime", "int8", "cpu")
    assert advice.photos == advice.tiles, "nothing was measured on photos"


def test_decoding_and_the_engine_share_the_cores_of_a_cpu():
    shared = {"shares": {"JPEG decoding": 0.46, "engine alone": 0.37}}
    for device, words in (
        ("cpu", "decoding at 46 % of its peak and the engine at 37 % share"),
        ("cuda:0", "no single limit"),
    ):
        cases = marked(case("onnxruntime int8", 70, device=device, **shared))
        assert words in recommend(cases, None).limits


def test_only_what_was_shown_to_be_faster_is_recommended_and_remembered():
    """A middle that chance may explain is none: then a scan does as without a benchmark."""
    usual = case("onnxruntime int8", 70, spread=(0.7, 1.0, 1.3))
    slow = case("onnxruntime fp32", 30)
    lucky = case("openvino int8", 85, spread=(0.7, 1.0, 1.3))
    assert picked(marked(usual, slow, lucky)).name == "onnxruntime int8"
    cases = marked(case("onnxruntime int8", 70), slow, case("openvino int8", 85))
    found = recommend(cases, None)
    assert found.tiles.name == "openvino int8" and unproven(cases, found) == ""
    cases = marked(case("onnxruntime int8", 70), case("onnxruntime fp32", 69))
    found = recommend(cases, None)
    assert found.tiles.name == "onnxruntime fp32", "more exact, and as fast"
    assert "fp32 was not shown to be faster than onnxruntime int8" in unproven(cases, found)
    single = marked(case("onnxruntime int8", 70, spread=(1,)), case("openvino int8", 90,
                                                                      spread=(1,)))  # fmt: skip
    assert picked(single).name == "onnxruntime int8", "one round shows nothing"


def test_busy_machine_is_said_and_told_from_a_quiet_one():
    quiet = [case("onnxruntime int8", 70)]
    wild = [case("onnxruntime int8", 70, spread=(0.5, 1, 1.5))]
    assert finish(quiet, [0.0, 0.02, 0.9]) == ""
    assert "took 40 % of the processor" in finish(quiet, [0.4, 0.5, 0.1])
    assert "from round to round" in finish(wild, [0.0])
    found = recommend(quiet, None, busy="others took it")
    assert "Do not rely on it: others took it meanwhile." in found.sentence


def test_more_than_all_of_a_ceiling_means_that_it_is_none():
    over = {"shares": {"engine alone": 1.08}}
    cases = marked(case("onnxruntime int8", 70, **over))
    assert "at 108 % (measured too low)" in recommend(cases, None).limits
    assert percent_of(1.004) == "100 %"


def test_nothing_right_is_nothing_recommended():
    cases = marked(case("onnxruntime int8", 70, status="failed"))
    found = recommend(cases, None)
    assert found.sentence == "No scan ran and was right."
    assert tuned_by(found) is None


def test_large_photos_may_have_another_engine_but_not_another_precision():
    def both(photos):
        return tuned_by(recommend(marked(case("onnxruntime int8", 70), *photos), None))

    slower = case("onnxruntime int8", 18, images="photos")
    faster = case("openvino int8", 24, images="photos", batch_size=8)
    found = both([slower, faster])
    assert (found.tiles.backend, found.photos.backend) == ("onnxruntime", "openvino")
    assert found.photos.batch_size == 8
    found = both([slower, case("openvino fp32", 24, images="photos")])
    assert (found.photos.backend, found.precision) == ("onnxruntime", "int8")


@pytest.mark.parametrize("images", ["tiles", "photos"])
def test_each_input_has_its_own_pace(images):
    cases = marked(
        case("onnxruntime int8", 70, batch_size=64, workers=2),
        case("onnxruntime int8", 30, images="photos", batch_size=8, workers=0),
    )
    advice = tuned_by(recommend(cases, None))
    pace = getattr(advice, images)
    assert (pace.batch_size, pace.workers) == {"tiles": (64, 2), "photos": (8, 0)}[images]
    assert advice.precision == "int8"
