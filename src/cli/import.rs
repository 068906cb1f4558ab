//! `hallpass user import` and `hallpass user export`: files of users, one per line, with their roles and password hashes.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::CommandError;
use super::output::{eprint_line, output_error, print_line};
use crate::server::accounts::{ImportCounts, NewUser, UserAdmin, parse_email, parse_name, parse_roles};
use crate::server::credentials::{Cost, Costs, check_stored};
use crate::server::keys::PasswordHashes;

/// Users written in one transaction.
const BATCH: usize = 1000;

/// The longest line of JSON, in bytes.
const MAX_LINE: u64 = 65_536;

/// A line of the file, not checked yet.
#[derive(Debug, Default, Deserialize)]
struct Line {
    email: Option<String>,
    name: Option<String>,
    roles: Option<Roles>,
    password_hash: Option<String>,
}

/// Roles, as text separated by `;` or as a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Roles {
    Text(String),
    List(Vec<String>),
}

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
    skip_byte_order_mark(&mut reader).map_err(unreadable)?;

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
    let outcome = match reader.fill_buf().map_err(unreadable)?.first() {
        Some(b'{') => import.json_lines(reader).await,
        _ => import.csv(reader).await,
    };
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
    async fn csv(&mut self, reader: impl Read) -> Result<(), CommandError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(reader);
        let headers =
            reader.headers().map_err(|error| CommandError::usage(format!("not CSV: {error}")))?.clone();
        if !headers.iter().any(|name| name == "email") {
            return Err(CommandError::usage(
                "the first line has no column email; use the header email,name,roles,password_hash, or JSON lines",
            ));
        }
        if let Some(unknown) =
            headers.iter().find(|name| !["email", "name", "roles", "password_hash"].contains(name))
        {
            return Err(CommandError::usage(format!(
                "the column {unknown:?} is unknown; email, name, roles and password_hash are accepted"
            )));
        }
        let mut records = reader.deserialize::<Line>();
        loop {
            let line = records.reader().position().line();
            let Some(record) = records.next() else { break };
            // This position is where the previous record ended; that of an error is more exact.
            let at = record.as_ref().err().and_then(csv::Error::position).map_or(line, csv::Position::line);
            self.add(at, record.map_err(|error| reason(&error))).await?;
        }
        self.flush().await
    }

    async fn json_lines(&mut self, mut reader: impl BufRead) -> Result<(), CommandError> {
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes);
            match read
                .map_err(|error| CommandError::running(format!("line {number} cannot be read: {error}")))?
            {
                0 => break,
                read if read as u64 == MAX_LINE && bytes.last() != Some(&b'\n') => {
                    self.refuse(number, &format!("is longer than {MAX_LINE} bytes"));
                    reader.skip_until(b'\n').map_err(CommandError::running)?;
                }
                _ if bytes.trim_ascii().is_empty() => {}
                _ => {
                    let line = serde_json::from_slice(&bytes).map_err(|error| {
                        if error.is_data() { "has a field of the wrong type" } else { "is not JSON" }
                            .to_owned()
                    });
                    self.add(number, line).await?;
                }
            }
        }
        self.flush().await
    }

    /// Adds the user of a line, or refuses the line.
    async fn add(&mut self, number: u64, line: Result<Line, String>) -> Result<(), CommandError> {
        match line.and_then(user) {
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

/// Checks the fields of a line. The error names the field, and never repeats a hash.
fn user(line: Line) -> Result<NewUser, String> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let email =
        parse_email(line.email.as_deref().unwrap_or_default()).map_err(|reason| format!("email {reason}"))?;
    let name = given(line.name)
        .map(|name| parse_name(&name))
        .transpose()
        .map_err(|reason| format!("name {reason}"))?;
    let roles = match line.roles {
        None => vec![],
        Some(Roles::List(list)) => list,
        Some(Roles::Text(text)) => {
            text.split(';').map(str::trim).filter(|role| !role.is_empty()).map(str::to_owned).collect()
        }
    };
    let roles = parse_roles(&roles).map_err(|reason| format!("roles: {reason}"))?;
    let hash = given(line.password_hash);
    hash.as_deref().map_or(Ok(()), check_stored).map_err(|reason| format!("password_hash {reason}"))?;
    Ok(NewUser { email, name, roles, password_hash: hash, ..NewUser::default() })
}

fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "is not UTF-8".into(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} columns, and the header has {expected_len}")
        }
        csv::ErrorKind::Deserialize { .. } => "cannot be read".into(),
        _ => "is not CSV".into(),
    }
}

/// A user as a line of an export.
#[derive(Serialize)]
struct Exported<'a> {
    email: &'a str,
    name: Option<&'a str>,
    roles: String,
    password_hash: Option<&'a str>,
}

/// A writer of either format.
enum Lines<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Json(W),
}

impl<W: Write> Lines<W> {
    fn new(as_json: bool, out: W) -> std::io::Result<Self> {
        if as_json {
            return Ok(Self::Json(out));
        }
        let mut csv = csv::WriterBuilder::new().has_headers(false).from_writer(out);
        csv.write_record(["email", "name", "roles", "password_hash"])?;
        Ok(Self::Csv(Box::new(csv)))
    }

    fn write(&mut self, line: &Exported<'_>) -> std::io::Result<()> {
        match self {
            Self::Csv(csv) => Ok(csv.serialize(line)?),
            Self::Json(out) => {
                serde_json::to_writer(&mut *out, line)?;
                out.write_all(b"\n")
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Csv(csv) => csv.flush(),
            Self::Json(out) => out.flush(),
        }
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
        Lines::new(as_json, std::io::BufWriter::new(std::io::stdout().lock())).map_err(output_error)?;
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

fn skip_byte_order_mark(reader: &mut impl BufRead) -> std::io::Result<()> {
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
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
