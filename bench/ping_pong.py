"""The round trip of 64 bytes by net-mesh beside raw UDP's, for bench/run and bench/goodput."""
import statistics


def measure(run, rounds, pings):
    """`run(program, *arguments)` gives what a program of ours printed. Medians of the rounds: {"blocking" | "spinning": (of raw
    UDP, ours)}, each p50, p99, p99.9 in microseconds."""
    raw, ours = {"blocking": [], "spinning": []}, {"blocking": [], "spinning": []}
    for _ in range(rounds):
        limits = run("bench_limits", "--json", "--seconds", 0.05, "--sizes", "64", "--rounds", pings)["ping_pong"]
        for kind, word in (("blocking", "block"), ("spinning", "spin")):
            raw[kind].append(limits[kind]["raw_us"])
            r = run("bench_mesh", "latency", word, pings)
            ours[kind].append((r["p50_us"], r["p99_us"], r["p999_us"]))
    return {kind: [[statistics.median(column) for column in zip(*table[kind])] for table in (raw, ours)] for kind in raw}


def print_table(measured):
    print("\nping-pong of 64 bytes, microseconds for the round trip")
    print(f"{'':>10} {'raw p50':>9} {'p99':>9} {'p99.9':>9} {'ours p50':>9} {'p99':>9} {'p99.9':>9} {'p50 ratio':>10}")
    for kind, (raw, ours) in measured.items():
        print(f"{kind:>10} " + " ".join(f"{v:>9.1f}" for v in (*raw, *ours)) + f" {ours[0] / raw[0]:>10.2f}")
