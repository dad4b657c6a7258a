#!/usr/bin/env python3
"""What the workspace's dependency graph may look like, proven from cargo's own account of it.

  graph.py arrows              who may depend on whom, and what each feature may pull in
  graph.py budget [--record]   dependency counts against scripts/crates.txt; --record writes them
  graph.py self-test           breaks every rule on purpose and expects it to be noticed
  graph.py published           the names of the published crates

Roles, as given in scripts/crates.txt:
  derive   the macro crate behind the ground floor: no crate of ours
  ground   problem details: its derive, and nothing that stores
  store    what all stores share: no crate of ours
  block    one building block: the ground floor and the store crate, never another block
  testkit  servers for tests: no crate of ours; a library uses it as a dev-dependency only
  example  uses everything, is used by nobody
"""

import json
import os
import re
import subprocess
import sys
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(ROOT, "scripts", "crates.txt")

# Counts must not differ between the machines of two contributors.
TARGET = "x86_64-unknown-linux-gnu"

LIBRARY = {"derive", "ground", "store", "block"}
CAP = {"derive": 30, "ground": 30, "store": 45, "block": 45}
MAY_USE = {
    "derive": set(),
    "ground": {"derive"},
    "store": set(),
    "block": {"ground", "store"},
    "testkit": set(),
}
INSTEAD = {
    "derive": "tests and examples of the macro live in the ground floor crate",
    "ground": "every block stands on the ground floor, so it stands on none of them",
    "store": "what a block adds to its store lives in the block",
    "block": "let two blocks meet in a plain sqlx connection or in `http::Extensions`, and show it in the example",
    "testkit": "take values of `http`, `sqlx` or `redis` instead; the crate under test would exist twice",
}
# Each of these crates is pulled in by the features beside it and by nothing else.
BEHIND = {
    "axum": {"axum"},
    "axum-core": {"axum"},
    "sqlx": {"postgres", "sqlite"},
    "sqlx-core": {"postgres", "sqlite"},
    "sqlx-postgres": {"postgres"},
    "sqlx-sqlite": {"sqlite"},
    "redis": {"redis"},
    "deadpool-redis": {"redis"},
    "utoipa": {"openapi"},
}
STORES = {"sqlx", "sqlx-core", "sqlx-postgres", "sqlx-sqlite", "redis", "deadpool-redis"}
OUTSIDE = ("examples", "benches", "fuzz")


class Entry(NamedTuple):
    role: str
    count: "int | None"


class Broken(NamedTuple):
    rule: str
    message: str


def read_table(text):
    """`scripts/crates.txt` as name -> Entry."""
    table = {}
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split("#")[0].split()
        if not fields:
            continue
        if len(fields) != 3 or fields[1] not in LIBRARY | {"testkit", "example"}:
            sys.exit(f"scripts/crates.txt:{number}: expected `crate role count`, read `{line}`")
        name, role, count = fields
        if (role in LIBRARY) != count.isdigit():
            sys.exit(f"scripts/crates.txt:{number}: a count for a library, a dash for the others")
        table[name] = Entry(role, int(count) if count.isdigit() else None)
    return table


def arrows(table, packages):
    """The rules that `cargo metadata --no-deps` can prove."""
    broken = []
    names = {package["name"] for package in packages}
    for name in sorted(names - table.keys()):
        broken.append(Broken("listed", f"{name} is not in scripts/crates.txt: add it with its role"))
    for name in sorted(table.keys() - names):
        broken.append(Broken("listed", f"{name} is in scripts/crates.txt and not in the workspace: take it out"))

    for package in packages:
        if package["name"] not in table:
            continue
        name, role = package["name"], table[package["name"]].role
        private = package["publish"] == []
        if private == (role in LIBRARY):
            should = "is published: take `publish = false` out" if private else "is not published: set `publish = false`"
            broken.append(Broken("publish", f"{name} ({role}) {should}"))

        for dependency in package["dependencies"]:
            kind = dependency["kind"] or "normal"
            broken += arrow(table, name, role, dependency, kind)
            if role in LIBRARY and kind != "dev":
                broken += guard(package, role, dependency, kind)
    return broken


def arrow(table, name, role, dependency, kind):
    """One declared dependency: may this crate name that one?"""
    target = dependency["name"]
    said = f"{name} -> {target} ({kind} dependency)"
    path = dependency.get("path")
    folder = os.path.relpath(path, ROOT).split(os.sep)[0] if path else None
    if folder in OUTSIDE or (target in table and table[target].role == "example"):
        return [Broken("outside", f"{said}: nothing depends on examples, benches or fuzz. Move what is shared into a crate under crates/")]
    if role == "example" or (target not in table and not target.startswith("purlin-")):
        return []
    if target == name and kind == "dev":
        return []  # a crate may turn on its own features for its tests
    other = table[target].role if target in table else "unknown"
    if other == "testkit" and role in LIBRARY:
        if kind == "dev":
            return []
        return [Broken("testkit", f"{said}: the testkit is for tests. Move the line to [dev-dependencies]")]
    if other in MAY_USE[role]:
        return []
    allowed = " and ".join(sorted(n for n, e in table.items() if e.role in MAY_USE[role])) or "no crate of ours"
    return [Broken(f"arrow-{role}", f"{said}: a {role} crate may use {allowed}. Instead: {INSTEAD[role]}")]


def guard(package, role, dependency, kind):
    """One declared dependency of a library: does it stand behind its feature?"""
    target = dependency["name"]
    if target not in BEHIND:
        return []
    said = f"{package['name']} -> {target} ({kind} dependency)"
    if role in ("derive", "ground") and target in STORES:
        return [Broken("no-store", f"{said}: the ground floor has no store. Instead: {INSTEAD['ground']}")]
    wanted = " or ".join(f"`{f}`" for f in sorted(BEHIND[target]))
    if kind != "normal" or not dependency["optional"]:
        return [Broken("optional", f"{said}: make it `optional = true` behind the feature {wanted}")]
    alias = dependency["rename"] or target
    ways = {
        feature
        for feature, values in package["features"].items()
        if any(names_dependency(value, alias) for value in values) and not BEHIND[target] & set(values)
    }
    return [
        Broken("feature", f"{said}: the feature `{way}` turns it on; only {wanted} may. Let `{way}` do without it, or enable {wanted}")
        for way in sorted(ways - BEHIND[target])
    ]


def names_dependency(value, alias):
    """Whether a feature's value turns the optional dependency on (`alias?/x` does not)."""
    return value in (f"dep:{alias}", alias) or value.startswith(f"{alias}/")


def closure(features, start):
    """The feature and every feature of the same crate that it turns on."""
    seen, todo = set(), [start]
    while todo:
        feature = todo.pop()
        if feature in features and feature not in seen:
            seen.add(feature)
            todo += features[feature]
    return seen


def reach(package, tree_of):
    """The rules that only the resolved graph can prove: what each feature really pulls in.

    `tree_of(name, feature)` gives the crate names of the resolved normal dependencies;
    the feature `None` stands for no feature at all.
    """
    broken = []
    features = package["features"]
    for feature in [None, *sorted(features)]:
        on = closure(features, feature) if feature else set()
        for found in sorted(tree_of(package["name"], feature) & BEHIND.keys()):
            if feature != "default" and on & BEHIND[found]:
                continue
            wanted = " or ".join(f"`{f}`" for f in sorted(BEHIND[found]))
            build = f"with the feature `{feature}`" if feature else "without any feature"
            broken.append(Broken(
                "reach",
                f"{package['name']} {build} pulls in {found}; only {wanted} may, and never by default. "
                f"To see the way: cargo tree -p {package['name']} --no-default-features"
                f"{f' --features {feature}' if feature else ''} -e normal -i {found}",
            ))
    return broken


def over_budget(table, name, count):
    """The recorded count is exact, and never above the cap of the role."""
    role, recorded = table[name]
    if count > CAP[role]:
        return [Broken("cap", f"{name} needs {count} crates with default features; a {role} crate may need {CAP[role]}. "
                              f"Put what is not needed by everybody behind a feature: cargo tree -p {name} -e normal")]
    if count != recorded:
        return [Broken("budget", f"{name} needs {count} crates with default features, recorded are {recorded}. "
                                 f"Look at cargo tree -p {name} -e normal; if it is meant: scripts/check budget --record")]
    return []


def cargo(*arguments):
    done = subprocess.run(["cargo", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"graph.py: `cargo {' '.join(arguments)}` failed; if it speaks of the lock file: "
                 "run `cargo metadata >/dev/null` and commit Cargo.lock")
    return done.stdout


def load():
    with open(TABLE, encoding="utf-8") as file:
        table = read_table(file.read())
    packages = json.loads(cargo("metadata", "--no-deps", "--locked", "--format-version", "1"))["packages"]
    return table, packages


def tree(name, *arguments):
    """The resolved normal dependencies as `name vX.Y.Z`, the crate itself excluded."""
    text = cargo("tree", "--locked", "--package", name, "--edges", "normal", "--target", TARGET,
                 "--prefix", "none", "--format", "{p}", *arguments)
    lines = {" ".join(line.split()[:2]) for line in text.splitlines() if line}
    return {line for line in lines if line.split()[0] != name}


def resolved_names(name, feature):
    arguments = ["--no-default-features"] + (["--features", feature] if feature else [])
    return {line.split()[0] for line in tree(name, *arguments)}


def report(broken, good):
    for rule, message in broken:
        print(f"[{rule}] {message}", file=sys.stderr)
    if broken:
        sys.exit(1)
    print(good)


def run_arrows():
    table, packages = load()
    broken = arrows(table, packages)
    if not broken:
        for package in packages:
            if table[package["name"]].role in LIBRARY:
                broken += reach(package, resolved_names)
    report(broken, f"{len(packages)} crates, every arrow and every feature as it should be")


def run_budget(record):
    table, packages = load()
    counts = {p["name"]: len(tree(p["name"])) for p in packages if p["name"] in table and table[p["name"]].role in LIBRARY}
    for name, count in counts.items():
        print(f"{name:24} {count:3} of at most {CAP[table[name].role]}")
    broken = [b for name, count in counts.items() for b in over_budget(table, name, count)]
    if record:
        broken = [b for b in broken if b.rule == "cap"]
        if not broken:
            write_counts(counts)
    report(broken, "recorded in scripts/crates.txt" if record else "every count as recorded")


def write_counts(counts):
    with open(TABLE, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for i, line in enumerate(lines):
        fields = line.split()
        if fields and fields[0] in counts:
            lines[i] = re.sub(r"\S+\s*$", str(counts[fields[0]]), line)
    with open(TABLE, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def main():
    arguments = sys.argv[1:]
    if arguments == ["arrows"]:
        run_arrows()
    elif arguments in (["budget"], ["budget", "--record"]):
        run_budget("--record" in arguments)
    elif arguments == ["self-test"]:
        sys.dont_write_bytecode = True
        import graph_test
        graph_test.main()
    elif arguments == ["published"]:
        table, _ = load()
        print("\n".join(name for name, entry in table.items() if entry.role in LIBRARY))
    else:
        print(__doc__)
        sys.exit(0 if arguments in (["--help"], ["-h"]) else 2)


if __name__ == "__main__":
    main()
