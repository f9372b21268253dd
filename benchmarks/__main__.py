"""`make bench`: every benchmark, one after another; with BENCH_LARGE=1 those that take minutes too."""

from __future__ import annotations

from benchmarks import bench_join, bench_lab, bench_misses, bench_rules, bench_sync, bench_throughput, bench_trace

if __name__ == "__main__":
    for module in (bench_lab, bench_rules, bench_sync, bench_misses, bench_trace, bench_join, bench_throughput):
        print(f"\n== {module.__name__.removeprefix('benchmarks.')}: {(module.__doc__ or '').splitlines()[0]}")
        module.main()
