"""Breaks every rule of graph.py on doctored metadata and expects that rule, and no other, to be named.

Run by `graph.py self-test`: a check that cannot fail proves nothing.
"""

import copy
import inspect
import os
import re
import sys

import graph

TABLE = """
purlin-problem         ground   10   # the rest of a line is a comment
purlin-problem-derive  derive   5
purlin-store           store    3
purlin-cache           block    20
purlin-jobs            block    20
purlin-testkit         testkit  -
orders                 example  -
"""


def dependency(name, kind=None, optional=False, path=None, rename=None):
    return {"name": name, "kind": kind, "optional": optional, "path": path, "rename": rename}


def package(name, dependencies=(), features=None, publish=None):
    return {"name": name, "dependencies": list(dependencies), "features": features or {}, "publish": publish}


GOOD = {
    p["name"]: p
    for p in [
        package("purlin-problem",
                [dependency("http"), dependency("purlin-problem-derive", optional=True),
                 dependency("axum", optional=True), dependency("utoipa", optional=True),
                 dependency("axum", kind="dev"), dependency("purlin-testkit", kind="dev")],
                {"default": ["derive"], "derive": ["dep:purlin-problem-derive"], "axum": ["dep:axum"],
                 "axum-ws": ["axum", "axum/ws"], "openapi": ["dep:utoipa", "axum?/json"]}),
        package("purlin-problem-derive", [dependency("syn")]),
        package("purlin-store",
                [dependency("sqlx", optional=True), dependency("deadpool-redis", optional=True, rename="pool"),
                 dependency("purlin-store", kind="dev"), dependency("purlin-testkit", kind="dev")],
                {"postgres": ["dep:sqlx", "sqlx/postgres"], "sqlite": ["dep:sqlx"], "redis": ["dep:pool"]}),
        package("purlin-cache", [dependency("purlin-problem"), dependency("purlin-store"), dependency("sqlx", kind="dev")],
                {"full": ["redis"], "redis": ["purlin-store/redis"]}),
        package("purlin-jobs", [dependency("purlin-store")]),
        package("purlin-testkit", [dependency("sqlx"), dependency("redis")], publish=[]),
        package("orders", [dependency("axum"), dependency("purlin-cache"), dependency("purlin-jobs"),
                           dependency("purlin-testkit", kind="dev")], publish=[]),
    ]
}


def add(name, *dependencies, **features):
    """A change of the good workspace: more dependencies and features for one crate."""
    def change(packages):
        packages[name]["dependencies"] += dependencies
        for feature, values in features.items():
            packages[name]["features"].setdefault(feature, []).extend(values)
    return change


def publish(name, value):
    def change(packages):
        packages[name]["publish"] = value
    return change


def folder(path):
    return os.path.join(graph.ROOT, path)


# (the rule that must be named, what is done to the good workspace)
ARROWS = [
    ("listed", lambda packages: packages.update({"purlin-new": package("purlin-new")})),
    ("listed", lambda packages: packages.pop("purlin-jobs")),
    ("publish", publish("purlin-testkit", None)),
    ("publish", publish("orders", None)),
    ("publish", publish("purlin-cache", [])),
    ("outside", add("purlin-cache", dependency("orders"))),
    ("outside", add("purlin-cache", dependency("orders", kind="dev"))),
    ("outside", add("orders", dependency("peers", path=folder("benches")))),
    ("outside", add("purlin-testkit", dependency("targets", kind="build", path=folder("fuzz/common")))),
    ("testkit", add("purlin-cache", dependency("purlin-testkit"))),
    ("testkit", add("purlin-store", dependency("purlin-testkit", kind="build"))),
    ("testkit", add("purlin-problem", dependency("purlin-testkit", optional=True))),
    ("arrow-derive", add("purlin-problem-derive", dependency("purlin-problem", kind="dev"))),
    ("arrow-ground", add("purlin-problem", dependency("purlin-store"))),
    ("arrow-ground", add("purlin-problem", dependency("purlin-cache", optional=True))),
    ("arrow-ground", add("purlin-problem", dependency("purlin-unheard-of"))),
    ("arrow-store", add("purlin-store", dependency("purlin-problem"))),
    ("arrow-store", add("purlin-store", dependency("purlin-cache", kind="dev"))),
    ("arrow-block", add("purlin-cache", dependency("purlin-jobs"))),
    ("arrow-block", add("purlin-cache", dependency("purlin-jobs", kind="dev"))),
    ("arrow-block", add("purlin-cache", dependency("purlin-problem-derive"))),
    ("arrow-testkit", add("purlin-testkit", dependency("purlin-store"))),
    ("arrow-testkit", add("purlin-testkit", dependency("purlin-store", kind="dev"))),
    ("no-store", add("purlin-problem", dependency("sqlx", optional=True), sqlite=["dep:sqlx"])),
    ("optional", add("purlin-cache", dependency("axum"))),
    ("optional", add("purlin-cache", dependency("axum-core", kind="build", optional=True))),
    ("optional", add("purlin-jobs", dependency("sqlx"))),
    ("optional", add("purlin-jobs", dependency("redis"))),
    ("optional", add("purlin-jobs", dependency("utoipa"))),
    ("feature", add("purlin-problem", garde=["dep:axum"])),
    ("feature", add("purlin-problem", garde=["axum/json"])),
    ("feature", add("purlin-store", default=["dep:pool"])),
    ("feature", add("purlin-store", testing=["dep:sqlx"])),
]

# (is it broken, the features of a crate, what each build of it resolves to)
REACH = [
    (False, {"default": ["derive"], "derive": []}, {}),
    (False, {"axum": ["dep:axum"]}, {"axum": {"axum", "axum-core"}}),
    (False, {"full": ["postgres"], "postgres": []}, {"postgres": {"sqlx", "sqlx-postgres"}, "full": {"sqlx"}}),
    (True, {}, {None: {"axum-core"}}),
    (True, {"default": []}, {"default": {"utoipa"}}),
    (True, {"default": ["redis"], "redis": []}, {"default": {"redis"}, "redis": {"redis"}}),
    (True, {"tonic": ["dep:tonic"]}, {"tonic": {"tonic", "axum"}}),
    (True, {"postgres": ["dep:sqlx"]}, {"postgres": {"sqlx", "sqlx-postgres", "sqlx-sqlite"}}),
]

BUDGET = [("purlin-cache", 20, None), ("purlin-cache", 21, "budget"), ("purlin-cache", 19, "budget"),
          ("purlin-cache", 46, "cap"), ("purlin-problem", 31, "cap"), ("purlin-store", 46, "cap")]


def main():
    table = graph.read_table(TABLE)
    failures, fired = [], set()

    def expect(label, wanted, broken):
        got = {b.rule for b in broken}
        fired.update(got)
        if got != wanted:
            failures.append(f"{label}: expected {wanted or 'nothing'}, got {[tuple(b) for b in broken] or 'nothing'}")

    expect("good workspace", set(), graph.arrows(table, list(GOOD.values())))
    for number, (rule, change) in enumerate(ARROWS):
        packages = copy.deepcopy(GOOD)
        change(packages)
        expect(f"arrow case {number}", {rule}, graph.arrows(table, list(packages.values())))
    for number, (is_broken, features, resolved) in enumerate(REACH):
        broken = graph.reach(package("purlin-x", features=features), lambda _, f, r=resolved: r.get(f, set()) | {"http"})
        expect(f"reach case {number}", {"reach"} if is_broken else set(), broken)
    for name, count, rule in BUDGET:
        expect(f"{name} at {count}", {rule} if rule else set(), graph.over_budget(table, name, count))

    written = set(re.findall(r'Broken\(\s*"([a-z-]+)"', inspect.getsource(graph)))
    written |= {f"arrow-{role}" for role in graph.MAY_USE}
    for rule in sorted(written - fired):
        failures.append(f"no case breaks the rule `{rule}`")

    for failure in failures:
        print(failure, file=sys.stderr)
    if failures:
        sys.exit(1)
    print(f"{len(ARROWS) + len(REACH) + len(BUDGET) + 1} cases, each of {len(written)} rules seen to fire")
