//! The SQL of migrating as text, which is the same on each database but for what is given here.

use std::fmt::Write as _;

use crate::migrations::{Migration, Migrations};

/// Writes the statements of one block for one database.
pub(super) struct Script<'a> {
    pub(super) migrations: &'a Migrations,
    /// What `{schema}` stands for, quoted, on a database that has schemas.
    pub(super) schema: Option<String>,
    /// How a script begins: its transaction, and the lock if that takes one of its own.
    pub(super) begin: String,
    /// The column `applied_at` and the end of the statement that makes the bookkeeping table.
    pub(super) applied_at: &'static str,
}

impl Script<'_> {
    /// The bookkeeping table, with its schema.
    pub(super) fn table(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.migrations.table()),
            None => self.migrations.table(),
        }
    }

    pub(super) fn create_table(&self) -> String {
        format!(
            "create table if not exists {} (\n    \
                version integer primary key,\n    \
                name text not null,\n    \
                compatible_from integer not null,\n    \
                checksum text not null,\n    \
                {}",
            self.table(),
            self.applied_at,
        )
    }

    pub(super) fn drop_table(&self) -> String {
        format!("drop table {}", self.table())
    }

    pub(super) fn rows(&self) -> String {
        format!(
            "select version, compatible_from, checksum from {} order by version",
            self.table()
        )
    }

    pub(super) fn up(&self, step: &Migration) -> String {
        let Migration {
            version,
            name,
            compatible_from,
            up,
            ..
        } = step;
        format!(
            "{}\n;\ninsert into {} (version, name, compatible_from, checksum) \
             values ({version}, '{name}', {compatible_from}, '{}')",
            self.in_schema(up),
            self.table(),
            step.checksum(),
        )
    }

    pub(super) fn down(&self, step: &Migration) -> String {
        let (down, table) = (self.in_schema(step.down), self.table());
        format!(
            "{down}\n;\ndelete from {table} where version = {}",
            step.version
        )
    }

    /// From version `after` to the latest one.
    pub(super) fn forward(&self, after: u32) -> String {
        let steps = self
            .migrations
            .after(after)
            .iter()
            .map(|step| self.up(step));
        self.whole(std::iter::once(self.create_table()).chain(steps))
    }

    /// From the latest version back to `version`.
    pub(super) fn back(&self, version: u32) -> String {
        let steps = self
            .migrations
            .after(version)
            .iter()
            .rev()
            .map(|step| self.down(step));
        self.whole(steps.chain((version == 0).then(|| self.drop_table())))
    }

    fn whole(&self, parts: impl Iterator<Item = String>) -> String {
        let mut script = format!("{}\n", self.begin);
        for part in parts {
            writeln!(script, "{};", trimmed(&part)).expect("a String accepts every write");
        }
        script.push_str("commit;\n");
        script
    }

    fn in_schema(&self, sql: &str) -> String {
        match &self.schema {
            Some(schema) => trimmed(&sql.replace("{schema}", schema)).to_owned(),
            None => trimmed(sql).to_owned(),
        }
    }
}

fn trimmed(sql: &str) -> &str {
    sql.trim_end().trim_end_matches(';')
}
