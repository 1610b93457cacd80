from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import router
from data.records import OutcomeTable
from m3_backbone.scales import Ladder
from router import Constraints, Router
from router.errors import BundleCorrupt, BundleMismatch, ConstraintError, PredictorError
from router.features import Float32
from router.predictor import Predictions
from tests.routing import SCALES, outcomes, small_fit


@dataclass(frozen=True)
class Broken:
    """A predictor that fails on everything."""

    def predict(self, features: Float32) -> Predictions:
        raise PredictorError("The predictor gave NaN or infinity.")


@pytest.fixture(scope="module")
def fitted() -> Router:
    return Router.of(small_fit().bundle)


@pytest.fixture(scope="module")
def dev() -> OutcomeTable:
    return outcomes(60, split="dev")


def test_a_router_loads_from_its_folder_for_its_backbone(tmp_path: Path) -> None:
    bundle = small_fit().bundle
    bundle.write(tmp_path / "b")
    for path in (tmp_path / "b", str(tmp_path / "b")):
        loaded = Router.load(path, "synthetic")
        assert loaded.version == bundle.version
        assert loaded.ladder.scales == SCALES
    with pytest.raises(BundleMismatch, match="'other'"):
        Router.load(tmp_path / "b", "other")


def test_a_graph_that_is_none_is_refused_even_when_its_hash_is_right(tmp_path: Path) -> None:
    replace(small_fit().bundle, onnx=b"no graph").write(tmp_path / "b")
    with pytest.raises(BundleCorrupt, match="onnxruntime can load"):
        Router.load(tmp_path / "b")


def test_a_graph_of_another_width_is_refused(tmp_path: Path) -> None:
    bundle = small_fit().bundle
    narrow = replace(bundle.features, words=(), bigrams=())
    with pytest.raises(BundleCorrupt, match="width"):
        Router.of(replace(bundle, features=narrow))


def test_a_route_equals_the_replay_of_its_row_under_every_kind_of_constraint(
    fitted: Router, dev: OutcomeTable
) -> None:
    predictions = fitted.predict(fitted.bundle.features.matrix(dev))
    for constraints in (
        Constraints(),
        Constraints(price=0.0),
        Constraints(token_budget=30),
        Constraints(min_scale=9, max_visual_tokens=144),
        Constraints(scale=36),
    ):
        index = fitted.replay(predictions, dev.visual_tokens, constraints)
        for i in range(0, len(dev), 7):
            decision = fitted.route(dev.route_inputs(i), constraints)
            assert decision.scale == SCALES[index[i]]
            assert decision.expected_scores[36] == pytest.approx(float(predictions.score[i, 2]), abs=1e-5)


def test_a_learnable_rule_is_learned_better_than_any_fixed_scale_at_its_cost(
    fitted: Router, dev: OutcomeTable
) -> None:
    predictions = fitted.predict(fitted.bundle.features.matrix(dev))
    index = fitted.replay(predictions, dev.visual_tokens, Constraints(token_budget=36))[:, None]
    score = float(np.take_along_axis(dev.scores, index, axis=1).mean())
    assert score > float(dev.scores[:, SCALES.index(36)].mean()) + 0.05
    assert float(np.take_along_axis(dev.visual_tokens, index, axis=1).mean()) < 1.3 * 36


def test_an_image_unlike_all_others_takes_the_full_scale(fitted: Router, dev: OutcomeTable) -> None:
    inputs = dev.route_inputs(0)
    strange = replace(inputs, pooled=np.full_like(inputs.pooled, 50.0))
    decision = fitted.route(strange, Constraints(price=1.0))
    assert decision.scale == 576
    assert decision.fallback is not None
    assert "novelty" in decision.fallback
    assert decision.probabilities
    assert fitted.route(strange, Constraints(max_visual_tokens=40)).scale == 36
    blind = Router.of(replace(fitted.bundle, novelty_threshold=None))
    assert blind.route(strange, Constraints(price=1.0)).fallback is None


def test_few_images_like_those_of_training_are_called_novel(fitted: Router, dev: OutcomeTable) -> None:
    assert fitted.is_novel(fitted.predict(fitted.bundle.features.matrix(dev))).mean() < 0.1


def test_not_a_number_in_the_inputs_takes_the_full_scale(fitted: Router, dev: OutcomeTable) -> None:
    inputs = dev.route_inputs(0)
    decision = fitted.route(replace(inputs, interaction=np.full_like(inputs.interaction, np.nan)))
    assert decision.scale == 576
    assert decision.fallback == "the predictor failed (The features hold NaN or infinity.)"
    assert decision.probabilities == decision.expected_scores == {}


def test_a_broken_predictor_answers_with_the_full_scale_and_obeys_the_rest(
    fitted: Router, dev: OutcomeTable
) -> None:
    broken = Router(fitted.bundle, Broken())
    assert broken.route(dev.route_inputs(0)).scale == 576
    assert broken.route(dev.route_inputs(0), Constraints(scale=9)).scale == 9
    assert broken.route(dev.route_inputs(0), Constraints(max_visual_tokens=150)).scale == 144


def test_constraints_that_cannot_be_met_reach_the_caller(fitted: Router, dev: OutcomeTable) -> None:
    with pytest.raises(ConstraintError, match="Valid scales"):
        fitted.route(dev.route_inputs(0), Constraints(scale=37))
    with pytest.raises(ConstraintError, match="cannot be met"):
        fitted.route(dev.route_inputs(0), Constraints(token_budget=0.1))


def test_inputs_of_another_ladder_are_refused(fitted: Router, dev: OutcomeTable) -> None:
    inputs = replace(dev.route_inputs(0), ladder=Ladder((1, 4, 16)), visual_tokens=(1, 4, 16))
    with pytest.raises(BundleMismatch, match=r"ladder \[1, 4, 16\]"):
        fitted.route(inputs)


def test_importing_and_routing_needs_neither_torch_nor_lightgbm(tmp_path: Path) -> None:
    small_fit().bundle.write(tmp_path / "b")
    code = (
        "import sys, router\n"
        "assert 'onnxruntime' not in sys.modules\n"
        f"r = router.Router.load({str(tmp_path / 'b')!r})\n"
        "assert r.ladder.full == 576\n"
        "bad = {'torch', 'lightgbm', 'sklearn', 'onnx', 'training', 'data'} & set(sys.modules)\n"
        "assert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(router.__file__).parents[1])


def test_the_names_of_the_package_are_all_there() -> None:
    for name in router.__all__:
        assert getattr(router, name) is not None
    assert router.embedded_bundle().parts[-3:] == ("router", "bundles", "tiny")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = router.nothing
