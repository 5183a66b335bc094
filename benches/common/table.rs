//! The one table that a bench prints.

use super::machine;
use super::measure::{Comparison, Figure};

/// What a row has to reach.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// Nothing; the row is there to be read.
    None,
    /// Ours takes at most so many times what the rival takes.
    Ratio(f64),
    /// Ours takes at most so many nanoseconds.
    Time(f64),
    /// Both.
    RatioAndTime(f64, f64),
    /// Ours takes at most so many nanoseconds more.
    Above(f64),
}

/// Prints rows as they are measured.
pub(crate) struct Table;

impl Table {
    /// The head of a table; `ours` and `rival` say what the two columns are.
    pub(crate) fn new(title: &str, ours: &str, rival: &str) -> Table {
        println!("\n{title}\n{}\n", machine::describe());
        println!("{:44} {ours:>12} {rival:>12} {:>7} {:>15}  {:17} met?", "", "ratio", "(half lie in)", "goal");
        Table
    }

    pub(crate) fn row(&self, what: &str, comparison: &Comparison, goal: Goal) {
        let Comparison { ours, rival, ratio, difference } = comparison;
        let met = match goal {
            Goal::None => "",
            Goal::Ratio(limit) => verdict(ratio, limit),
            Goal::Time(nanoseconds) => verdict(ours, nanoseconds),
            Goal::RatioAndTime(limit, nanoseconds) => both(verdict(ratio, limit), verdict(ours, nanoseconds)),
            Goal::Above(limit) => verdict(difference, limit),
        };
        let goal = match goal {
            Goal::None => "-".to_owned(),
            Goal::Ratio(limit) => format!("<= {limit:.2}"),
            Goal::Time(limit_ns) => format!("<= {}", time(limit_ns)),
            Goal::RatioAndTime(limit, limit_ns) => format!("<= {limit:.2}, {}", time(limit_ns)),
            Goal::Above(limit) => format!("<= rival + {}", time(limit)),
        };
        println!(
            "{what:44} {:>12} {:>12} {:>7.3} {:>7.3}..{:<6.3}  {goal:17} {met}",
            time(ours.median),
            time(rival.median),
            ratio.median,
            ratio.low,
            ratio.high
        );
    }

    /// A row that has one number, where less is better.
    pub(crate) fn number(&self, what: &str, number: f64, unit: &str, limit: Option<f64>) {
        let goal = limit.map_or("-".to_owned(), |limit| format!("<= {limit} {unit}"));
        let met = limit.map_or("", |limit| if number <= limit { "yes" } else { "NO" });
        println!("{what:44} {:>12} {:>12} {:>7} {:>15}  {goal:17} {met}", format!("{number:.1} {unit}"), "", "", "");
    }
}

/// A goal between the quarters might come out otherwise next time.
fn verdict(figure: &Figure, limit: f64) -> &'static str {
    match (figure.median <= limit, figure.low <= limit, figure.high <= limit) {
        (true, _, true) => "yes",
        (true, _, false) => "yes, narrowly",
        (false, true, _) => "NO, narrowly",
        (false, false, _) => "NO",
    }
}

fn both(first: &'static str, second: &'static str) -> &'static str {
    ["NO", "NO, narrowly", "yes, narrowly"].into_iter().find(|worse| [first, second].contains(worse)).unwrap_or("yes")
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds.abs() {
        below if below < 1e3 => format!("{nanoseconds:.2} ns"),
        below if below < 1e6 => format!("{:.2} us", nanoseconds / 1e3),
        _ => format!("{:.2} ms", nanoseconds / 1e6),
    }
}
