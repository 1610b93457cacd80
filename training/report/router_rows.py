"""The part of report.json that is about the router itself and about other candidates."""

from __future__ import annotations

from typing import Any

from training.report.analysis import Report
from training.report.values import estimate_json


def router_json(report: Report) -> dict[str, Any]:
    """Keys of `training.report.rows.as_json`; lists are empty and values null where there is nothing."""
    own, times, peers = report.own_cost, report.times, report.peers
    return {
        "field_measures": [
            {
                "name": m.name,
                "apgr": estimate_json(m.apgr),
                "cpt": {f"{100 * x:g}": estimate_json(cpt) for x, cpt in m.cpt.items()},
                "aiq": estimate_json(m.aiq),
            }
            for m in report.field
        ],
        "certified": [
            {
                **{
                    key: getattr(c.certificate, key)
                    for key in ("loss", "epsilon", "delta", "n_images", "bound")
                },
                "cascade": c.cascade,
                "loss_here": estimate_json(c.loss),
                "visual_tokens": estimate_json(c.visual_tokens),
                "saved": estimate_json(c.saved),
                "broken": c.broken,
            }
            for c in report.certified
        ],
        "importances": [
            {
                "group": i.group,
                "columns": i.columns,
                "brier_rise": {"value": i.brier, "sd": i.brier_sd},
                "accuracy_fall": {"value": i.accuracy, "sd": i.accuracy_sd},
            }
            for i in report.importances
        ],
        "own_cost": None
        if own is None
        else {
            **own.flops,
            "predictor_flops": own.predictor_flops,
            "ms": {"median": own.ms, "p99": own.ms_high, "machine": own.machine},
        },
        "times_7b": None
        if times is None
        else {
            "source": times.source,
            "measured": times.measured,
            "encode_ms": times.encode_ms,
            "prompt_tokens": list(times.prompt_tokens),
            "prefill_ms": list(times.prefill_ms),
            "decode_ms": list(times.decode_ms),
        },
        "peers": None
        if peers is None
        else {
            "main": peers.main,
            "visual_tokens": list(peers.range),
            "commit": peers.commit,
            "candidates": [
                {
                    "name": p.name,
                    "seeds": p.seeds,
                    "area": estimate_json(p.area),
                    "over_main": estimate_json(p.over),
                }
                for p in peers.rows
            ],
        },
    }
