"""Certificates of every candidate, on many calibration sets drawn from the compared table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.comparing import Escalating, Noisy, compared, fitter
from training.candidates.lookup import Lookup
from training.certificates.bad import BAD, EDGE
from training.comparing.jobs import Job
from training.comparing.markdown import markdown
from training.comparing.page import html_page
from training.comparing.proofs import GRID, played, reverse
from training.comparing.rows import as_json


def test_every_candidate_and_a_bad_one_is_certified_and_what_that_costs_is_told(tmp_path: Path) -> None:
    got = compared(tmp_path, Noisy(noise=0.3), Lookup(), Escalating(), seeds=1, simulate=60)
    assert [proof.name for proof in got.proofs] == ["noisy", "lookup", "escalating", BAD, EDGE]
    cells = len(GRID.losses) * len(GRID.epsilons) * len(GRID.deltas)
    for proof in got.proofs:
        assert len(proof.cells) == cells
        assert proof.holds
        assert proof.worst in proof.cells
        assert proof.worst.rate == max(cell.rate for cell in proof.cells if cell.delta == proof.worst.delta)
        told = proof.told("net")
        assert (told.loss, told.epsilon, told.delta) == ("net", 0.05, 0.05)
        assert told.known <= told.full == 576
    known = {proof.name: proof.told("regret").known for proof in got.proofs}
    assert known["noisy"] < known[BAD]
    written = as_json(got)["proofs"]
    assert [proof["holds"] for proof in written] == [True] * 5
    assert written[0]["certificates"][0]["violations"] == got.proofs[0].cells[0].violations
    for page in (html_page(got), markdown(got)):
        assert "Certified on many draws" in page
        assert "60 calibration sets of 50 images" in page
    assert compared(tmp_path, Lookup(), seeds=1).proofs == ()


def test_a_path_starts_at_the_full_scale_and_pays_for_all_passes(tmp_path: Path) -> None:
    fits = fitter(tmp_path)
    (fit,) = fits.run([Job(Escalating(), 0)], lambda line: None)
    table = fits.tables.table
    policy = played(fit, table)
    assert (policy.choices[0] == 4).all()
    assert (policy.tokens[0] == 576).all()
    wrong = table.scores[:, 1] == 0
    np.testing.assert_array_equal(policy.choices[1], np.where(wrong, 4, 1))
    np.testing.assert_array_equal(policy.tokens[1], np.where(wrong, 585, 9))
    assert (policy.choices[-1] == 0).all()  # the smallest scale for all, which every comparison starts at


def test_the_bad_one_gives_little_to_those_that_need_much(tmp_path: Path) -> None:
    fits = fitter(tmp_path)
    (fit,) = fits.run([Job(Noisy(noise=0.1), 0)], lambda line: None)
    policy = played(fit, fits.tables.table)
    bad = reverse(policy)
    assert (bad.choices[:2] == 4).all()  # all at the smallest scale becomes all at the full one
    np.testing.assert_array_equal(bad.choices[-1], 4 - policy.choices[1])
    assert bad.losses("regret")[:, -1].mean() > policy.losses("regret")[:, 1].mean()
