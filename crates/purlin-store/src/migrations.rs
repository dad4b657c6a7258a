#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod script;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// One step of a block's tables: SQL that makes it and SQL that takes it back.
///
/// # Which versions run side by side
///
/// During a rolling deploy release N has migrated while N−1 still serves, and after a roll-back
/// N−1 *starts* on tables of N. A binary cannot know what a later release did, so the later release
/// writes it down: `compatible_from` is the oldest version of the tables for which code was written
/// that still works with the tables after this step. Code that knows version V accepts a newer
/// schema if and only if every step beyond V has `compatible_from` ≤ V.
///
/// Two shapes of change satisfy this:
///
/// - *expand*: a new table, a new nullable or defaulted column, a new index. Older code does not
///   notice: `compatible_from` stays what it was.
/// - *contract*: dropping what nothing reads any more. `compatible_from` is the first version whose
///   code did without it, and that version was released before.
///
/// A step which no older code survives (`compatible_from` equal to its own version) would be an
/// outage by design and is refused by [`Migrations::new`]: split it into an expand and a contract.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    version: u32,
    name: &'static str,
    compatible_from: u32,
    up: &'static str,
    down: &'static str,
}

impl Migration {
    /// Step `version`, called `name` (`a–z`, `0–9`, `_`), made by `up` and taken back by `down`.
    ///
    /// `{schema}` in the SQL becomes the quoted name of the schema on Postgres; SQLite has none, and
    /// refuses SQL that names one in this way. A comment at the end does no harm.
    /// The SQL may hold several statements and runs inside a transaction, so nothing that refuses
    /// one (`CREATE INDEX CONCURRENTLY`, `VACUUM`, `PRAGMA foreign_keys`) belongs in it, and
    /// no `BEGIN` or `COMMIT`.
    #[must_use]
    pub const fn new(
        version: u32,
        name: &'static str,
        compatible_from: u32,
        up: &'static str,
        down: &'static str,
    ) -> Self {
        Self {
            version,
            name,
            compatible_from,
            up,
            down,
        }
    }

    /// SHA-256 of the SQL as it is in the source, so that the schema's name does not matter, and
    /// neither does a checkout that turned line feeds into CR LF.
    fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for line in self.up.lines() {
            hash.update(line.as_bytes());
            hash.update(b"\n");
        }
        let mut hex = String::with_capacity(64);
        for byte in hash.finalize() {
            write!(hex, "{byte:02x}").expect("a String accepts every write");
        }
        hex
    }
}

/// All steps of one block on one kind of database, oldest first.
///
/// Each block has its own bookkeeping table, `purlin_<block>_migrations`, so two blocks, and the
/// application's own migrations, share a database without knowing of each other.
///
/// ```
/// use purlin_store::{Migration, Migrations};
///
/// const MIGRATIONS: Migrations = Migrations::new("notes", &[
///     Migration::new(
///         1,
///         "create",
///         1,
///         "create table {schema}.purlin_notes (id bigint primary key, body text not null)",
///         "drop table {schema}.purlin_notes",
///     ),
///     Migration::new(
///         2,
///         "pinned",
///         1, // an older release does not notice a column with a default
///         "alter table {schema}.purlin_notes add column pinned boolean not null default false",
///         "alter table {schema}.purlin_notes drop column pinned",
///     ),
/// ]);
/// assert_eq!(MIGRATIONS.latest(), 2);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    block: &'static str,
    steps: &'static [Migration],
}

impl Migrations {
    /// The steps of `block` (1–40 of `a–z`, `0–9`, `_`, not starting with a digit).
    ///
    /// # Panics
    ///
    /// In a `const`, at compile time: when the block or a step has another kind of name, when the
    /// versions are not 1, 2, 3 …, or when a `compatible_from` is not at least 1 and below its own
    /// version (for version 1: equal to it).
    #[must_use]
    pub const fn new(block: &'static str, steps: &'static [Migration]) -> Self {
        assert!(
            is_plain(block, 40),
            "a block is named by 1-40 of a-z, 0-9 and _"
        );
        let mut i = 0;
        while i < steps.len() {
            let step = &steps[i];
            assert!(
                step.version as usize == i + 1,
                "versions are 1, 2, 3 without a gap"
            );
            assert!(
                is_plain(step.name, 64),
                "a step is named by 1-64 of a-z, 0-9 and _"
            );
            assert!(step.compatible_from >= 1, "compatible_from starts at 1");
            assert!(
                step.compatible_from < step.version || step.version == 1,
                "some older code must survive a step: split it into an expand and a contract"
            );
            assert!(
                step.compatible_from <= step.version,
                "compatible_from is never newer"
            );
            i += 1;
        }
        Self { block, steps }
    }

    /// The version that this code knows, which is the number of steps; 0 when there are none.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`new` counted the steps in u32"
    )]
    pub const fn latest(&self) -> u32 {
        self.steps.len() as u32
    }

    /// The name of the bookkeeping table.
    fn table(&self) -> String {
        format!("purlin_{}_migrations", self.block)
    }

    fn after(&self, version: u32) -> &'static [Migration] {
        let applied = usize::try_from(version)
            .unwrap_or(usize::MAX)
            .min(self.steps.len());
        &self.steps[applied..]
    }

    /// What the database has, judged by what this code knows; the version found if code and tables
    /// go together but for steps that are still to be applied.
    fn judge(&self, rows: &[Applied]) -> Result<u32, SchemaError> {
        let block = self.block;
        let known = self.latest();
        for (expected, row) in (1..).zip(rows) {
            if row.version != expected {
                return Err(SchemaError::Gap {
                    block,
                    version: expected,
                });
            }
        }
        for (row, step) in rows.iter().zip(self.steps) {
            if row.checksum != step.checksum() {
                return Err(SchemaError::Changed {
                    block,
                    version: step.version,
                });
            }
        }
        let applied = rows.last().map_or(0, |row| row.version);
        let beyond = rows.iter().filter(|row| row.version > known);
        match beyond.map(|row| row.compatible_from).max() {
            Some(needed) if needed > known => Err(SchemaError::TooNew {
                block,
                applied,
                known,
                needed,
            }),
            _ => Ok(applied),
        }
    }

    /// As [`judge`](Self::judge), and no step may be missing either.
    fn judge_complete(&self, rows: &[Applied]) -> Result<(), SchemaError> {
        let (block, known) = (self.block, self.latest());
        match self.judge(rows)? {
            0 if known > 0 => Err(SchemaError::Missing { block, known }),
            applied if applied < known => Err(SchemaError::Behind {
                block,
                applied,
                known,
            }),
            _ => Ok(()),
        }
    }

    /// The steps that lead from what the database has back to `target`, newest first.
    fn judge_revert(&self, rows: &[Applied], target: u32) -> Result<Vec<Migration>, SchemaError> {
        let applied = self.judge(rows)?;
        let known = self.latest();
        if applied > known {
            // The way back from a step is in the release that has it.
            return Err(SchemaError::TooNew {
                block: self.block,
                applied,
                known,
                needed: applied,
            });
        }
        Ok(self
            .steps
            .iter()
            .rev()
            .filter(|s| s.version <= applied && s.version > target)
            .copied()
            .collect())
    }
}

/// A row of the bookkeeping table.
#[derive(Debug, Clone)]
struct Applied {
    version: u32,
    compatible_from: u32,
    checksum: String,
}

/// Why the tables of a block and this code do not go together: the
/// [`source`](std::error::Error::source) of a [`StoreError`](crate::StoreError) of kind
/// [`Schema`](crate::StoreErrorKind::Schema).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Nothing of this block is there.
    #[error("no tables of {block} here: run its migrations up to version {known}")]
    #[non_exhaustive]
    Missing {
        /// The block.
        block: &'static str,
        /// The version that this code knows.
        known: u32,
    },
    /// Steps are still to be applied.
    #[error("tables of {block} are at version {applied}: run its migrations up to version {known}")]
    #[non_exhaustive]
    Behind {
        /// The block.
        block: &'static str,
        /// The version of the tables.
        applied: u32,
        /// The version that this code knows.
        known: u32,
    },
    /// A later release changed the tables so that this one no longer works with them, or must be
    /// the one to take its steps back.
    #[error(
        "tables of {block} are at version {applied}, which needs a release that knows version {needed}; this one knows {known}"
    )]
    #[non_exhaustive]
    TooNew {
        /// The block.
        block: &'static str,
        /// The version of the tables.
        applied: u32,
        /// The version that this code knows.
        known: u32,
        /// The oldest version that code must know for these tables.
        needed: u32,
    },
    /// The SQL that made this version is not the SQL of this code.
    #[error("version {version} of {block} was made by other SQL than this release has")]
    #[non_exhaustive]
    Changed {
        /// The block.
        block: &'static str,
        /// The version whose SQL differs.
        version: u32,
    },
    /// A version is not recorded although a later one is.
    #[error("version {version} of {block} is not recorded although a later one is")]
    #[non_exhaustive]
    Gap {
        /// The block.
        block: &'static str,
        /// The version that is not there.
        version: u32,
    },
}

const fn is_plain(name: &str, longest: usize) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > longest || bytes[0].is_ascii_digit() {
        return false;
    }
    let mut i = 0;
    while i < bytes.len() {
        if !(bytes[i].is_ascii_lowercase() || bytes[i].is_ascii_digit() || bytes[i] == b'_') {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &[Migration] = &[
        Migration::new(1, "create", 1, "one", "eno"),
        Migration::new(2, "expand", 1, "two", "owt"),
        Migration::new(3, "contract", 2, "three", "eerht"),
    ];

    fn known(upto: usize) -> Migrations {
        Migrations::new("block", &STEPS[..upto])
    }

    fn rows(upto: usize) -> Vec<Applied> {
        let row = |s: &Migration| Applied {
            version: s.version,
            compatible_from: s.compatible_from,
            checksum: s.checksum(),
        };
        STEPS[..upto].iter().map(row).collect()
    }

    /// Every pair of release and tables, by the rule that the doc of `Migration` states.
    #[test]
    fn a_release_accepts_exactly_the_tables_it_works_with() {
        let block = "block";
        let expected = |code: usize, tables: usize| match (code, tables) {
            (c, 0) => Err(SchemaError::Missing {
                block,
                known: u32::try_from(c).unwrap(),
            }),
            (2, 1) => Err(SchemaError::Behind {
                block,
                applied: 1,
                known: 2,
            }),
            (3, t @ (1 | 2)) => Err(SchemaError::Behind {
                block,
                applied: u32::try_from(t).unwrap(),
                known: 3,
            }),
            // Step 3 dropped what the code of version 1 still reads.
            (1, 3) => Err(SchemaError::TooNew {
                block,
                applied: 3,
                known: 1,
                needed: 2,
            }),
            _ => Ok(()),
        };
        for code in 1..=3 {
            for tables in 0..=3 {
                let judged = known(code).judge_complete(&rows(tables));
                assert_eq!(
                    judged,
                    expected(code, tables),
                    "code {code}, tables {tables}"
                );
            }
        }
    }

    #[test]
    fn other_sql_and_a_gap_are_seen() {
        let mut changed = rows(3);
        changed[1].checksum = "0".repeat(64);
        let error = SchemaError::Changed {
            block: "block",
            version: 2,
        };
        assert_eq!(known(3).judge(&changed), Err(error));

        let mut gap = rows(3);
        gap.remove(1);
        assert_eq!(
            known(3).judge(&gap),
            Err(SchemaError::Gap {
                block: "block",
                version: 2
            })
        );
    }

    #[test]
    fn the_way_back_is_newest_first_and_only_over_steps_that_are_known() {
        let back = |code: usize, tables: usize, target| {
            let steps = known(code).judge_revert(&rows(tables), target)?;
            Ok::<_, SchemaError>(steps.iter().map(|s| s.version).collect::<Vec<_>>())
        };
        assert_eq!(back(3, 3, 1), Ok(vec![3, 2]));
        assert_eq!(back(3, 2, 0), Ok(vec![2, 1]));
        assert_eq!(back(3, 1, 3), Ok(vec![]));
        assert!(matches!(back(2, 3, 1), Err(SchemaError::TooNew { .. })));
    }

    #[test]
    fn line_ends_do_not_change_a_checksum_and_content_does() {
        let sum = |up| Migration::new(1, "create", 1, up, "").checksum();
        assert_eq!(sum("a;\nb;\n"), sum("a;\r\nb;"));
        assert_ne!(sum("a;\nb;"), sum("a;\nc;"));
        assert_ne!(sum("a;\nb;"), sum("a;b;"));
        // Recorded in databases: a change here would make every one of them look altered.
        assert_eq!(
            sum("select 1"),
            "8903abffd68710879da59014708c6187f8e839fadc2bdf94ae73a036aa591623"
        );
    }

    #[test]
    #[should_panic(expected = "split it into an expand and a contract")]
    fn a_step_that_no_older_code_survives_is_refused() {
        const BREAKING: &[Migration] = &[
            Migration::new(1, "create", 1, "", ""),
            Migration::new(2, "break", 2, "", ""),
        ];
        let _ = Migrations::new("block", BREAKING);
    }

    #[test]
    #[should_panic(expected = "without a gap")]
    fn versions_without_a_gap() {
        const GAP: &[Migration] = &[Migration::new(2, "create", 1, "", "")];
        let _ = Migrations::new("block", GAP);
    }
}
