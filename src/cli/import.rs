//! `hallpass user import` and `hallpass user export`. The file is `user_file`'s.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::CommandError;
use super::output::{eprint_line, output_error, print_line};
use super::user_file::{Exported, UserReader, UserWriter};
use crate::server::accounts::{ImportCounts, NewUser, UserAdmin};
use crate::server::credentials::{Cost, Costs};
use crate::server::keys::PasswordHashes;

/// Users written in one transaction.
const BATCH: usize = 1000;

/// The time of a check from which an import names a hash as slow.
const SLOW: Duration = Duration::from_secs(1);

/// Adds the users of the file `path` whose hashes take at most `most_time` to check: JSON lines if its first character
/// is `{`, otherwise CSV with a header. Records the import as one event, with its counts.
///
/// # Errors
/// [`CommandError`] if the file or the database cannot be used, or if a line was refused. What was added by then stays.
pub(super) async fn import(users: &UserAdmin, path: &Path, most_time: Duration) -> Result<(), CommandError> {
    let unreadable =
        |error: std::io::Error| CommandError::running(format!("{} cannot be read: {error}", path.display()));
    let file = File::open(path)
        .map_err(|error| CommandError::usage(format!("{} cannot be read: {error}", path.display())))?;
    let length = file.metadata().map_err(unreadable)?.len();
    let progress = progress(length);
    let mut reader = BufReader::new(progress.wrap_read(file));
    reader.fill_buf().map_err(unreadable)?;

    let mut import = Import {
        users,
        progress: &progress,
        batch: Vec::with_capacity(BATCH),
        counts: ImportCounts::default(),
        costs: Costs::default(),
        most_time,
        weak: Noted::default(),
        slow: Noted::default(),
        too_slow: Noted::default(),
    };
    let outcome = import.read(reader).await;
    let counts = import.counts;
    progress.finish_and_clear();
    import.print_costs();
    // An import that stopped halfway has added users too.
    if outcome.is_ok() || counts.added > 0 {
        users.record_import(&counts).await?;
    }
    outcome?;
    let ImportCounts { added, existing, refused } = counts;
    let printed =
        print_line(format_args!("{added} added, {existing} existing and unchanged, {refused} refused"));
    if refused > 0 {
        return Err(CommandError::running(format!(
            "{refused} lines were refused; correct them and import the file again; users who exist already stay unchanged"
        )));
    }
    printed
}

/// An import under way.
struct Import<'a> {
    users: &'a UserAdmin,
    progress: &'a ProgressBar,
    batch: Vec<NewUser>,
    counts: ImportCounts,
    costs: Costs,
    most_time: Duration,
    weak: Noted,
    slow: Noted,
    too_slow: Noted,
}

/// Hashes that are worth a line after the import: their number, and the one that is furthest off with its line.
#[derive(Debug, Default)]
struct Noted {
    count: usize,
    worst: Option<(u64, Cost)>,
}

impl Noted {
    fn add(&mut self, number: u64, cost: Cost, is_worse: impl FnOnce(&Cost, &Cost) -> bool) {
        self.count += 1;
        if self.worst.as_ref().is_none_or(|(_, worst)| is_worse(&cost, worst)) {
            self.worst = Some((number, cost));
        }
    }

    /// Says in one line how many there are.
    fn print(&self, what: &str, worst_is: &str) {
        if let Some((number, cost)) = &self.worst {
            let seconds = cost.time.as_secs_f64();
            let count = self.count;
            eprint_line(format_args!(
                "{count} password hashes {what}; {worst_is}, on line {number}, is {} (about {seconds:.3} s)",
                cost.name
            ));
        }
    }
}

impl Import<'_> {
    /// Adds the users of a file.
    async fn read(&mut self, reader: impl BufRead) -> Result<(), CommandError> {
        let mut users = UserReader::new(reader)?;
        while let Some((number, user)) = users.next()? {
            self.add(number, user).await?;
        }
        self.flush().await
    }

    /// Adds the user of a line, or refuses the line.
    async fn add(&mut self, number: u64, user: Result<NewUser, String>) -> Result<(), CommandError> {
        match user {
            // Counted rather than reported line by line: all lines of a file may be alike.
            Ok(user) if self.is_too_slow(number, &user) => self.counts.refused += 1,
            Ok(user) => self.batch.push(user),
            Err(reason) => self.refuse(number, &reason),
        }
        if self.batch.len() >= BATCH { self.flush().await } else { Ok(()) }
    }

    /// Notes what the user's hash costs to check. Returns true where that is too much.
    fn is_too_slow(&mut self, number: u64, user: &NewUser) -> bool {
        let Some(cost) = user.password_hash.as_deref().and_then(|hash| self.costs.of(hash)) else {
            return false;
        };
        let is_slower = |one: &Cost, other: &Cost| one.time > other.time;
        if cost.time > self.most_time {
            self.too_slow.add(number, cost, is_slower);
            return true;
        }
        if cost.is_weak {
            self.weak.add(number, cost, |one, other| one.time < other.time);
        } else if cost.time > SLOW {
            self.slow.add(number, cost, is_slower);
        }
        false
    }

    /// Says which hashes are weak, slow and too slow.
    fn print_costs(&self) {
        let Self { weak, slow, too_slow, most_time, .. } = self;
        weak.print(
            "are weak: an attacker who steals them can try many passwords; each is replaced at its owner's next sign-in",
            "the weakest",
        );
        slow.print("keep a core busy for more than 1 s at their owners' next sign-in", "the slowest");
        let most = most_time.as_secs();
        too_slow.print(
            &format!("are refused: they take more than password.import_max_s, {most} s"),
            "the slowest",
        );
    }

    fn refuse(&mut self, number: u64, reason: &str) {
        self.counts.refused += 1;
        self.progress.suspend(|| eprint_line(format_args!("line {number}: {reason}")));
    }

    /// Writes the batch to the database.
    async fn flush(&mut self) -> Result<(), CommandError> {
        let users = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
        let count = users.len();
        let added = self.users.import(users).await?;
        self.counts.added += added;
        self.counts.existing += count - added;
        Ok(())
    }
}

/// The password hashes in an export.
pub(super) enum Hashes {
    /// Nothing.
    LeftOut,
    /// As stored: no server has sealed any.
    AsStored,
    /// The hashes, unsealed.
    Unsealed(PasswordHashes),
}

impl Hashes {
    fn exported(&self, user: Uuid, stored: Option<&str>) -> Result<Option<Zeroizing<String>>, CommandError> {
        let Some(stored) = stored else { return Ok(None) };
        match self {
            Self::LeftOut => Ok(None),
            Self::AsStored => Ok(Some(Zeroizing::new(stored.to_owned()))),
            Self::Unsealed(hashes) => hashes.open(user, stored).map(Some).map_err(CommandError::running),
        }
    }
}

/// Writes every user to standard output, sorted by address, in a format that import reads.
///
/// # Errors
/// [`CommandError`] if the database cannot be read or standard output cannot be written.
pub(super) async fn export(users: &UserAdmin, as_json: bool, hashes: &Hashes) -> Result<(), CommandError> {
    let mut lines =
        UserWriter::new(as_json, std::io::BufWriter::new(std::io::stdout().lock())).map_err(output_error)?;
    let (mut after, mut disabled) = (String::new(), 0);
    loop {
        let page = users.page(&after, BATCH as u32).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.email);
        for user in &page {
            disabled += usize::from(user.disabled_at.is_some());
            // The format has no field for disabled users. Without a hash they cannot sign in.
            let stored = user.password_hash.as_deref().filter(|_| user.disabled_at.is_none());
            let hash = hashes.exported(user.id, stored)?;
            let line = Exported {
                email: &user.email,
                name: user.name.as_deref(),
                roles: user.roles.join(";"),
                password_hash: hash.as_ref().map(|hash| hash.as_str()),
            };
            lines.write(&line).map_err(output_error)?;
        }
    }
    lines.flush().map_err(output_error)?;
    if disabled > 0 && !matches!(hashes, Hashes::LeftOut) {
        eprint_line(format_args!("{disabled} disabled users are written without their password hash"));
    }
    Ok(())
}

fn progress(length: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {percent}% {bytes} of {total_bytes}, {eta} left");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
