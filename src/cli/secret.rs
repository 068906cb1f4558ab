//! Secrets that are not typed: from standard input, a descriptor, a file or the environment. Each is the first line,
//! without its line end.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::error::CommandError;

/// The user who may do everything anyway.
const ROOT: u32 = 0;

/// The longest secret, in bytes.
const MAX_BYTES: usize = 1024;

/// A function that takes over a descriptor that the process was started with, by its number.
pub(super) type TakeDescriptor = fn(RawFd) -> io::Result<OwnedFd>;

thread_local! {
    /// Set while the arguments are parsed, until one of them has named a descriptor.
    static TAKE_DESCRIPTOR: Cell<Option<TakeDescriptor>> = const { Cell::new(None) };
}

/// Runs `parse` on the arguments, one of which may name a descriptor.
pub(super) fn with_descriptors<T>(take_descriptor: TakeDescriptor, parse: impl FnOnce() -> T) -> T {
    TAKE_DESCRIPTOR.set(Some(take_descriptor));
    let parsed = parse();
    TAKE_DESCRIPTOR.set(None);
    parsed
}

/// Parses the argument of `--key-fd` and takes the descriptor over. Opening it by its name under /dev/fd would fail for
/// a socket, and for a file that was opened with more rights.
fn descriptor(number: &str) -> Result<Descriptor, String> {
    match number.parse::<RawFd>() {
        Ok(0) => rustix::stdio::stdin().try_clone_to_owned(),
        // Only one: a second number could name the descriptor that now holds the first.
        Ok(number @ 3..) => match TAKE_DESCRIPTOR.take() {
            Some(take) => take(number),
            None => return Err("one descriptor is accepted".into()),
        },
        _ => return Err("0 or a number from 3 on is accepted; 1 and 2 are for output".into()),
    }
    .map(|open| Descriptor { number: number.to_owned(), open: Arc::new(Mutex::new(Some(open))) })
    .map_err(|error| format!("it cannot be read: {error}; is it open, as in {number}< file?"))
}

/// A descriptor that the process was started with.
#[derive(Debug, Clone)]
struct Descriptor {
    number: String,
    /// Open until it was read.
    open: Arc<Mutex<Option<OwnedFd>>>,
}

impl Descriptor {
    fn read(&self) -> Result<SecretString, String> {
        let name = format!("descriptor {}", self.number);
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        first_line(open.ok_or_else(|| format!("{name} was read already"))?, &name)
    }
}

/// The flags that say where the passphrase comes from if it is not typed.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct PassphraseSource {
    /// Read the passphrase from the first line of standard input
    #[arg(long, group = "key_source")]
    key_stdin: bool,
    /// Read the passphrase from the first line of a file that nobody else can read
    #[arg(long, group = "key_source", value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Read the passphrase from the first line of an open file descriptor
    #[arg(long, group = "key_source", value_name = "N", value_parser = descriptor)]
    key_fd: Option<Descriptor>,
    /// Accept a --key-file that its group can read
    #[arg(long, requires = "key_file")]
    key_file_shared: bool,
}

impl PassphraseSource {
    pub(super) fn is_given(&self) -> bool {
        self.key_stdin || self.key_file.is_some() || self.key_fd.is_some()
    }

    /// Returns the passphrase that a flag or the environment gives; `None` if it must be typed.
    pub(super) fn read(&self) -> Result<Option<SecretString>, CommandError> {
        let secret = if self.key_stdin {
            read_standard_input()
        } else if let Some(descriptor) = &self.key_fd {
            descriptor.read()
        } else if let Some(path) = &self.key_file {
            let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
            let user = rustix::process::geteuid().as_raw();
            open_private(path, user, self.key_file_shared, credentials.as_deref())
                .and_then(|file| first_line(&file, &path.display().to_string()))
        } else if let Some(key) = std::env::var_os("HALLPASS_KEY") {
            log::warn!(
                "the passphrase comes from HALLPASS_KEY: it stays in the environment of this process, where root and the same user can read it; --key-file is safer"
            );
            let key = key.into_string().map_err(|_| "HALLPASS_KEY is not UTF-8; text is accepted".to_owned());
            key.map(Zeroizing::new).and_then(|key| line(key.as_bytes(), "HALLPASS_KEY"))
        } else {
            return Ok(None);
        };
        secret.map(Some).map_err(CommandError::usage)
    }

    /// Returns the secret on the line after the passphrase, if that came from standard input.
    pub(super) fn read_next(&self) -> Result<Option<SecretString>, CommandError> {
        self.key_stdin.then(read_standard_input).transpose().map_err(CommandError::usage)
    }
}

/// Reads the first line of standard input. What follows it stays unread, for the next reader.
pub(super) fn read_standard_input() -> Result<SecretString, String> {
    first_line(rustix::stdio::stdin(), "standard input")
}

/// Opens a file with a secret for the user `user`, unless others can read it or put another in its place.
fn open_private(path: &Path, user: u32, is_shared: bool, credentials: Option<&Path>) -> Result<File, String> {
    let unreadable = |error: io::Error| format!("--key-file {} cannot be read: {error}", path.display());
    let file = File::open(path).map_err(unreadable)?;
    // Those of the file that was opened; by now the path may name another.
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(format!("--key-file {} is a folder; a file is accepted", path.display()));
    }
    let owner = metadata.uid();
    if owner != user && owner != ROOT {
        return Err(format!(
            "--key-file {} belongs to the user {owner}, who can replace it; one of root or of the user {user}, whose process \
             this is, is accepted",
            path.display()
        ));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(format!(
            "--key-file {} has mode {mode:04o}, which gives everybody access; chmod 600 it",
            path.display()
        ));
    }
    let is_credential = || {
        let inside = |folder: &Path| Some(path.canonicalize().ok()?.starts_with(folder.canonicalize().ok()?));
        credentials.and_then(inside).unwrap_or(false)
    };
    if mode & 0o070 != 0 && !is_shared && !is_credential() {
        return Err(format!(
            "--key-file {} has mode {mode:04o}, which gives its group access; chmod 600 it, or allow that with --key-file-shared",
            path.display()
        ));
    }
    Ok(file)
}

/// Reads the first line of `from`, which errors call `name`: byte by byte, so that nothing after the line is consumed,
/// and into one block, which is wiped.
fn first_line(from: impl AsFd, name: &str) -> Result<SecretString, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    let mut byte = [0];
    loop {
        match rustix::io::read(&from, &mut byte) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if bytes.len() > MAX_BYTES => break,
            Ok(_) => bytes.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            // A non-blocking descriptor, as some service managers pass on.
            Err(rustix::io::Errno::AGAIN) => {
                wait(&from).map_err(|error| format!("{name} cannot be read: {error}"))?;
            }
            Err(error) => return Err(format!("{name} cannot be read: {error}")),
        }
    }
    zeroize::Zeroize::zeroize(&mut byte);
    line(&bytes, name)
}

/// Waits until `from` can be read.
fn wait(from: &impl AsFd) -> rustix::io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};

    match poll(&mut [PollFd::new(from, PollFlags::IN)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns the first line of `bytes`, without its line end.
fn line(bytes: &[u8], name: &str) -> Result<SecretString, String> {
    let bytes = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    match bytes.len() {
        0 => Err(format!("{name} has an empty first line; the secret is expected there")),
        1..=MAX_BYTES => std::str::from_utf8(bytes)
            .map(SecretString::from)
            .map_err(|_| format!("the first line of {name} is not UTF-8; text is accepted")),
        _ => Err(format!("the first line of {name} is longer than {MAX_BYTES} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use secrecy::ExposeSecret;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn open_own(path: &Path, is_shared: bool, credentials: Option<&Path>) -> Result<File, String> {
        open_private(path, rustix::process::geteuid().as_raw(), is_shared, credentials)
    }

    #[test]
    fn a_file_of_another_user_is_refused_and_named_with_its_owner() {
        let (_folder, path) = file(b"x", 0o600);
        let own = rustix::process::geteuid().as_raw();
        assert!(open_private(&path, own, false, None).is_ok());
        // A file of root is everybody's to use; one of another user is not, not even for root.
        let other = 4711;
        if own == ROOT {
            assert!(open_private(&path, other, false, None).is_ok());
            std::os::unix::fs::chown(&path, Some(other), None).unwrap();
            let error = open_private(&path, ROOT, false, None).unwrap_err();
            assert!(error.contains("belongs to the user 4711"), "{error}");
            assert!(open_private(&path, other, false, None).is_ok());
        } else {
            let error = open_private(&path, other, false, None).unwrap_err();
            assert!(error.contains(&format!("belongs to the user {own}")), "{error}");
        }
    }

    #[test]
    fn a_secret_is_the_first_line_without_its_line_end() {
        for content in ["open sesame", "open sesame\n", "open sesame\r\n", "open sesame\nand more\n"] {
            let (_folder, path) = file(content.as_bytes(), 0o600);
            let secret = first_line(File::open(&path).unwrap(), "it").unwrap();
            assert_eq!(secret.expose_secret(), "open sesame", "{content:?}");
        }
    }

    #[test]
    fn a_descriptor_that_does_not_block_is_waited_for() {
        use std::io::Write;

        let (theirs, mut ours) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.write_all(b"open ").unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| first_line(&theirs, "it").unwrap());
            // All of it has been read, and the rest is not there yet.
            while rustix::io::ioctl_fionread(&theirs).unwrap() > 0 {
                std::thread::yield_now();
            }
            std::thread::yield_now();
            ours.write_all(b"sesame\n").unwrap();
            assert_eq!(reader.join().unwrap().expose_secret(), "open sesame");
        });
    }

    #[test]
    fn spaces_belong_to_the_secret() {
        let (_folder, path) = file(b"  open sesame \n", 0o600);
        assert_eq!(first_line(File::open(&path).unwrap(), "it").unwrap().expose_secret(), "  open sesame ");
    }

    #[test]
    fn what_follows_the_line_is_left_for_the_next_reader() {
        let (_folder, path) = file(b"current\nnew\n", 0o600);
        let file = File::open(&path).unwrap();
        assert_eq!(first_line(&file, "it").unwrap().expose_secret(), "current");
        assert_eq!(first_line(&file, "it").unwrap().expose_secret(), "new");
    }

    #[test]
    fn a_line_that_cannot_be_a_secret_is_refused_with_the_reason() {
        let long = [b'x'; 1025];
        let table: &[(&[u8], &str)] = &[
            (b"", "empty first line"),
            (b"\nsecond", "empty first line"),
            (b"\r\n", "empty first line"),
            (b"\xff\xfe\n", "not UTF-8"),
            (&long, "longer than 1024 bytes"),
        ];
        for (content, reason) in table {
            let (_folder, path) = file(content, 0o600);
            let error = first_line(File::open(&path).unwrap(), "it").unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let (_folder, path) = file(&long[1..], 0o600);
        assert!(first_line(File::open(&path).unwrap(), "it").is_ok(), "1024 bytes are accepted");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_and_a_shared_one_needs_the_flag() {
        let table = [
            (0o600, false, true),
            (0o400, false, true),
            (0o640, false, false),
            (0o620, false, false),
            (0o640, true, true),
            (0o440, true, true),
            (0o604, false, false),
            (0o644, true, false),
            (0o602, true, false),
        ];
        for (mode, is_shared, is_accepted) in table {
            let (_folder, path) = file(b"x", mode);
            assert_eq!(open_own(&path, is_shared, None).is_ok(), is_accepted, "{mode:o} shared: {is_shared}");
        }
    }

    #[test]
    fn the_group_may_read_a_credential_of_the_service_manager_also_through_a_link() {
        let (folder, path) = file(b"x", 0o440);
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(open_own(&path, false, Some(folder.path())).is_ok());
        assert!(open_own(&link, false, Some(folder.path())).is_ok());
        let elsewhere = tempfile::tempdir().unwrap();
        let outward = elsewhere.path().join("link");
        symlink(&path, &outward).unwrap();
        assert!(open_own(&outward, false, Some(elsewhere.path())).is_err(), "a link that leads out");
        assert!(open_own(&path, false, Some(&folder.path().join("missing"))).is_err());
    }

    #[test]
    fn a_folder_and_a_missing_file_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        assert!(open_own(folder.path(), false, None).unwrap_err().contains("is a folder"));
        assert!(
            open_own(&folder.path().join("missing"), false, None).unwrap_err().contains("cannot be read")
        );
    }
}
