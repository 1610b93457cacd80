"""Parts of ONNX graphs: a fitted candidate gives one, `training.export` makes the whole of a bundle of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from router.errors import M3Error
from router.predictor import INPUT

OPSET = 17
OPSET_ML = 3
IR_VERSION = 8


class ExportError(M3Error):
    """The graph is not what was fitted, or too large to ship."""

    code = "export_error"


@dataclass(frozen=True)
class GraphPart:
    """Nodes that lead from the features, float32 [n, F], to logits, float32 [n, C].

    nodes: in an order in which they can run; they read `router.predictor.INPUT`, each other, and
    ``constants`` by name. output: the name of the logits. remedy: what to do when the graph is too large.
    """

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, NDArray[Any]]
    output: str
    remedy: str


class GraphBuilder:
    """Collects nodes and constants of a `GraphPart` under names that no other part uses.

    name: of the part; all that it makes is called ``name/...``.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def constant(self, value: NDArray[Any]) -> str:
        """Its name. Arrays are written as they are: float32 for numbers, int64 for indices and shapes."""
        name = f"{self._name}/constant_{len(self._constants)}"
        self._constants[name] = value
        return name

    def add(self, op: str, *inputs: str | NDArray[Any], domain: str = "", **attributes: Any) -> str:
        """A node with one output, whose name is returned. inputs: names, or arrays that become constants."""
        name = f"{self._name}/{op}_{len(self._nodes)}"
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        self._nodes.append(helper.make_node(op, names, [name], domain=domain, **attributes))
        return name

    def take(self, node: onnx.NodeProto) -> str:
        """A node made elsewhere, with one output; it is renamed, and the new name returned."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        name = f"{self._name}/{node.op_type}_{len(self._nodes)}"
        copy.output[:] = [name]
        self._nodes.append(copy)
        return name

    def include(self, part: GraphPart, name: str) -> str:
        """Take over all of another part, renamed to ``name/...``; returns the name of its logits here."""

        def inner(old: str) -> str:
            return old if old == INPUT else f"{self._name}/{name}/{old}"

        for node in part.nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [inner(old) for old in node.input]
            copy.output[:] = [inner(old) for old in node.output]
            self._nodes.append(copy)
        self._constants |= {inner(old): value for old, value in part.constants.items()}
        return inner(part.output)

    def part(self, output: str, remedy: str) -> GraphPart:
        """What was collected."""
        return GraphPart(tuple(self._nodes), dict(self._constants), output, remedy)
