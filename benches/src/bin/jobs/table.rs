//! The table of one server: a row for each entrant, a column for each measure.

use crate::peer::{Entrant, Role};

pub struct Table<'a> {
    title: &'a str,
    entrants: &'a [Entrant],
    columns: Vec<Column>,
}

struct Column {
    title: String,
    unit: Unit,
    /// In the order of the entrants, where they were measured.
    values: Vec<Option<f64>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// More is better; beside it stands the ratio to the ceiling.
    PerSecond,
    Bytes,
    Seconds,
    Number,
    Share,
}

impl<'a> Table<'a> {
    pub fn new(title: &'a str, entrants: &'a [Entrant]) -> Self {
        Self {
            title,
            entrants,
            columns: Vec::new(),
        }
    }

    pub fn add(&mut self, title: impl Into<String>, unit: Unit, values: Vec<Option<f64>>) {
        let title = title.into();
        self.columns.push(Column {
            title,
            unit,
            values,
        });
        // A run that is stopped has told what it knows.
        self.tell_last();
    }

    fn tell_last(&self) {
        let Some(column) = self.columns.last() else {
            return;
        };
        let cells = self.entrants.iter().enumerate();
        let cells: Vec<_> = cells
            .map(|(row, entrant)| format!("{} {}", entrant.name, self.cell(column, row)))
            .collect();
        eprintln!("{}: {}", column.title, cells.join(" · "));
    }

    fn cell(&self, column: &Column, row: usize) -> String {
        let Some(value) = column.values[row] else {
            return "–".to_owned();
        };
        let of = |role| {
            let row = self
                .entrants
                .iter()
                .position(|entrant| entrant.role == role);
            row.and_then(|row| column.values[row])
        };
        match column.unit {
            Unit::PerSecond => {
                let ratio =
                    of(Role::Ceiling).map_or(String::new(), |raw| format!(" ({:.2})", value / raw));
                format!("{}{ratio}", count(value))
            }
            Unit::Bytes => format!("{value:.0}"),
            Unit::Seconds => purlin_benches::load::time(value),
            Unit::Number => format!("{value:.1}"),
            Unit::Share => format!("{:.0} %", value * 100.0),
        }
    }

    /// Prints it, and how ours stands to the best of the others.
    pub fn print(&self) {
        let titles: Vec<_> = self.columns.iter().map(|column| &*column.title).collect();
        println!(
            "\n| {} | {} |\n|---|{}",
            self.title,
            titles.join(" | "),
            "--:|".repeat(titles.len())
        );
        for (row, entrant) in self.entrants.iter().enumerate() {
            let cells = self.columns.iter().map(|column| self.cell(column, row));
            println!(
                "| {} | {} |",
                entrant.name,
                cells.collect::<Vec<_>>().join(" | ")
            );
        }
        let told: Vec<_> = self
            .columns
            .iter()
            .filter_map(|column| self.beside_best(column))
            .collect();
        if !told.is_empty() {
            println!("\nOurs to the best peer: {}.", told.join(", "));
        }
    }

    fn beside_best(&self, column: &Column) -> Option<String> {
        if column.unit != Unit::PerSecond {
            return None;
        }
        let of = |role| {
            let rows = self.entrants.iter().zip(&column.values);
            rows.filter(move |(entrant, _)| entrant.role == role)
                .filter_map(|(_, value)| *value)
        };
        let ours = of(Role::Ours).next()?;
        let best = of(Role::Peer).max_by(f64::total_cmp)?;
        Some(format!("{} {:.2}", column.title, ours / best))
    }
}

fn count(value: f64) -> String {
    match value {
        v if v >= 1e5 => format!("{:.0} k", v / 1e3),
        v if v >= 1e3 => format!("{:.1} k", v / 1e3),
        v => format!("{v:.0}"),
    }
}
