//! `hallpass stats`: the number of sign-ins, failures, refreshes and added users, and of all users and sessions.
//! It needs no passphrase, and works beside a running server.

use chrono::Duration;
use clap::Args;
use serde_json::{Map, json};

use super::columns::Columns;
use super::common::{Common, with_store};
use super::error::CommandError;
use super::output::print_line;
use crate::clock::Clock;
use crate::server::config::{Settings, seconds};
use crate::server::events::{Point, Series, Statistics, Step};
use crate::server::model::Lifetimes;
use crate::server::store::Store;

/// The times that are shown, and their steps.
const TIMES: [(&str, Duration, Step); 3] = [
    ("24 hours", Duration::hours(24), Step::Hour),
    ("30 days", Duration::days(30), Step::Day),
    ("a year", Duration::days(365), Step::Day),
];

#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, args: &StatsArgs) -> Result<(), CommandError> {
    with_store(common, async |store, settings| show(store, settings, args).await)
}

async fn show(store: &Store, settings: &Settings, args: &StatsArgs) -> Result<(), CommandError> {
    let clock = Clock::system();
    let lifetimes = Lifetimes {
        idle: seconds(settings.session.idle_lifetime),
        absolute: seconds(settings.session.refresh_lifetime),
        grace: seconds(settings.session.reuse_grace),
    };
    let statistics = Statistics::new(store.clone(), clock.clone(), lifetimes);
    let now = clock.now();
    let mut columns = Vec::new();
    for (name, time, step) in TIMES {
        let series = statistics.series(now - time, now, step).await.map_err(CommandError::running)?;
        columns.push((name, rows(&series)));
    }
    let totals = statistics.totals().await?;
    if args.json {
        let counts: Map<_, _> = columns
            .iter()
            .map(|(name, rows)| {
                let rows: Map<_, _> =
                    rows.iter().map(|(row, count)| (row.replace(' ', "_"), json!(count))).collect();
                (name.replace(' ', "_"), json!(rows))
            })
            .collect();
        return print_line(format_args!("{:#}", json!({"counts": counts, "totals": totals})));
    }
    let row = |title: &str, cells: &mut dyn Iterator<Item = String>| {
        std::iter::once(title.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    let mut table = vec![row("", &mut columns.iter().map(|(name, _)| (*name).to_owned()))];
    for (place, (title, _)) in columns[0].1.iter().enumerate() {
        table.push(row(title, &mut columns.iter().map(|(_, rows)| rows[place].1.to_string())));
    }
    Columns::right(&[1, 2, 3]).print(&table)?;
    print_line(format_args!(
        "{} users, {} of them disabled; {} sessions; {} users with a second factor",
        totals.users, totals.users_disabled, totals.sessions, totals.second_factors
    ))
}

/// Returns the number of events of each series.
fn rows(series: &Series) -> [(&'static str, i64); 4] {
    let sum = |points: &[Point]| points.iter().map(|point| point.count).sum();
    [
        ("sign-ins", sum(&series.sign_ins)),
        ("failed sign-ins", sum(&series.sign_ins_failed)),
        ("refreshes", sum(&series.refreshes)),
        ("users added", sum(&series.registrations)),
    ]
}
