"""The speed figures of docs/benchmarks.md, as ratios within one run. `make bench` runs this.

The reference is coincurve recovering public keys on one core, measured anew beside each figure, because machines are
shared and their speed drifts. Nothing else may run on the machine meanwhile.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.benchmarks.catching_up import catch_up_speed, memory_after
from tests.benchmarks.certificates import certificate_sizes
from tests.benchmarks.consensus import latency, throughput
from tests.benchmarks.hub_jobs import hub_jobs
from tests.benchmarks.hub_scheduling import makespan
from tests.benchmarks.hub_store import hub_store
from tests.benchmarks.hub_workers import hub_workers
from tests.benchmarks.importing import MANY_ACCOUNTS, importing
from tests.benchmarks.json_rpc import json_rpc
from tests.benchmarks.log_search import log_search
from tests.benchmarks.market_queries import market_queries
from tests.benchmarks.market_rules import market_day, market_rules
from tests.benchmarks.measuring import Table, machine
from tests.benchmarks.provider_pipeline import pipeline_on_cpu, pipeline_on_gpu
from tests.benchmarks.provider_server import batching_gain, server_overhead, start_up
from tests.benchmarks.simulating import simulation_speed

Benchmark = Callable[[argparse.Namespace, Path], Table]

QUICK: dict[str, Benchmark] = {
    "importing": lambda options, folder: importing(options.rounds, options.many_accounts, folder),
    "certificates": lambda options, folder: certificate_sizes(options.rounds),
    "simulation": lambda options, folder: simulation_speed(options.seeds),
    "latency": lambda options, folder: latency(folder, options.samples),
    "throughput": lambda options, folder: throughput(folder, transactions=options.transactions),
    "catching-up": lambda options, folder: catch_up_speed(
        folder, full_blocks=options.full_blocks, empty_blocks=options.empty_blocks
    ),
    "json-rpc": lambda options, folder: json_rpc(folder, requests=options.requests),
    "market-queries": lambda options, folder: market_queries(folder, requests=options.queries),
    "market-day": lambda options, folder: market_day(options.day_operations, folder),
    "hub-jobs": lambda options, folder: hub_jobs(folder, options.hub_jobs),
    "hub-store": lambda options, folder: hub_store(folder, options.store_jobs),
    "hub-workers": lambda options, folder: hub_workers(folder, options.workers),
    "hub-makespan": lambda options, folder: makespan(options.fleets),
    "provider-pipeline": lambda options, folder: pipeline_on_cpu(options.rounds),
    "provider-overhead": lambda options, folder: server_overhead(options.rounds, folder),
    "provider-batching": lambda options, folder: batching_gain(options.rounds, folder),
    "provider-start-up": lambda options, folder: start_up(options.rounds, folder),
}
LONG: dict[str, Benchmark] = {
    "market-rules": lambda options, folder: market_rules(options.rounds, options.resting_orders, folder),
    "memory": lambda options, folder: memory_after(folder, options.memory_blocks),
    "logs": lambda options, folder: log_search(folder, options.log_blocks),
    "provider-gpu": lambda options, folder: pipeline_on_gpu(options.rounds, folder),
}
"""Left out unless they are named, or `--long` is given: they take more than a minute or two, or a GPU."""


def parse_arguments() -> argparse.Namespace:
    """Every option has the value that docs/benchmarks.md was made with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*QUICK, *LONG, []], help="which; default: all quick ones")
    parser.add_argument("--long", action="store_true", help="all, the long ones too")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each figure; the median counts")
    parser.add_argument("--many-accounts", type=int, default=MANY_ACCOUNTS)
    parser.add_argument("--seeds", type=int, default=50, help="of the simulator, for each size")
    parser.add_argument("--fleets", type=int, default=200, help="simulated, of the hub's makespan")
    parser.add_argument("--samples", type=int, default=100, help="transfers whose latency is measured")
    parser.add_argument("--transactions", type=int, default=40_000, help="transfers of the throughput")
    parser.add_argument("--full-blocks", type=int, default=40, help="of 500 transfers, to catch up with")
    parser.add_argument("--empty-blocks", type=int, default=5_000, help="to catch up with")
    parser.add_argument("--requests", type=int, default=8_000, help="single calls of JSON-RPC that change something")
    parser.add_argument("--resting-orders", type=int, nargs="+", default=[100, 10_000, 1_000_000], help="in the book")
    parser.add_argument("--queries", type=int, default=800, help="about a market, of each kind")
    parser.add_argument("--day-operations", type=int, default=50_000, help="of the day of trading")
    parser.add_argument("--hub-jobs", type=int, default=2_000, help="through a whole hub, over HTTP")
    parser.add_argument("--store-jobs", type=int, default=2_000, help="through the hub's database")
    parser.add_argument("--workers", type=int, default=500, help="providers that are connected to a hub")
    parser.add_argument("--memory-blocks", type=int, default=100_000)
    parser.add_argument("--log-blocks", type=int, default=100_000, help="to search, with a mint in each")
    parser.add_argument("--dir", type=Path, help="where the databases are built; default: a temporary folder")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Prints the tables as they come."""
    options = parse_arguments()
    available = QUICK | LONG
    names = options.names or list(available if options.long else QUICK)
    tables = []
    if not options.json:
        print(machine(), flush=True)
    for name in names:
        folder = Path(tempfile.mkdtemp(prefix="aitbc-bench-", dir=options.dir))
        try:
            table = available[name](options, folder)
        finally:
            shutil.rmtree(folder)
        tables.append(table)
        if not options.json:
            print("\n" + table.markdown(), flush=True)
    left_out = [name for name in available if name not in names]
    if options.json:
        json.dump({"machine": machine(), "tables": msgspec.to_builtins(tables), "left_out": left_out}, sys.stdout)
    elif left_out:
        print(f"\nLeft out: {', '.join(left_out)} (name them, or --long)")


if __name__ == "__main__":
    main()
