from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from data.records import OutcomeTable
from m3_backbone.types import RouteInputs
from router.errors import BundleCorrupt, BundleMismatch
from router.features import FEATURES_VERSION, FROM_TEXT, NEEDS, FeatureSpec
from tests.routing import INTERACTIONS, QUESTION, ROWS, STATS, WIDTH, outcomes, with_finer
from training.vocabulary import principal_directions


@pytest.fixture(scope="module")
def table() -> OutcomeTable:
    return outcomes(40, 3)


@pytest.fixture(scope="module")
def spec(table: OutcomeTable) -> FeatureSpec:
    return FeatureSpec(
        grid_stat_names=STATS,
        pooled_shape=(ROWS, WIDTH),
        question_size=QUESTION,
        interaction_names=INTERACTIONS,
        words=(100, 101, 102),
        bigrams=((103, 2),),
        basis=principal_directions(table.question, 2),
    )


def test_one_vector_equals_its_row_of_the_matrix_bit_for_bit(table: OutcomeTable, spec: FeatureSpec) -> None:
    matrix = spec.matrix(table)
    assert matrix.dtype == np.float32
    assert matrix.shape == (len(table), spec.width)
    for i in range(len(table)):
        vector = spec.vector(table.route_inputs(i))
        assert vector.dtype == np.float32
        np.testing.assert_array_equal(vector, matrix[i])


def test_every_column_has_a_name_of_its_own_in_the_order_of_the_groups(spec: FeatureSpec) -> None:
    assert len(set(spec.names)) == spec.width
    groups = list(dict.fromkeys(name.partition(":")[0] for name in spec.names))
    assert groups == list(NEEDS)
    width = len(STATS) + ROWS * WIDTH + 3 + QUESTION + len(INTERACTIONS) + 4 + 1 + 2 * len(STATS)
    assert spec.width == width


def test_columns_hold_what_their_names_say(table: OutcomeTable, spec: FeatureSpec) -> None:
    inputs = replace(
        table.route_inputs(0),
        image_size=(200, 100),
        question_tokens=np.array([1, 100, 103, 2, 100], dtype=np.int32),
    )
    value = dict(zip(spec.names, spec.vector(inputs).tolist(), strict=True))
    assert value["grid_stats:detail"] == float(inputs.grid_stats[0])
    assert value["pooled:3.2"] == float(inputs.pooled[3, 2])
    assert value["question:5"] == float(inputs.question[5])
    assert value["interaction:sim_36"] == float(inputs.interaction[2])
    assert (value["words:100"], value["words:101"], value["words:103_2"]) == (1.0, 0.0, 1.0)
    assert value["length:question_tokens"] == 5.0
    assert value["image:log_aspect"] == pytest.approx(np.log(2))
    assert value["image:log_area"] == pytest.approx(np.log(20_000))
    direction = float(np.array(spec.basis[1], np.float32) @ inputs.question)
    assert value["products:1xnorm"] == pytest.approx(direction * float(inputs.grid_stats[5]), rel=1e-5)


def test_a_bigram_is_not_found_across_two_questions(table: OutcomeTable, spec: FeatureSpec) -> None:
    first, second = np.array([103], np.int32), np.array([2], np.int32)
    two = replace(table.take([0, 1]), question_tokens=(first, second))
    column = spec.names.index("words:103_2")
    assert spec.matrix(two)[:, column].tolist() == [0.0, 0.0]


def test_an_empty_question_and_unknown_tokens_are_vectors_too(table: OutcomeTable, spec: FeatureSpec) -> None:
    for tokens in ([], [9999, -1, 9999]):
        inputs = replace(table.route_inputs(0), question_tokens=np.array(tokens, dtype=np.int32))
        assert not spec.vector(inputs)[spec.columns(("words",))].any()


def of_text(*phrases: str) -> FeatureSpec:
    """A spec of tables that have no route inputs."""
    return FeatureSpec(("absent",), (1, 1), 1, ("absent",), groups=tuple(FROM_TEXT), phrases=phrases)


def test_phrases_of_the_text_need_no_route_inputs(table: OutcomeTable) -> None:
    spec = of_text("dog's", "how many", "many", "question 1")
    assert spec.needs == ("question_text",)
    assert spec.names == (*(f"phrases:{phrase}" for phrase in spec.phrases), "text_length:words")
    two = replace(
        table.take([0, 1]), questions=("How MANY of the dog's\nparts?", "Many question; 1: (is it?) many")
    )
    assert spec.matrix(two).tolist() == [[1, 1, 1, 0, 6], [0, 0, 1, 1, 6]]
    for i in range(len(table)):
        np.testing.assert_array_equal(spec.vector(table.route_inputs(i)), spec.matrix(table)[i])
    assert not of_text().vector(replace(table.route_inputs(0), question_text="")).any()


def test_phrases_survive_json_and_what_has_none_is_written_as_before(spec: FeatureSpec) -> None:
    text = of_text("a", "a b")
    assert FeatureSpec.from_json(json.loads(json.dumps(text.to_json()))) == text
    assert "phrases" not in spec.to_json()


def test_the_finer_tokens_are_columns_of_their_own_behind_all_others(
    table: OutcomeTable, spec: FeatureSpec
) -> None:
    both = replace(spec, groups=(*spec.groups, "fine"), fine_rows=36)
    finer = with_finer(table)
    assert both.names[: spec.width] == spec.names
    assert both.names[-1] == f"fine:35.{WIDTH - 1}"
    matrix = both.matrix(finer)
    np.testing.assert_array_equal(matrix[:, : spec.width], spec.matrix(table))
    np.testing.assert_array_equal(matrix[5, spec.width :], finer.fine[finer.image_index[5]].reshape(-1))
    np.testing.assert_array_equal(both.vector(finer.route_inputs(5)), matrix[5])
    assert FeatureSpec.from_json(json.loads(json.dumps(both.to_json()))) == both
    assert "fine_rows" not in spec.to_json()
    with pytest.raises(BundleMismatch, match="finer pooled tokens"):
        both.matrix(table)
    with pytest.raises(ValueError, match="columns"):
        replace(both, fine_rows=-1)


def test_a_spec_survives_json(spec: FeatureSpec) -> None:
    again = FeatureSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.names == spec.names


def test_groups_are_kept_in_one_order_and_say_what_they_need(spec: FeatureSpec) -> None:
    some = replace(spec, groups=("length", "question", "image"))
    assert some.groups == ("image", "question", "length")
    assert some.needs == ("image_size", "views", "question", "question_tokens")
    assert some.width == 3 + QUESTION + 1
    assert some.columns(("question",)).tolist() == list(range(3, 3 + QUESTION))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": ("colour",)}, "take some of grid_stats"),
        ({"groups": ()}, "take some of grid_stats"),
        ({"words": (3, 2)}, "sorted"),
        ({"bigrams": ((1, 2), (1, 2))}, "without duplicates"),
        ({"phrases": ("b", "a")}, "sorted"),
        ({"basis": ((1.0, 2.0),)}, "needs 8 numbers"),
    ],
)
def test_a_spec_that_cannot_be_is_refused(spec: FeatureSpec, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(spec, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"grid_stat_names": ("detail", "x", "loss_9", "loss_36", "loss_144", "norm")}, "grid statistics"),
        ({"interaction_names": ("a", "b", "c", "d", "e")}, "interactions"),
        ({"pooled": np.zeros((ROWS, WIDTH + 1), np.float32)}, r"pooled tokens are \(10, 5\)"),
        ({"question": np.zeros(QUESTION - 1, np.float32)}, "question vector"),
        ({"grid_stats": np.zeros(3, np.float32)}, "width of the grid statistics"),
        ({"interaction": np.zeros(3, np.float32)}, "width of the interactions"),
        ({"version": 99}, "version 99"),
    ],
)
def test_route_inputs_of_another_backbone_are_refused_by_name(
    table: OutcomeTable, spec: FeatureSpec, change: dict[str, object], named: str
) -> None:
    inputs: RouteInputs = replace(table.route_inputs(0), **change)  # type: ignore[arg-type]
    with pytest.raises(BundleMismatch, match=named):
        spec.vector(inputs)


def test_a_damaged_spec_is_refused_and_one_of_another_version_is_named(spec: FeatureSpec) -> None:
    value = spec.to_json()
    with pytest.raises(BundleCorrupt, match="words"):
        FeatureSpec.from_json({k: v for k, v in value.items() if k != "words"})
    with pytest.raises(BundleCorrupt, match="cannot be read"):
        FeatureSpec.from_json({**value, "bigrams": [[1, 2, 3]]})
    with pytest.raises(BundleMismatch, match=f"reads version {FEATURES_VERSION}"):
        FeatureSpec.from_json({**value, "version": FEATURES_VERSION + 1})
