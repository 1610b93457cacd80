"""Comparisons: fits that are kept, candidates that fail, and what is said of the others."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from data.records import RecordError, write_outcomes
from tests.comparing import Escalating, Failing, FittedEscalating, Noisy, compared, fitter, world
from tests.routing import outcomes
from training.candidates.base import Candidate, Frontier
from training.candidates.lookup import Lookup
from training.comparing.comparison import ComparisonError
from training.comparing.fits import Fits
from training.comparing.jobs import Job
from training.comparing.markdown import markdown
from training.comparing.page import html_page
from training.comparing.rows import as_json
from training.comparing.scorer import FIXED, levels_of
from training.comparing.tables import load_tables
from training.comparing.write import write_comparison
from training.evaluation.comparison import HULL


def test_a_second_run_fits_nothing_again_and_says_the_same(tmp_path: Path) -> None:
    noisy = Noisy()
    first = compared(tmp_path, noisy)
    assert noisy.fitted == [0, 1]
    second = compared(tmp_path, noisy)
    assert noisy.fitted == [0, 1]
    written, again = as_json(first), as_json(second)
    assert {**written, "provenance": None} == {**again, "provenance": None}


def test_a_run_that_was_killed_goes_on_with_the_fits_that_it_lacks(tmp_path: Path) -> None:
    noisy = Noisy()
    compared(tmp_path, noisy, seeds=3)
    files = sorted((tmp_path / "fits").iterdir())
    assert len(files) == 3
    files[1].unlink()
    files[2].write_bytes(files[2].read_bytes()[:100])  # torn, as by a disk that was full
    noisy.fitted.clear()
    compared(tmp_path, noisy, seeds=3)
    assert noisy.fitted == [1, 2]


def test_a_fit_whose_file_was_damaged_anywhere_is_made_again(tmp_path: Path) -> None:
    compared(tmp_path, Noisy(), seeds=1)
    (file,) = (tmp_path / "fits").iterdir()
    fits, whole = Fits(tmp_path / "fits"), file.read_bytes()
    expected = fits.read(file.name)
    assert expected is not None
    unread = 0
    for at in range(0, len(whole), 3):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        found = fits.read(file.name)
        unread += found is None
        assert found is None or found.about == expected.about
        assert found is None or np.array_equal(found.path.choices, expected.path.choices)
    assert unread > len(whole) / 6


def test_a_new_candidate_is_added_without_refitting_the_others(tmp_path: Path) -> None:
    noisy = Noisy()
    compared(tmp_path, noisy)
    got = compared(tmp_path, noisy, Lookup())
    assert noisy.fitted == [0, 1]
    assert {row.name for row in got.standings.rows} == {"noisy", "lookup", HULL, FIXED}


def test_other_settings_other_tables_and_changed_code_are_fitted_anew(tmp_path: Path) -> None:
    noisy = Noisy()
    compared(tmp_path, noisy, seeds=1)
    louder = dataclasses.replace(noisy, noise=2.0)
    compared(tmp_path, louder, seeds=1)
    assert noisy.fitted == [0, 0]  # the list is shared
    compared(tmp_path, noisy, seeds=1, fits=fitter(tmp_path, tolerance=0.1))
    assert noisy.fitted == [0, 0, 0]
    compared(tmp_path, noisy, seeds=1, again=("noisy",))
    assert noisy.fitted == [0] * 4
    noisy.fitted.clear()
    compared(tmp_path, noisy, seeds=1, learning=True)
    assert len(noisy.fitted) == 4  # the fractions; all labels were there
    compared(tmp_path, noisy, seeds=1, learning=True, again=("noisy",))
    assert len(noisy.fitted) == 4 + 5  # with all labels once, although it is in both
    one, two = (Job(noisy, 0).key(tables, 0.0) for tables in ("a", "b"))
    assert one != two


def test_a_candidate_that_fails_is_reported_and_does_not_stop_the_others(tmp_path: Path) -> None:
    said: list[str] = []
    got = compared(tmp_path, Noisy(), Failing(first=1), Failing(name="never"), Lookup(), told=said.append)
    assert {row.name for row in got.standings.rows} == {"noisy", "failing", "lookup", HULL, FIXED}
    assert got.standings.of("failing").seeds == (0,)
    assert not got.complete
    assert [f.label for f in got.failures] == ["failing, seed 1", "never, seed 0", "never, seed 1"]
    assert got.failures[0].error == "RuntimeError: it went wrong"
    assert "Not complete: failing, seed 1, never, seed 0 and never, seed 1" in " ".join(
        as_json(got)["headline"]
    )
    assert "RuntimeError: it went wrong" in html_page(got)
    assert "RuntimeError: it went wrong" in markdown(got)
    assert any("failing, seed 1 failed" in line for line in said)


def test_without_the_main_candidate_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(ComparisonError, match=r"failing could not be fitted .*it went wrong.*--main"):
        compared(tmp_path, Failing(), Lookup())


def test_less_noise_is_better_off_zero_and_the_main_one_is_at_zero(tmp_path: Path) -> None:
    got = compared(tmp_path, Noisy(noise=0.6), Noisy(name="loud", noise=8.0), Noisy(name="quiet", noise=0.2))
    s = got.standings
    quiet, loud = s.of("quiet"), s.of("loud")
    assert quiet.over is not None
    assert loud.over is not None
    assert loud.band is not None
    assert (quiet.over.sign, loud.over.sign, s.of("noisy").over) == (1, -1, None)
    assert s.rows[0].name == "quiet"
    assert s.levels == (9.0, 36.0, 72.0, 144.0, 300.0)
    assert s.range == (4.0, 300.0)
    assert all(e.high < 0 for e in loud.band[:3])
    assert "above" in as_json(got)["headline"][0]
    assert float(quiet.area.value) == pytest.approx(
        float(s.of("noisy").area.value) + quiet.over.value, abs=1e-12
    )
    assert float(s.of("noisy").area.spread) > 0


def test_the_fixed_scale_is_chosen_on_tune_among_those_that_are_affordable(tmp_path: Path) -> None:
    got = compared(tmp_path, Lookup())
    tune, dev = got.tables.tune, got.tables.table
    best = [int(tune.scores.mean(axis=0)[: s + 1].argmax()) for s in (1, 2, 2, 3, 3)]
    expected = dev.scores.mean(axis=0)[best]
    np.testing.assert_allclose(got.standings.of(FIXED).accuracy.value, expected)
    hull, fixed = got.standings.of(HULL), got.standings.of(FIXED)
    assert (hull.accuracy.value >= fixed.accuracy.value - 1e-12).all()


def test_a_ladder_that_ends_early_is_compared_within_its_own_range() -> None:
    levels, ends = levels_of(np.array([1.0, 9.0, 36.0]))
    assert levels.tolist() == [3.0, 9.0, 18.0]
    assert ends == (4.0, 36.0)
    assert levels_of(np.array([5.0, 20.0, 80.0]))[0].tolist() == [9.0, 36.0, 72.0]


def test_a_cascade_pays_for_all_its_passes_and_starts_at_the_smallest_scale(tmp_path: Path) -> None:
    assert isinstance(FittedEscalating(), Frontier)
    fits = fitter(tmp_path)
    job = Job(Escalating(), 0)
    (made,) = fits.run([job], lambda line: None)
    (kept,) = fits.run([job], lambda line: None)
    for fit in (made, kept):
        assert fit.path.name == "escalating"
        assert fit.path.targets == (np.inf, 0.5)
        assert not fit.path.choices[0].any()
        assert fit.path.tried is not None
        assert not fit.path.tried[0].any()
        assert fit.path.charge == {"flops": 5.0, "flops_7b": 7.0}
    np.testing.assert_array_equal(np.asarray(made.path.tried), np.asarray(kept.path.tried))
    np.testing.assert_array_equal(made.tune_path.choices, kept.tune_path.choices)
    assert made.about == kept.about
    got = compared(tmp_path, Lookup(), Escalating(), seeds=1)
    wrong = got.tables.table.scores[:, 1] == 0
    accurate = got.standings.of("escalating").settings["accurate"]
    assert accurate.cost["visual_tokens"].value == pytest.approx(9 + 576 * wrong.mean())
    assert as_json(got)["candidates"]


def test_what_was_fitted_or_calibrated_on_is_not_compared_on() -> None:
    for split in ("router-train", "tune"):
        with pytest.raises(RecordError, match="compare them on dev"):
            load_tables(world(), split)
    with pytest.raises(RecordError, match="One fold has nothing to fit on"):
        load_tables(world(), folds=1)
    with pytest.raises(RecordError, match="--final"):
        load_tables(world(), "test")


def test_a_folder_without_tune_says_what_is_missing(tmp_path: Path) -> None:
    for split in ("router-train", "dev"):
        write_outcomes(tmp_path / split, outcomes(10, split=split))
    with pytest.raises(RecordError, match=r"no table of tune .*`m3-train label`"):
        load_tables(tmp_path)


def test_a_replicate_beside_the_table_gives_headroom_up_to_the_reachable_oracle(tmp_path: Path) -> None:
    for split in ("router-train", "tune", "dev"):
        write_outcomes(tmp_path / split, outcomes(30, split=split))
    again = outcomes(30, split="dev")
    changed = dataclasses.replace(
        again, mean_logprob=again.mean_logprob * 2, scores=np.where(again.scores > 0, 1.0, 0.0)
    )
    write_outcomes(tmp_path / "dev+1", changed)
    from training.comparing.fitting import Fitter

    tables = load_tables(tmp_path)
    got = compared(tmp_path, Noisy(), fits=Fitter(tables, Fits(tmp_path / "fits")), seeds=1)
    written = as_json(got)
    assert written["oracle_kind"] == "reachable"
    assert written["reachable_oracle"] is not None
    assert "token headroom, plain" in markdown(got)


def candidates() -> tuple[Candidate, ...]:
    return Noisy(), Noisy(name="<loud>", noise=3.0), Lookup()


def test_the_three_files_are_written_and_open_offline(tmp_path: Path) -> None:
    got = compared(tmp_path, *candidates(), ablate=False, learning=True)
    written = write_comparison(got, tmp_path / "out")
    assert [path.name for path in written] == ["compare.html", "compare.md", "compare.json"]
    page = written[0].read_text()
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page)
    assert "<loud>" not in page
    assert page.count("<svg") == 3
    content = json.loads(written[2].read_text())
    assert content["complete"] is True
    assert content["main"] == "noisy"
    names = [row["name"] for row in content["candidates"]]
    assert set(names) == {"noisy", "<loud>", "lookup", HULL, FIXED}
    noisy = content["candidates"][names.index("noisy")]
    assert noisy["over_main"] is None
    assert [level["visual_tokens"] for level in noisy["accuracy"]] == [9, 36, 72, 144, 300]
    loud = content["candidates"][names.index("<loud>")]
    assert len(loud["over_main"]["simultaneous"]) == 5
    assert {"value", "ci"} <= set(loud["over_main"]["area"])
    assert loud["settings"]["accurate"]["flops_7b"] > 0
    assert content["provenance"]["candidates"]["lookup"].startswith("Lookup(")


def test_numbers_do_not_depend_on_who_else_is_compared(tmp_path: Path) -> None:
    few, many = compared(tmp_path, Noisy(), Lookup()), compared(tmp_path, *candidates())
    assert few.standings.of("lookup").over == many.standings.of("lookup").over
