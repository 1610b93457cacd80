"""The service's bench: what it asks and counts, and a very short run of all of it on the fake engine."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from m3_backbone.images import decode
from tests.test_router_service_process import serving as serving_service
from training.bench.service import asks, offline, overload, report, results, servers
from training.bench.service.bare import bare_app
from training.bench.service.clients import Load, coming, waiting
from training.bench.service.cores import Cores, staying_on
from training.bench.service.offline import engine_alone
from training.bench.service.overhead import ANEW, BARE, Overhead
from training.bench.service.overload import Overload
from training.bench.service.pairs import Pairs
from training.bench.service.results import Results, Size
from training.bench.service.throughput import Routed, Served, variables
from training.bench.service.wire import Connection, Reply
from training.cli.bench_service import command

FAKE = {"engine": "fake", "backbone": "tiny", "bundle": "embedded"}
PROVENANCE = {
    "command": "m3-train bench-service",
    "created": "2026-01-01T00:00:00+00:00",
    "commit": None,
    "uncommitted_changes": False,
    "backbone": "tiny",
    "machine": "2 x CPU",
    "cores": {"server": 0, "clients": 1},
    "rounds": 2,
    "load_average": 0.1,
    "python": "3",
    "versions": {},
}


def an_overload(*replies: Reply, recovery_s: float | None = 1.0, queued: int = 9) -> Overload:
    return Overload(
        capacity_per_s=10.0,
        alone_s=0.1,
        deadline_s=10.0,
        load=Load(2.0, replies),
        queued=queued,
        in_flight=5,
        watched=3,
        recovery_s=recovery_s,
        after={200: 5},
    )


def met(measured: Results) -> list[bool]:
    return [bar.met for bar in measured.bars]


@pytest.mark.parametrize(
    ("ratio", "told", "enough"),
    [(0.8998, "89.98%", False), (0.9, "90.0%", True), (0.89999, "89.999%", False), (0.931, "93.1%", True)],
)
def test_a_value_that_misses_its_bar_never_reads_as_if_it_met_it(
    ratio: float, told: str, enough: bool
) -> None:
    served = Served(160, 16, pairs={576: Pairs([ratio], [1.0])})
    (bar,) = Results({}, served=served).bars
    assert (bar.asked, bar.got, bar.met) == ("at least 90%", told, enough)


def test_seconds_that_miss_their_bar_have_the_digits_that_say_so() -> None:
    bars = Results({}, overload=an_overload(Reply(200, 10.001), recovery_s=overload.RECOVERY_S + 0.004)).bars
    assert [(bar.got, bar.met) for bar in bars if bar.got.endswith(" s")] == [
        ("10.001 s", False),
        (f"{overload.RECOVERY_S + 0.004:.3f} s", False),
    ]


def test_every_picture_is_asked_about_once_and_is_another_one() -> None:
    drawn = asks.draw(6)
    assert len({asked.image for asked in drawn}) == 6
    assert len({asked.question for asked in drawn}) > 1
    assert all(decode(asked.image).width > 50 for asked in drawn)
    assert json.loads(drawn[0].body(scale=9)) == {**drawn[0].fields, "scale": 9}
    assert asks.draw(2) == drawn[:2]


def test_the_bare_route_takes_the_same_body_and_decodes_the_picture() -> None:
    (asked,) = asks.draw(1)
    with TestClient(bare_app()) as client:
        response = client.post(asks.PATH, content=asked.body(), headers={"content-type": "application/json"})
    size = decode(asked.image).size
    assert response.json() == {"question": asked.question, "width": size[0], "height": size[1]}


def test_clients_share_the_requests_and_keep_their_order() -> None:
    bodies = [asked.body(scale=scale) for asked in asks.draw(2) for scale in (1, 9, 36, 144, 576)]
    with serving_service() as server:
        load = asyncio.run(waiting(server.address, asks.PATH, bodies, 3))
        wrong = asyncio.run(waiting(server.address, "/v1/nowhere", bodies[:2], 1))
    assert [reply.json()["scale"] for reply in load.replies] == [1, 9, 36, 144, 576] * 2
    assert load.count(200) == 10
    assert load.per_s == pytest.approx(10 / load.seconds)
    assert (wrong.count(404), wrong.per_s) == (2, 0)


def test_requests_that_come_do_not_wait_for_each_other_and_one_that_finds_nobody_is_a_reply_too() -> None:
    async def at(address: str, path: str) -> tuple[Load, bool]:
        ended = asyncio.Event()
        load = await coming(address, path, [b"{}"], 100, 0.5, ended=ended)
        return load, ended.is_set()

    with serving_service() as server:
        load, ended = asyncio.run(at(server.address, asks.PATH))
    nobody, _ = asyncio.run(at("http://127.0.0.1:1", asks.PATH))
    assert ended
    assert 10 < len(load.replies) < 150
    assert load.count(400) == len(load.replies)
    assert nobody.count(0) == len(nobody.replies) > 0


def test_a_connection_is_opened_again_after_the_server_closed_it() -> None:
    async def twice(address: str) -> list[int]:
        connection = Connection(address)
        found = [(await connection.get("/health")).status]
        large = b"x" * 30_000_000  # refused unread, and the connection closed
        found.append((await connection.post(asks.PATH, large)).status)
        found.append((await connection.get("/health")).status)
        connection.close()
        return found

    with serving_service() as server:
        first, _, last = asyncio.run(twice(server.address))
    assert (first, last) == (200, 200)


def test_a_connection_that_the_server_gave_up_while_it_was_idle_is_opened_again() -> None:
    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def twice() -> list[int]:
        async with await asyncio.start_server(closing, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            connection, found = Connection(f"http://127.0.0.1:{port}"), []
            for _ in range(3):
                found.append((await connection.get("/health")).status)
                assert connection._streams is not None
                while not connection._streams[0].at_eof():
                    await asyncio.sleep(0.01)
            connection.close()
        return found

    assert asyncio.run(twice()) == [200, 200, 200]


def test_a_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(servers.ServerError, match="M3_PORT has value '99999999'"),
        servers.serving(("-m", "router.cli.main", "serve"), None, {"M3_PORT": "99999999"}),
    ):
        raise AssertionError("it started")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="there are no affinities")
def test_a_core_is_kept_to_and_left_again() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    with staying_on(core):
        assert os.sched_getaffinity(0) == {core}
        assert Cores.of_this_machine() == Cores(None, None)  # one core cannot be shared out
    with staying_on(None):
        assert os.sched_getaffinity(0) == before
    assert os.sched_getaffinity(0) == before


def test_a_ratio_is_of_medians_and_its_spread_of_neighbours() -> None:
    pairs = Pairs([2.0, 4.0, 40.0], [1.0, 2.0, 10.0])
    assert pairs.ratio == 2
    assert pairs.spread == (2.0, 3.0)
    assert str(pairs) == "2.000 (2.000 to 3.000)"


def test_overhead_is_the_difference_of_medians_and_under_3_ms_is_enough() -> None:
    near = Overhead({BARE: [1.0, 2.0, 9.0], asks.PATH: [4.9, 4.0, 5.0]}, {"decode": [1.0]})
    far = Overhead({BARE: [1.0, 2.0, 9.0], asks.PATH: [5.0, 4.0, 6.0]}, {"decode": [1.0]})
    assert near.above_ms(asks.PATH) == pytest.approx(2.9)
    assert met(Results(PROVENANCE, overhead=near)) == [True]
    assert met(Results(PROVENANCE, overhead=far)) == [False]


def test_the_worse_scale_counts_and_the_gain_is_held_against_what_flops_promise() -> None:
    served = Served(8, 2, {36: Pairs([9.5], [10.0]), 576: Pairs([8.9], [10.0])})
    assert met(Results(PROVENANCE, served=served)) == [False]
    served.pairs[576] = Pairs([9.0], [10.0])
    assert met(Results(PROVENANCE, served=served)) == [True]
    routed = Routed(8, 2, Pairs([16.0], [10.0]), flops=(5e9, 10e9))
    assert (routed.promised, routed.kept) == (2.0, 0.8)
    assert met(Results(PROVENANCE, routed=routed)) == [True]
    assert met(Results(PROVENANCE, routed=replace(routed, flops=(4e9, 10e9)))) == [False]


def test_under_overload_what_was_accepted_must_be_in_time_and_nothing_may_fail() -> None:
    fine = [Reply(200, 1.0)] * 99 + [Reply(503, 0.01)] * 900
    assert met(Results(PROVENANCE, overload=an_overload(*fine))) == [True] * 4
    fault = an_overload(*fine, Reply(500, 0.1), Reply(0, 0.1))
    assert (fault.faults, met(Results(PROVENANCE, overload=fault))) == (2, [False, True, True, True])
    late = an_overload(*fine, *[Reply(504, 10.2)] * 5)
    assert met(Results(PROVENANCE, overload=late)) == [True, False, True, True]
    nobody = an_overload(*fine[99:])
    assert met(Results(PROVENANCE, overload=nobody))[1] is False
    slow = an_overload(*fine, recovery_s=None, queued=overload.QUEUE_LIMIT + 1)
    assert met(Results(PROVENANCE, overload=slow)) == [True, True, False, False]
    assert an_overload(*fine).json()["statuses"] == {"200": 99, "503": 900}


def test_the_engine_alone_makes_summaries_only_where_that_is_asked_for() -> None:
    drawn = asks.draw(3)
    with engine_alone(None, FAKE) as alone:
        _, plain = alone.answer(drawn, 36)
        made = alone.pool.submit(_summaries_counted, drawn).result()
    assert len(plain) == 3
    assert made == [0, 3]


def _summaries_counted(drawn: Sequence[asks.Asked]) -> list[int]:
    """How many summaries the engine of this process makes without and with them."""
    engine, counts = offline._STATE["engine"], []
    summarise = engine.fake.summarise
    for summary in (False, True):
        seen: list[object] = []
        engine.fake.summarise = lambda *work, seen=seen: (seen.append(work), summarise(*work))[1]
        offline._answer(drawn, 36, summary)
        counts.append(len(seen))
    return counts


def test_settings_become_variables_of_a_server_that_keeps_no_encoding() -> None:
    assert variables({"backbone": "tiny"}) == {"M3_BACKBONE": "tiny", "M3_IMAGE_CACHE_BYTES": "0"}


@pytest.mark.timeout(900)
def test_all_of_it_runs_on_the_fake_engine_and_is_written_with_where_it_comes_from(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    said: list[str] = []
    measured = results.measure(
        results.PARTS,
        Size(rounds=1, single=3, requests=6, clients=2, overload_s=1.0),
        command="m3-train bench-service --rounds 1",
        settings=FAKE,
        on_progress=said.append,
    )
    text, data = report.write(measured, tmp_path / "out")
    summary = json.loads(data.read_text(encoding="utf-8"))
    assert len(said) == 1 + len(results.PARTS)
    assert summary["bench"] == "m3-service"
    assert len(summary["bars"]) == 7
    endpoints = {BARE, "/v1/answer", ANEW, "/v1/route", "/v1/chat/completions"}
    assert set(summary["overhead"]["median_ms"]) == endpoints
    assert summary["served"]["differing_answers"] == 0
    assert set(summary["served"]["scales"]) == {"36", "576"}
    assert set(summary["served"]["scales_with_summaries"]) == {"36", "576"}
    assert summary["routed"]["flops_ratio"] == 1  # the fake engine has no router
    told = summary["overload"]
    assert told["offered_over_capacity"] > 2
    assert set(told["statuses"]) <= {"200", "503", "504"}
    assert told["most_queued"] <= told["queue_limit"]
    assert told["looks_at_the_queue"] > 0
    words = text.read_text(encoding="utf-8")
    assert "m3-train bench-service --rounds 1" in words
    assert "Overload for 1 s" in words
    assert str(tmp_path) not in words
    if before is not None:
        assert os.sched_getaffinity(0) == before


def test_an_unknown_part_is_one_line() -> None:
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, ["--part", "speed"])
    assert done.exit_code == 2
    assert "--part 'speed' is not known. Known: overhead, served, routed, overload." in done.stderr
